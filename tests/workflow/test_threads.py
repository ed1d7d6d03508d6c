"""Which job starts when, and with how many threads and processes."""

import os
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


@pytest.mark.parametrize(
    ("experiments", "cores", "usable_cores", "memory_gb", "threads"),
    [
        # one experiment has all cores, but no more than the machine has
        *[(1, 1, 12, 16, 1), (1, 4, 12, 16, 4), (1, 16, 12, 16, 12)],
        # several have a thread each, and more only if cores would be idle
        *[(3, 2, 12, 16, 1), (3, 5, 12, 16, 1), (3, 6, 12, 16, 2), (3, 6, 4, 16, 1)],
        *[(6, 2, 12, 16, 1), (6, 6, 12, 16, 1), (6, 12, 12, 16, 2)],
        # with fewer experiments than cores, or little memory: each experiment takes 1.6 GB
        *[(6, 6, 12, 4, 3), (6, 6, 12, 2, 6), (6, 6, 12, 1, 6)],
    ],
)
def test_equal_trainings_share_the_cores_and_the_memory(
    own_study, dry_run, experiments, cores, usable_cores, memory_gb, threads
):
    seeds = list(range(experiments))
    folder = own_study(f"{{datasets: [digits], models: [resnet50], recipe: budget1, seeds: {seeds}}}")
    run = dry_run(folder, "--printshellcmds", cores=cores, usable_cores=usable_cores, memory_gb=memory_gb)
    assert threads_by_seed(run) == {str(seed): {threads} for seed in range(experiments)}


UNEQUAL = (
    "{datasets: [digits], models: [resnet50], recipe: budget1, seeds: [0], set: {epochs: 100}}",
    "{datasets: [digits], models: [resnet50], recipe: budget1, seeds: [1, 2, 3]}",
)


@pytest.mark.parametrize(("cores", "longest"), [(1, 1), (2, 2), (4, 4)])
def test_a_training_that_is_much_longer_than_the_others_has_more_threads(own_study, dry_run, cores, longest):
    folder = own_study(*UNEQUAL)
    run = dry_run(folder, "--printshellcmds", cores=cores, usable_cores=12, memory_gb=16)
    assert threads_by_seed(run) == {"0": {longest}, "1": {1}, "2": {1}, "3": {1}}


def test_threads_are_those_of_the_whole_study_whatever_is_asked_for_and_there(own_study, dry_run):
    """So a rerun, or a run of some of the experiments, gives the same bytes."""
    folder = own_study(*UNEQUAL)
    (folder / "data/digits").mkdir(parents=True)
    (folder / "data/digits/dataset.json").write_text('{"splits": {"train": 5}}')
    one = [f"results/digits/resnet50/budget1/seed{seed}/metrics.json" for seed in (0, 2)]
    run = dry_run(folder, "--printshellcmds", *one, cores=4, usable_cores=12, memory_gb=16)
    assert threads_by_seed(run) == {"0": {4}, "2": {1}}


@pytest.mark.parametrize(
    ("limit", "memory_gb", "threads"), [("mem_mb=2000", 16, 6), ("mem=2GB", 16, 6), ("mem_mb=99999", 2, 1)]
)
def test_the_memory_that_is_said_goes_before_that_of_the_machine(own_study, dry_run, limit, memory_gb, threads):
    folder = own_study("{datasets: [digits], models: [resnet50], recipe: budget1, seeds: [0, 1, 2, 3, 4, 5]}")
    arguments = ("--printshellcmds", "--resources", limit)
    run = dry_run(folder, *arguments, cores=6, usable_cores=12, memory_gb=memory_gb)
    assert set.union(*threads_by_seed(run).values()) == {threads}


def test_on_gpus_each_training_has_its_share_of_the_cores(own_study, dry_run):
    folder = own_study(*UNEQUAL)
    run = dry_run(folder, "--printshellcmds", "--resources", "gpu=2", cores=9, usable_cores=12)
    assert set.union(*threads_by_seed(run).values()) == {2}


def test_an_experiment_that_the_study_does_not_list_has_all_cores(clone, dry_run):
    target = "results/svhn/resnet50/quick/seed7/metrics.json"
    assert threads_by_seed(dry_run(clone, "--printshellcmds", target, cores=5, usable_cores=12)) == {"7": {5}}


def test_threads_that_are_said_go_before_those_that_are_chosen(own_study, dry_run):
    folder = own_study(*UNEQUAL)
    said = ("--set-threads", "train=3", "evaluate=3")
    run = dry_run(folder, "--printshellcmds", *said, cores=4, usable_cores=12)
    assert set.union(*threads_by_seed(run).values()) == {3}


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
def test_image_files_are_decoded_by_a_process_for_each_core(clone, dry_run, cores, usable_cores, arguments, processes):
    arguments = [*arguments, "--printshellcmds", "--config", "study=paper_jpeg"]
    run = dry_run(clone, *arguments, cores=cores, usable_cores=usable_cores)
    commands = re.findall(r"scripts/prepare\.py --dataset (\S+) .* --processes (\d+)", run.output)
    assert dict(commands) == {"mnist": "1", "cifar10-jpeg": str(processes)}


FAKE_PYTHON = """#!/bin/sh
# Replaces Python in the jobs: records the script and its output, and creates the outputs of the rule.
script=$(basename "$1" .py)
until [ "$1" = --output ] || [ "$1" = --json ]; do shift; done
echo "$script $2" >> starts
case $script in
    download) touch "$2";;
    prepare) touch "$2"; cd "${2%/*}"; touch train_images.npy train_labels.npy test_images.npy test_labels.npy;;
    summarize) touch "$2" "${2%json}txt";;
    train) cd "$2"; touch model.safetensors history.csv timing.json;;
    evaluate) cd "$2"; touch metrics.json predictions.safetensors;;
esac
"""


@pytest.fixture(scope="module")
def starts(root, checkout, snakemake, tmp_path_factory):
    """Return script and output of each job of the study paper up to evaluation, as they start on one core."""
    folder = checkout(tmp_path_factory.mktemp("starts") / "clone")
    fake = folder / "bin/python"
    fake.parent.mkdir()
    fake.write_text(FAKE_PYTHON)
    fake.chmod(0o755)
    experiments = load_config(root / "config.yaml").experiments("paper")
    path = f"{fake.parent}{os.pathsep}{os.environ['PATH']}"
    # With one core the order depends on the priorities alone, not on how long a job takes; each job has memory enough.
    arguments = ["--resources", "mem_mb=999999", "--config", "study=paper"]
    done = snakemake(folder, *(f"{each.directory}/metrics.json" for each in experiments), *arguments, PATH=path)
    assert done.returncode == 0, done.stdout
    return [tuple(line.split()) for line in (folder / "starts").read_text().splitlines()]


def test_what_needs_no_training_comes_before_the_first(starts):
    assert Counter(script for script, _ in starts[:-12]) == {"download": 2, "prepare": 2, "summarize": 6}


def test_each_training_is_evaluated_before_the_next(starts):
    assert [script for script, _ in starts[-12:]] == ["train", "evaluate"] * 6
    assert [output for _, output in starts[-12::2]] == [output for _, output in starts[-11::2]]


def test_the_longest_trainings_start_first(starts):
    trained = [output.removeprefix("results/").removesuffix("/paper/seed0") for _, output in starts[-12::2]]
    cifar10 = ["cifar10/resnet50", "cifar10/mobilenet_v2"]
    assert trained == [*cifar10, "mnist/inception_v3", "mnist/resnet50", "mnist/vgg16", "mnist/mobilenet_v2"]
