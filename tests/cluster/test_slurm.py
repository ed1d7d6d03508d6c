"""Studies through a real SLURM give the bytes of a run on one machine, however the jobs are disturbed.

All studies run at once; each test waits for its own.
"""

import json
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import combinations

import pytest

LONG = "results/shapes/slow/long/seed0/metrics.json"
SHORT = "results/shapes/slow/short,augment.crop_padding=1,lr=0.01/seed0/metrics.json"  # as a grid has it
TRIALS = "results/search-rates.json"
FOUR_SEEDS = [f"results/shapes/slow/short/seed{seed}/model.safetensors" for seed in range(4)]
NETWORKS = ("vgg16", "inception_v3", "resnet50", "mobilenet_v2")
DEMO = [f"results/digits/{network}/quick/seed0" for network in NETWORKS]


# -- disturbances of a training run ------------------------------------------------------------------------------------


def left_alone(run):
    """Nothing happens to it except through its options."""


def cancelled(run):
    run.slurm("scancel", run.job("train", "running"))


def requeued(run):
    """`make status` has shown it before."""
    shown = re.compile(r"^ +running +shapes/slow/long/seed0 +[\d.]+ of 50 epochs", re.MULTILINE).search
    run.wait_until(lambda: shown(run.status()), "a line of make status with its epochs")
    run.slurm("scontrol", "requeue", run.job("train", "running"))


def preempted(run):
    """A job of another partition needs its memory."""
    run.slurm("sbatch", "--partition=main", "--mem=120000", "--output=/dev/null", "--wrap=sleep 5")


def drained(run):
    """Its node takes no new job until the training job is done and its evaluation waits."""
    node = run.slurm("hostname", "--short")
    run.slurm("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    try:
        waits = re.compile("DRAIN|NotAvail").search  # words of different versions
        run.wait_until(lambda: waits(run.job("evaluate", "pending", "%r")), "an evaluation that waits for the node")
    finally:
        run.slurm("scontrol", "update", f"nodename={node}", "state=resume")


def snakemake_killed(run):
    run.kill()
    run.start("--unlock")
    run.finish()
    run.start()


def snakemake_killed_and_jobs_cancelled(run):
    """The user then does what docs/cluster.md says."""
    run.kill()
    run.slurm("scancel", "--name", re.search(r"SLURM run ID: (\S+)", run.said())[1])
    run.start("--unlock")
    run.finish()
    run.start()


def asking(*resources):
    """Return Snakemake's option for other resources than those of the rules and the profile."""
    return "--set-resources", *resources


# A disturbance of a training run, its target, and its options.
INTERRUPTED = {
    # Three minutes: with the profile, TERM comes half a minute to a minute after the start.
    "near its time limit": (left_alone, LONG, *asking("train:runtime=3*attempt")),
    # SLURM checks every 30 seconds, and the training run would take 90.
    "past its time limit": (left_alone, LONG, *asking("train:runtime=attempt", "train:slurm_extra='--nice=0'")),
    "cancelled": (cancelled, LONG),
    "requeued": (requeued, LONG),
    "preempted": (preempted, LONG, *asking("train:slurm_partition=low", "train:mem_mb=120000")),
    "Snakemake killed, jobs cancelled": (snakemake_killed_and_jobs_cancelled, LONG),
}
CASES = INTERRUPTED | {"Snakemake killed": (snakemake_killed, LONG), "drained": (drained, SHORT)}


@pytest.fixture(scope="module")
def runs(root, slurm, run_study, slow_study, short_demo) -> Iterator[dict[str, Future]]:
    """Start all studies: `runs["drained"].result()` waits for one of them, and asserts that it succeeds."""
    running, ends = [], {}

    def start(name, disturb, *arguments, **options):
        run = run_study(slurm, *arguments, **options)
        running.append(run)
        training = pool.submit(lambda: run.wait_for_epoch(1) if name in CASES else None)
        wait([training])  # one after the other, so that each trains soon
        ends[name] = pool.submit(lambda: [training.result(), disturb(run), run.finish()][-1])

    with ThreadPoolExecutor(20) as pool:
        try:
            start("local", left_alone, slow_study(), LONG, SHORT, local=True)
            for name, (disturb, *arguments) in CASES.items():
                start(name, disturb, slow_study(), *arguments)
            trace = str(root / "tests/study/trace")
            start("GPUs", left_alone, slow_study(), *FOUR_SEEDS, *asking("train:gpu=1"), PYTHONPATH=trace)
            start("demo", left_alone, short_demo(), "results/report.md")
            start("search", left_alone, slow_study(), TRIALS, search="rates")
            yield ends
        finally:
            for run in running:
                run.kill()


# -- the results -------------------------------------------------------------------------------------------------------


def test_the_demo_through_slurm_is_the_local_one_to_the_last_byte(runs, slurm, run_study, short_demo, differing):
    folder = runs["demo"].result().folder
    metrics = [f"{experiment}/metrics.json" for experiment in DEMO]
    local = run_study(slurm, short_demo(), *metrics, local=True).finish().folder
    for experiment in DEMO:
        assert differing(folder / experiment, local / experiment) == []
    assert (folder / "results/report.md").exists()


@pytest.mark.parametrize("name", INTERRUPTED)
def test_an_interrupted_training_run_continues_and_ends_with_the_same_bytes(runs, differing, name):
    run, local = runs[name].result(), runs["local"].result()
    timing = json.loads((run.result / "timing.json").read_text())
    assert timing["resumed_from_epochs"], run.trainer_said()
    assert differing(run.result, local.result) == []


def test_a_training_run_ends_by_itself_before_its_time_limit(runs):
    said = runs["near its time limit"].result().said()
    assert "SLURM status is: 'FAILED'" in said
    assert "TIMEOUT" not in said


def test_a_time_limit_that_nobody_announces_is_survived(runs):
    assert "SLURM status is: 'TIMEOUT'" in runs["past its time limit"].result().said()


def test_a_requeued_training_costs_no_retry(runs):
    assert "Trying to restart job" not in runs["requeued"].result().said()


def test_a_second_snakemake_starts_no_second_trainer_of_one_experiment(runs, differing):
    run, local = runs["Snakemake killed"].result(), runs["local"].result()
    first, *later = run.jobs_said()
    assert run.epochs(first) == local.epochs(), "the first continues to its end, as if there were no other"
    assert "waiting for process" in "".join([*later, run.trainer_said()])
    assert set(run.epochs()) <= {local.epochs()[-1]}, "the last one continues from the state that the first has saved"
    assert differing(run.result, local.result) == []


def test_a_drained_node_ends_its_training_and_evaluates_when_it_is_back(runs, differing):
    run, local = runs["drained"].result(), runs["local"].result()
    assert run.epochs() == [1, 2, 3, 4]
    assert differing(run.result, (local.folder / SHORT).parent) == []


def test_a_search_trains_its_trials_on_nodes_and_one_that_diverges_only_once(runs):
    run = runs["search"].result()
    trials = json.loads((run.folder / TRIALS).read_text())["trials"]
    assert sorted((trial["values"]["lr"], trial["state"]) for trial in trials) == [(0.01, "done"), (100, "failed")]
    [done] = [trial["experiments"] for trial in trials if trial["state"] == "done"]
    assert done == ["results/shapes/small/short,lr=0.01,weight_decay=10/seed0"]
    spec = json.loads((run.folder / done[0] / "metrics.json").read_text())["spec"]
    assert (spec["recipe"]["lr"], spec["recipe"]["weight_decay"]) == (0.01, 10)
    assert len(re.findall("SLURM status is: 'FAILED'", run.said())) == 1
    assert "the loss is not finite in epoch" in run.said()


def test_training_runs_get_one_gpu_each_and_share_none(runs):
    notes = (runs["GPUs"].result().folder / "loaded.jsonl").read_text().splitlines()
    trainers = [note for note in map(json.loads, notes) if note["arguments"][0].endswith("train.py")]
    assert len(trainers) == len(FOUR_SEEDS)
    assert all("--gpus 1" in " ".join(trainer["arguments"]) for trainer in trainers)
    assert {trainer["gpus"] for trainer in trainers} == {"0", "1"}
    at_once = [(a, b) for a, b in combinations(trainers, 2) if a["started"] < b["ended"] and b["started"] < a["ended"]]
    assert at_once
    assert all(a["gpus"] != b["gpus"] for a, b in at_once)
