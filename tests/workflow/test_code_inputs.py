"""The inputs of a job and the digests of its param name all the code that it runs, and nothing else."""

import json
import shlex

import pytest

from deepnets.planning.code_digest import digests

pytestmark = pytest.mark.slow  # needs the finished study, which takes half a minute to build

TORCH_STAGES = {"summarize", "train", "evaluate"}


@pytest.fixture(scope="module")
def processes(finished_study):
    """Return stage, code that the job names and loaded modules of each script that the finished study ran."""
    found = []
    for line in (finished_study / "loaded.jsonl").read_text().splitlines():
        process = json.loads(line)
        script, *arguments = process["arguments"]
        job = json.loads(arguments[arguments.index("--job") + 1])
        found.append((script.removeprefix("scripts/").removesuffix(".py"), set(job["code"]), set(process["modules"])))
    assert {stage for stage, _, _ in found} > TORCH_STAGES
    return found


@pytest.fixture(scope="module")
def jobs(finished_study, snakemake):
    """Return rule, inputs and job of each output of the finished study, from Snakemake's summary."""
    lines = snakemake(finished_study, "--detailed-summary").stdout.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("output_file\t"))
    names = lines[start].split("\t")
    rows = [dict(zip(names, line.split("\t"), strict=True)) for line in lines[start + 1 :] if "\t" in line]
    return [(row["rule"], row["input-file(s)"].split(","), job_in(row["shellcmd"])) for row in rows]


def job_in(command: str) -> dict:
    words = shlex.split(command)
    return json.loads(words[words.index("--job") + 1])


def test_no_process_loads_code_that_its_job_does_not_name(finished_study, processes):
    scripts = finished_study / "scripts"
    for stage, named, modules in processes:
        paths = [name.replace(".", "/") for name in modules if name.split(".")[0] == "deepnets"]
        files = [f"scripts/{path}{end}" for path in paths for end in (".py", "/__init__.py")]
        loaded = {name for name in files if (finished_study / name).is_file()}
        assert len(loaded) == len(paths), f"{stage}: a module of {scripts} has no file"
        assert loaded <= named, f"{stage} also ran {sorted(loaded - named)}"


def test_code_inputs_are_the_files_whose_digests_the_param_holds(finished_study, jobs):
    for rule, inputs, job in jobs:
        code = {name for name in inputs if name.endswith(".py")}
        assert job["code"] == digests(code, finished_study), rule
        assert f"scripts/{rule}.py" in code


def test_only_stages_that_compute_load_torch(processes):
    assert {stage for stage, _, modules in processes if "torch" in modules} == TORCH_STAGES


def test_plots_and_report_name_no_code_of_training(jobs):
    for rule, inputs, _ in jobs:
        if rule.startswith("plot") or rule == "report":
            assert not {"scripts/deepnets/training/trainer.py", "scripts/deepnets/training/augmentation.py"} & set(
                inputs
            ), rule
