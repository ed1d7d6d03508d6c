"""Time to accuracy: clocks run in training only, a run ends at its target or its limit, and finished runs are kept."""

import json
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest
from tiny_experiment import NAMES, SPEC, write_dataset

import time_to_accuracy
from deepnets.config.experiment import Experiment
from deepnets.utils.errors import UserError
from time_to_accuracy import Stopwatch, Trial

EXPERIMENT = Experiment(**NAMES, spec=SPEC)
TRIAL = Trial("ours", "study", "digits", "mobilenet_v2", 3, threads=1, target=0.5, limit=600.0)
HISTORY = [{"steps": 9, "wall_seconds": 90.0, "cpu_seconds": 120.0, "accuracy": 0.75}]


@pytest.fixture
def clock(monkeypatch):
    """A clock that only a test moves: `clock(2.0)`; all processes together compute half of the time."""
    now = [100.0]
    monkeypatch.setattr(time_to_accuracy.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time_to_accuracy.time, "process_time", lambda: now[0] / 2)

    def advance(seconds: float) -> float:
        now[0] += seconds
        return now[0] / 2

    return advance


def steps_of(watch, clock, seconds=2.0):
    """Steps, each of some seconds, until the stopwatch stops them."""
    while True:
        clock(seconds)
        if watch():
            return watch.steps


def stopwatch(clock, accuracies, trial=TRIAL, every=3):
    def validate():
        clock(50.0)
        return next(accuracies)

    return Stopwatch(validate, trial, every, lambda: clock(0.0))


def test_clocks_stand_still_in_validation_and_the_run_ends_at_the_target(clock):
    watch = stopwatch(clock, iter([0.1, 0.4, 0.5]))
    assert steps_of(watch, clock) == 9
    assert [row["wall_seconds"] for row in watch.history] == [6.0, 12.0, 18.0]
    assert [row["cpu_seconds"] for row in watch.history] == [3.0, 6.0, 9.0]
    assert [row["accuracy"] for row in watch.history] == [0.1, 0.4, 0.5]


def test_a_run_ends_with_a_validation_after_the_time_that_it_may_take(clock):
    watch = stopwatch(clock, iter([0.1, 0.2, 0.3]), replace(TRIAL, limit=13.0))
    assert steps_of(watch, clock) == 7
    assert watch.history[-1] == {"steps": 7, "wall_seconds": 14.0, "cpu_seconds": 7.0, "accuracy": 0.3}


def test_seconds_of_a_process_that_a_run_has_started_count_while_it_lives_and_afterwards():
    def others() -> float:
        return time_to_accuracy.processes_cpu_seconds() - time.process_time()

    before, deadline = others(), time.monotonic() + 60
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as child:
        try:
            while others() - before < 0.3 and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            child.kill()
    assert others() - before >= 0.3


@pytest.fixture
def tiny(tmp_path, monkeypatch, process_as_it_was):
    """Run a trial of ours on the tiny dataset: `tiny(target=0.5) -> its row`."""
    write_dataset(tmp_path / "data" / "digits")
    monkeypatch.setattr(time_to_accuracy, "use_cores", lambda number: None)
    monkeypatch.setattr(time_to_accuracy, "disable_malloc_trim", lambda: True)
    return lambda **changes: time_to_accuracy.run_trial(replace(TRIAL, **changes), EXPERIMENT, tmp_path)


def test_ours_is_trained_by_the_studys_recipe_to_the_target_or_to_the_schedules_end(tiny):
    whole = tiny(target=1.01)
    assert not whole["reached"]
    assert whole["schedule"] == SPEC["recipe"]["epochs"]
    assert whole["history"][-1]["steps"] == 3 * whole["schedule"]
    stopped = tiny(target=whole["best"])
    assert stopped["reached"]
    accuracies = [row["accuracy"] for row in stopped["history"]]
    assert accuracies.index(whole["best"]) == len(accuracies) - 1  # the first time, and not one step later


class Inline:
    """Stands in for a pool of processes: runs what is submitted at once."""

    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, function, *arguments):
        self.result = lambda: function(*arguments)
        return self


def test_finished_runs_are_kept_and_not_run_again(tmp_path, monkeypatch):
    ran = []

    def run_trial(trial, *_):
        if trial.way == "timm" and len(ran) == 1:
            raise KeyboardInterrupt
        ran.append(trial.way)
        return asdict(trial) | {"schedule": 2, "reached": True, "best": 0.75, "history": HISTORY}

    monkeypatch.setattr(time_to_accuracy, "ProcessPoolExecutor", Inline)
    monkeypatch.setattr(time_to_accuracy, "run_trial", run_trial)
    trials = [(replace(TRIAL, way=way), EXPERIMENT) for way in ("ours", "timm")]
    file = tmp_path / "rows.json"
    with pytest.raises(KeyboardInterrupt):
        time_to_accuracy.run_all(trials, tmp_path, file)
    assert [row["way"] for row in json.loads(file.read_text())["rows"]] == ["ours"]
    ran.append("again")
    assert len(time_to_accuracy.run_all(trials, tmp_path, file)) == 2
    assert ran == ["ours", "again", "timm"]
    trials[0] = (replace(TRIAL, target=0.6), EXPERIMENT)  # another target is another run
    assert len(time_to_accuracy.run_all(trials, tmp_path, file)) == 3


def test_table_has_minutes_of_the_machine_and_of_its_cores():
    row = asdict(TRIAL) | {"schedule": 2, "reached": False, "best": 0.49, "history": HISTORY}
    text = time_to_accuracy.table([row, row | {"way": "timm", "reached": True, "best": 0.5}])
    assert "| digits | MobileNetV2 | 50.00 % | ours | 2 | no | 49.00 % | 2.0 | 1.5 |" in text
    assert "| digits | MobileNetV2 | 50.00 % | timm | 2 | yes | 50.00 % | 2.0 | 1.5 |" in text


@pytest.fixture
def asked(root, tmp_path, monkeypatch):
    """Call main with arguments; return the trials that it would run."""
    taken = []
    monkeypatch.setattr(time_to_accuracy, "run_all", lambda trials, *_: taken.extend(trials) or [])
    monkeypatch.setattr(time_to_accuracy, "installed_peers", lambda: ["plain", "timm"])

    def call(*arguments):
        time_to_accuracy.main([*arguments, "--output", str(tmp_path), "--root", str(root)])
        return [trial for trial, _ in taken]

    return call


def test_the_target_is_the_published_accuracy_and_peers_that_are_missing_are_left_out(asked):
    trials = asked("--study", "paper_jpeg", "--pairs", "cifar10-jpeg/resnet50", "--epochs", "4")
    found = [(trial.way, trial.target, trial.epochs) for trial in trials]
    assert found == [("ours", pytest.approx(0.7358), None), ("timm", pytest.approx(0.7358), 4)]


def test_a_pair_without_published_accuracy_asks_for_a_target(asked):
    with pytest.raises(UserError, match=r"digits/vgg16: .*has no such pair; name the accuracy: --target 90"):
        asked("--study", "demo")
    assert {trial.target for trial in asked("--study", "demo", "--target", "90")} == {0.9}


def test_a_pair_that_the_study_lacks_is_named_with_those_it_has(asked):
    with pytest.raises(UserError, match=r"--pairs mnist/resnet5: no pair of the study `paper`, .* mnist/resnet50"):
        asked("--pairs", "mnist/resnet5")


def test_arrays_that_are_missing_are_named_with_the_command_that_prepares_them(tmp_path):
    with pytest.raises(UserError, match=r"prepare them: snakemake --cores 2 data/digits/dataset.json"):
        time_to_accuracy.Task.of(EXPERIMENT, tmp_path)
