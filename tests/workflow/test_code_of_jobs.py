"""Each job's fingerprint names all the code that its process runs, and no other."""

import json

import pytest

from deepnets.planning.code_digest import IGNORED_MODULES, digests, import_closure

pytestmark = pytest.mark.slow  # the first test builds the study: a minute on one core

TORCH_STAGES = {"summarize", "train", "evaluate"}


@pytest.fixture(scope="module")
def processes(finished_study):
    """Of each script that the finished study ran: its stage, the code that its job names, the modules it had loaded."""
    found = []
    for line in (finished_study / "loaded.jsonl").read_text().splitlines():
        process = json.loads(line)
        script, *arguments = process["arguments"]
        job = json.loads((finished_study / arguments[arguments.index("--job") + 1]).read_text())
        stage = script.rpartition("/")[2].removesuffix(".py")
        found.append((stage, job["code"], set(process["modules"])))
    assert {stage for stage, _, _ in found} > TORCH_STAGES
    return found


def test_no_process_loads_code_that_its_job_does_not_name(finished_study, processes):
    # What only ignored modules import is ignored with them.
    ignored = [f"scripts/{name.replace('.', '/')}.py" for name in IGNORED_MODULES if name != "deepnets.planning"]
    of_ignored = {path.as_posix() for file in ignored for path in import_closure(file, finished_study)}
    for stage, code, modules in processes:
        counted = {
            name for name in modules if name.split(".")[0] == "deepnets" and not name.startswith(IGNORED_MODULES)
        }
        paths = [name.replace(".", "/") for name in counted]
        files = [f"scripts/{path}{end}" for path in paths for end in (".py", "/__init__.py")]
        loaded = {name for name in files if (finished_study / name).is_file()}
        assert len(loaded) == len(paths), f"{stage}: a module has no file"
        assert loaded <= code.keys() | of_ignored, f"{stage} also ran {sorted(loaded - code.keys())}"


def test_fingerprint_holds_the_digest_of_each_file(finished_study, processes):
    for stage, code, _ in processes:
        assert code == digests(code, finished_study), stage
        assert f"scripts/{stage}.py" in code


def test_only_stages_that_compute_load_torch(processes):
    assert {stage for stage, _, modules in processes if "torch" in modules} == TORCH_STAGES


def test_plots_and_report_name_no_code_of_training(processes):
    for stage, code, _ in processes:
        if stage.startswith("plot") or stage == "report":
            assert not [name for name in code if name.startswith("scripts/deepnets/training/")], stage


def test_no_process_waits_for_a_package_that_it_does_not_need(processes):
    for stage, _, modules in processes:
        unneeded = {"train": {"sklearn", "scipy.stats"}}.get(stage, {"sklearn", "scipy.stats", "torch._dynamo"})
        if stage in TORCH_STAGES:
            assert not unneeded & modules, stage
