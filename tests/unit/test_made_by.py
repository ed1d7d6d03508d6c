"""Finished files say by which settings and from which images they were made, and planning compares them."""

import pytest

from deepnets.config.loader import load_config
from deepnets.planning.job import Job
from deepnets.planning.jobs import Jobs
from deepnets.planning.made_by import differing
from deepnets.utils.files import write_json
from deepnets.utils.specs import UNKNOWN

EXPERIMENT = {"dataset": "digits", "model": "resnet50", "recipe": "quick", "seed": "0"}
DOWNLOAD, PREPARE = (Job(stage, {"dataset": "digits"}) for stage in ("download", "prepare"))
SUMMARIZE = Job("summarize", {"dataset": "digits", "model": "resnet50"})


@pytest.fixture
def jobs(root, tmp_path) -> Jobs:
    """Return the jobs of the repository's config.yaml, whose files are below tmp_path."""
    return Jobs(load_config(root / "config.yaml"), root, tmp_path)


@pytest.mark.parametrize("job", [DOWNLOAD, PREPARE, SUMMARIZE], ids=lambda job: job.stage)
def test_a_file_of_version_0_1_0_without_a_spec_is_rebuilt(jobs, job):
    file = jobs.root / job.outputs[0]
    assert differing(job, jobs) == []  # missing
    settings = jobs.settings(job.stage, job.wildcards)
    write_json(file, settings)
    assert differing(job, jobs) == []
    del settings["spec"]
    write_json(file, {**settings, "input_shape": [1, 32, 32]})
    assert differing(job, jobs) == [UNKNOWN]
