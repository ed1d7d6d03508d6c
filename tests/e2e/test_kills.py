"""Killed at any moment, the same command resumes, and the final bytes are those of an undisturbed run.

`make test-all` kills once at a chosen moment and 20 times at random ones, `make chaos` 100 times. Of `make test`,
tests/unit/test_train_evaluate.py kills single processes, and test_commands.py kills Snakemake.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.full]

KILLS = int(os.environ.get("KILLS", "20"))
PARTS = 2  # of the random kills, so that two workers share them
EXPERIMENT = "results/shapes/mobilenet_v2/long/seed0"
# Uses everything that a saved state holds: averaged weights, dropout, batch norm, several sources of randomness, and
# of each matrix its momentum and its first norm.
LONG = (
    "recipes:\n  long: {optimizer: muon, epochs: 20, batch_size: 8, lr: 0.02, weight_averaging: ema,"
    " augment: {rotation: 5, crop_padding: 1, random_erasing: 0.3, mixup: 0.2}}\n"
)
COMMAND = [sys.executable, "-m", "snakemake", "--cores", "1", f"{EXPERIMENT}/metrics.json"]


@pytest.fixture
def calm(study: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Return a study before its only training run, and a copy in which that run was not disturbed."""
    config = study / "config.yaml"
    config.write_text(config.read_text().replace("recipes:\n", LONG))
    undisturbed = shutil.copytree(study, tmp_path / "undisturbed", symlinks=True)
    finish(undisturbed)
    return study, undisturbed


def start(folder: Path) -> subprocess.Popen:
    """Start Snakemake in a process group of its own."""
    with open(folder / "terminal.log", "a") as log:
        return subprocess.Popen(COMMAND, cwd=folder, stdout=log, stderr=log, start_new_session=True)


def finish(folder: Path) -> None:
    assert start(folder).wait(timeout=300) == 0, (folder / "terminal.log").read_text()


def trainers(process: subprocess.Popen) -> list[psutil.Process]:
    try:
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if any(word.endswith("scripts/train.py") for word in child.cmdline())]
    except psutil.NoSuchProcess:
        return []


def strike(process: subprocess.Popen, victim: str, number: signal.Signals) -> None:
    """Send a signal to the trainer (to Snakemake if no trainer runs), to Snakemake, or to all of them."""
    running = trainers(process)
    try:
        if victim == "group":
            os.killpg(process.pid, number)
        elif victim == "trainer" and running:
            running[0].send_signal(number)
        else:
            process.send_signal(number)
    except (ProcessLookupError, psutil.NoSuchProcess):  # it has just finished
        pass
    process.wait(timeout=120)
    psutil.wait_procs(running, timeout=120)


def wait_for_training(process: subprocess.Popen, folder: Path) -> None:
    """Wait until the trainer has imported everything: it then writes the owner of the experiment's folder."""
    owner = folder / EXPERIMENT / ".train.owner"
    while process.poll() is None:
        if owner.exists() and any(f"process {trainer.pid} " in owner.read_text() for trainer in trainers(process)):
            return
        time.sleep(0.05)


def newest_state(folder: Path) -> int:
    """Return the step of the newest saved state, 0 without any."""
    states = (folder / EXPERIMENT / ".resume").glob("state-*.json")
    return max((int(state.stem.removeprefix("state-")) for state in states), default=0)


def test_killed_training_run_resumes_and_ends_with_the_same_bytes(calm, differing):
    folder, undisturbed = calm
    process = start(folder)
    while not newest_state(folder):
        assert process.poll() is None, (folder / "terminal.log").read_text()
        time.sleep(0.02)
    strike(process, "group", signal.SIGKILL)
    finish(folder)
    assert times_resumed(folder) == 1
    assert differing(folder / EXPERIMENT, undisturbed / EXPERIMENT) == []


@pytest.mark.parametrize("part", range(PARTS))
def test_kills_at_random_moments_change_no_byte_and_lose_no_saved_state(calm, differing, part):
    folder, undisturbed = calm
    draw, wanted = random.Random(f"{KILLS} {part}"), KILLS // PARTS
    span = json.loads((undisturbed / EXPERIMENT / "timing.json").read_text())["wall_seconds"]
    kills, resumed, reached = [], 0, 0
    while len(kills) < wanted:
        process = start(folder)
        if draw.random() < 0.8:
            wait_for_training(process, folder)
        time.sleep(draw.uniform(0, span))
        victim = draw.choice(("trainer", "snakemake", "group"))
        number = draw.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
        strike(process, victim, number)
        kills.append(f"{victim} {number.name}")
        if (folder / EXPERIMENT / "metrics.json").exists():  # it had finished: compare, and start again
            assert differing(folder / EXPERIMENT, undisturbed / EXPERIMENT) == [], kills
            resumed += times_resumed(folder)
            shutil.rmtree(folder / EXPERIMENT)
        assert newest_state(folder) >= reached or not (folder / EXPERIMENT).exists(), kills
        reached = newest_state(folder)
    finish(folder)
    assert differing(folder / EXPERIMENT, undisturbed / EXPERIMENT) == [], kills
    resumed += times_resumed(folder)
    assert resumed >= wanted // 5  # else the kills have missed the training runs


def times_resumed(folder: Path) -> int:
    """Return how often the run was resumed, each time at a later step; check that it leaves no unknown files."""
    resumed = json.loads((folder / EXPERIMENT / "timing.json").read_text())["resumed_from_epochs"]
    assert resumed == sorted(resumed)
    hidden = {path.name for path in (folder / EXPERIMENT).glob(".*")}
    assert hidden <= {".train.lock", ".train.owner", ".train.progress", ".train.sha256", ".evaluate.sha256", ".resume"}
    return len(resumed)
