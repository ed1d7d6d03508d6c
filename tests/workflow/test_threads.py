"""Which job starts when, and with how many threads and processes."""

import re
from collections import Counter

import pytest

from deepnets.config.loader import load_config


@pytest.fixture
def own_study(edited_clone):
    """Make a clone whose study has these entries: `own_study("{datasets: [digits], ...}", ...) -> folder`."""

    def make(*entries: str):
        study = f"\nstudies:\n  own: [{', '.join(entries)}]\n"
        return edited_clone(("study: demo", "study: own"), ("\nstudies:\n", study))

    return make


def entry(seeds: list[int]) -> str:
    return f"{{datasets: [digits], models: [resnet50], recipe: paper, seeds: {seeds}}}"


@pytest.mark.parametrize(
    ("experiments", "cores", "usable_cores", "threads"),
    [
        # one experiment has all cores, but no more than the machine has
        *[(1, 1, 12, 1), (1, 4, 12, 4), (1, 16, 12, 12)],
        # several share them evenly
        *[(3, 2, 12, 1), (3, 5, 12, 1), (3, 6, 12, 2), (3, 6, 4, 1), (6, 12, 12, 2)],
    ],
)
def test_training_runs_share_the_cores_evenly(own_study, dry_run, experiments, cores, usable_cores, threads):
    folder = own_study(entry(list(range(experiments))))
    run = dry_run(folder, "--printshellcmds", cores=cores, usable_cores=usable_cores)
    assert threads_by_seed(run) == {str(seed): {threads} for seed in range(experiments)}


def test_threads_are_those_of_the_whole_study_whichever_part_is_asked_for_or_there(own_study, dry_run):
    """So a rerun, or a run of some of the experiments, gives the same bytes."""
    folder = own_study(entry([0, 1]))
    done = folder / "results/digits/resnet50/paper/seed1"
    done.mkdir(parents=True)
    (done / "model.safetensors").touch()
    target = "results/digits/resnet50/paper/seed0/metrics.json"
    assert threads_by_seed(dry_run(folder, "--printshellcmds", target, cores=8, usable_cores=12)) == {"0": {4}}


def test_experiment_that_the_study_does_not_list_has_the_threads_of_those_that_it_lists(clone, dry_run):
    target = "results/svhn/resnet50/quick/seed7/metrics.json"  # the demo has four training runs
    assert threads_by_seed(dry_run(clone, "--printshellcmds", target, cores=8, usable_cores=12)) == {"7": {2}}


def test_threads_on_the_command_line_go_before_those_of_the_rule(own_study, dry_run):
    folder = own_study(entry([0, 1]))
    said = ("--set-threads", "train=3", "evaluate=3")
    run = dry_run(folder, "--printshellcmds", *said, cores=4, usable_cores=12)
    assert set.union(*threads_by_seed(run).values()) == {3}


def test_nothing_runs_next_to_a_measurement_of_latency(clone, dry_run):
    """Its job takes all cores of the run, even if the machine has fewer."""
    run = dry_run(clone, "--printshellcmds", "--config", "study=demo_seeds", cores=8, usable_cores=3)
    threads = dict(re.findall(r"scripts/latency\.py (\S+) .*--threads (\d+)", run.output))
    networks = ("vgg16", "inception_v3", "resnet50", "mobilenet_v2")
    assert threads == {f"digits/{network}": "8" for network in networks}


def test_nothing_runs_next_to_an_export_which_is_timed(clone, dry_run):
    target = "results/digits/mobilenet_v2/quick/seed0/model_int8.onnx"
    run = dry_run(clone, "--printshellcmds", target, cores=8, usable_cores=3)
    threads = dict(re.findall(r"scripts/(export\w*)\.py .*--threads (\d+)", run.output))
    assert threads == {"export": "8", "export_int8": "8"}


def threads_by_seed(run) -> dict[str, set[int]]:
    """Threads of training and evaluation, by the experiment's seed."""
    found: dict[str, set[int]] = {}
    for seed, threads in re.findall(r"scripts/(?:train|evaluate)\.py .*/seed(\d+) .*--threads (\d+)", run.output):
        found.setdefault(seed, set()).add(int(threads))
    return found


@pytest.mark.parametrize(
    ("cores", "usable_cores", "arguments", "processes"),
    [(1, 12, (), 1), (4, 12, (), 4), (16, 3, (), 3), (16, 12, (), 8), (16, 12, ("--set-threads", "prepare=12"), 12)],
)
def test_image_files_are_decoded_by_a_process_for_each_core(
    clone, dry_run, archives, cores, usable_cores, arguments, processes
):
    arguments = [*arguments, "--printshellcmds", "--config", "study=paper_jpeg"]
    run = dry_run(clone, *arguments, cores=cores, usable_cores=usable_cores, DEEPNETS_MIRROR=archives)
    commands = re.findall(r"scripts/prepare\.py (\S+) .*--processes (\d+)", run.output)
    assert dict(commands) == {"mnist": "1", "cifar10-jpeg": str(processes)}


FAKE_SCRIPT = """# Stands for every script: records its job, and makes the files that its rule promises.
import sys
from pathlib import Path

from deepnets.planning.job import Job, parse_name

stage, name = Path(__file__).stem, sys.argv[1]
for output in Job(stage, parse_name(stage, name)).outputs:
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    Path(output).touch()
with open("starts", "a") as starts:
    print(stage, name, file=starts)
"""


@pytest.fixture(scope="module")
def starts(root, checkout, snakemake, tmp_path_factory):
    """Return stage and name of each job of the study paper up to evaluation, as they start on one core."""
    folder = checkout(tmp_path_factory.mktemp("starts") / "clone")
    for stage in ("download", "prepare", "summarize", "train", "evaluate"):
        (folder / f"scripts/{stage}.py").write_text(FAKE_SCRIPT)
    experiments = load_config(root / "config.yaml").experiments("paper")
    # With one core the order depends on the priorities alone, not on how long a job takes; each job has memory enough.
    arguments = ["--resources", "mem_mb=999999", "--config", "study=paper"]
    done = snakemake(folder, *(f"{each.directory}/metrics.json" for each in experiments), *arguments)
    assert done.returncode == 0, done.stdout
    return [tuple(line.split()) for line in (folder / "starts").read_text().splitlines()]


def test_what_needs_no_training_comes_before_the_first(starts):
    assert Counter(stage for stage, _ in starts[:-12]) == {"download": 2, "prepare": 2, "summarize": 6}


def test_each_training_run_is_evaluated_before_the_next(starts):
    assert [stage for stage, _ in starts[-12:]] == ["train", "evaluate"] * 6
    assert [name for _, name in starts[-12::2]] == [name for _, name in starts[-11::2]]


def test_the_longest_training_runs_start_first(starts):
    trained = [name.removesuffix("/paper/seed0") for _, name in starts[-12::2]]
    cifar10 = ["cifar10/resnet50", "cifar10/mobilenet_v2"]
    assert trained == [*cifar10, "mnist/resnet50", "mnist/inception_v3", "mnist/vgg16", "mnist/mobilenet_v2"]


SLOW_SUMMARY = """# Stands for summarize.py: waits for its training run, up to 3 seconds for the one of the test.
import json
import sys
import time
from pathlib import Path

name, starts = sys.argv[1], Path("starts")
while not starts.exists() or "prepare digits" not in starts.read_text():
    time.sleep(0.1)
end = time.monotonic() + (3 if name == "digits/new" else 60)
while f"train {name}/" not in starts.read_text() and time.monotonic() < end:
    time.sleep(0.1)
with open(starts, "a") as file:
    print("summarize", name, file=file)
job = json.loads(Path(sys.argv[sys.argv.index("--job") + 1]).read_text())
counted = {"parameters": 11_000_000, "mult_adds": 30_000_000, "size_mb": 46.0, "weights_mb": 44.0}
folder = Path("results", name)
folder.mkdir(parents=True, exist_ok=True)
(folder / "summary.txt").touch()
(folder / "summary.json").write_text(json.dumps({"spec": job["spec"], **counted}))
"""


def test_the_first_run_of_a_network_that_was_not_measured_asks_for_the_memory_by_its_summary(
    edited_clone, dry_run, snakemake
):
    folder = edited_clone(("\nmodels:\n", "\nmodels:\n  new: {architecture: timm/resnet18}\n"))
    for stage in ("download", "prepare", "train", "evaluate"):
        (folder / f"scripts/{stage}.py").write_text(FAKE_SCRIPT)
    (folder / "scripts/summarize.py").write_text(SLOW_SUMMARY)
    rules = folder / "workflow/rules/train.smk"
    rules.write_text(rules.read_text().replace('"Train {wildcards', '"Train in {resources.mem_mb} MB {wildcards', 1))
    targets = [f"results/digits/{name}/quick/seed0/metrics.json" for name in ("new", "mobilenet_v2")]
    arguments = ["--resources", "mem_mb=999999"]

    def asked(output):
        return int(re.search(r"Train in (\d+) MB new ", output)[1])

    before = asked(dry_run(folder, *targets, *arguments).output)
    first = snakemake(folder, *targets, *arguments, cores=4)
    assert first.returncode == 0, first.stdout
    starts = [" ".join(line.split("/")[:2]) for line in (folder / "starts").read_text().splitlines()]
    assert starts.index("summarize digits new") < starts.index("train digits new")
    assert starts.index("train digits mobilenet_v2") < starts.index("summarize digits mobilenet_v2")  # as before
    again = dry_run(folder, *targets, *arguments, "--forcerun", "train")
    assert asked(first.stdout) == asked(again.output) < before
