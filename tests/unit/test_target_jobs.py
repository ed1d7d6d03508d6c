"""What Snakemake on a node of a cluster is asked for has all its values again."""

import pytest
from snakemake.target_jobs import parse_target_jobs_cli_args
from snakemake_interface_executor_plugins.utils import TargetSpec, encode_target_jobs_cli_args

from deepnets.planning.target_jobs import whole_wildcards

NAMES = ("dataset", "model", "recipe", "seed", "figure")
EXPERIMENT = {"dataset": "digits", "model": "resnet50", "recipe": "quick", "seed": "0"}


@pytest.mark.parametrize(
    "wildcards",
    [
        EXPERIMENT,
        EXPERIMENT | {"recipe": "quick,lr=0.03"},
        EXPERIMENT | {"recipe": "quick,augment.crop_padding=2,lr=0.03", "figure": "learning_curves"},
        {"dataset": "digits"},
        {},
    ],
)
def test_wildcards_survive_snakemakes_command_line(wildcards):
    [spec] = parse_target_jobs_cli_args(encode_target_jobs_cli_args([TargetSpec("train", wildcards)]))
    assert whole_wildcards(spec.wildcards_dict, NAMES) == wildcards


def test_wildcards_of_another_workflows_rule_stay_as_they_are():
    assert whole_wildcards({"recipe": "a", "fold": "1"}, ("recipe", "fold")) == {"recipe": "a", "fold": "1"}
