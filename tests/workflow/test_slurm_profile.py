"""`--profile profiles/slurm` asks SLURM for the right resources; stubs replace SLURM, which tests/cluster runs."""

import itertools
import json
import math
import os
import re
import shlex
import time

import pytest
import yaml

from deepnets.planning.estimates import speed_up
from deepnets.planning.snakemake_patches import DIVERGED
from deepnets.utils.command_line import TRY_AGAIN_LINE

COMMANDS = {
    # The job's number is that of jobs until now; its log is what it has said.
    "sbatch": 'echo "$@" >> "$CALLS"; wc -l < "$CALLS"; [ -z "$SAID" ] || printf "%s\n" "$SAID" > "$LOG"',
    # All jobs have failed as soon as $AT_ONCE of them are submitted.
    "squeue": 'jobs=$(wc -l < "$CALLS"); [ "$jobs" -ge "$AT_ONCE" ] && state=FAILED || state=RUNNING\n'
    'seq -f "%.0f|$state" 1 "$jobs"',
    "sinfo": "echo 'main*'",
    "scontrol": "echo MinJobAge = 300 sec",
    "sacct": "exit 1",
    "sacctmgr": "echo my_project",
}
PROFILE = ("--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "1")
HISTORY = "results/shapes/mobilenet_v2/brief/seed0/history.csv"  # of a network whose cost was measured
LOG = "logs/shapes/mobilenet_v2/brief/seed0/train.log"


@pytest.fixture
def sbatch_calls(tmp_path):
    """Replace SLURM's commands by stubs; return the file that gets a line for each sbatch."""
    (tmp_path / "bin").mkdir()
    for name, line in COMMANDS.items():
        command = tmp_path / "bin" / name
        command.write_text(f"#!/bin/sh\n{line}\n")
        command.chmod(0o755)
    os.environ["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    calls = tmp_path / "calls"
    calls.touch()
    return calls


@pytest.fixture
def asked(study, fork_server, sbatch_calls):
    """Start a training job, or `jobs` of them, or another one; return the options of each sbatch until now:
    `asked(*arguments, jobs=1, target=HISTORY, said="") -> [{"-t": "16", ...}, ...]`; said: the log of a training job.
    """

    def options(*arguments: str, jobs: int = 1, target: str = HISTORY, said: str = "") -> list[dict[str, str]]:
        targets = [target.replace("seed0", f"seed{seed}") for seed in range(jobs)]
        for target in targets:
            (study / target).unlink(missing_ok=True)
        environ = {"CALLS": str(sbatch_calls), "AT_ONCE": str(jobs), "SAID": said, "LOG": LOG}
        # After a failed job the executor would sleep for another 11 seconds.
        done = fork_server(study, *targets, *PROFILE, *arguments, longest_sleep=0.1, **environ)
        assert "SLURM status is: 'FAILED'" in done.output
        assert "RuntimeWarning" not in done.output  # Snakemake warns when it evaluates resources too early
        return [parsed(line) for line in sbatch_calls.read_text().splitlines()]

    return options


def parsed(line: str) -> dict[str, str]:
    """Return the options of a command line with their values, which follow a space or an equals sign."""
    words = shlex.split(line.partition("--wrap")[0])
    found = {}
    for word, following in zip(words, [*words[1:], "-"], strict=True):
        if word.startswith("-"):
            name, _, value = word.partition("=")
            found[name] = value or ("" if following.startswith("-") else following)
    return found


def test_a_training_run_asks_for_cores_time_memory_and_a_signal_before_its_limit(asked):
    (first,) = asked("--retries", "0")
    # 4 cores; 15 minutes, and one for 3 epochs of 80 images
    assert (first["--cpus-per-task"], first["-t"]) == ("4", "16")
    assert 950 < int(first["--mem"]) < 1100
    assert first["--signal"] == "TERM@120"
    assert "--requeue" in first
    assert not {"--gpus", "--gres", "--account", "-C", "--exclusive"} & first.keys()


def test_a_measurement_of_latency_asks_for_a_node_without_other_jobs(asked):
    (call,) = asked("--retries", "0", target="results/shapes/mobilenet_v2/latency.json")
    assert "--exclusive" in call
    assert (call["--signal"], call["-t"]) == ("TERM@120", "10")


def test_each_rule_that_nothing_may_run_next_to_has_a_node_for_itself(root):
    rules = "".join(file.read_text() for file in (root / "workflow/rules").glob("*.smk"))
    head = r"^(?:rule|use rule (\w+) as) (\w+)(?::| with:)"
    bodies = re.findall(rf"{head}(.*?)(?=^rule |^use rule |\Z)", rules, re.MULTILINE | re.DOTALL)
    takes_all = {rule for _, rule, body in bodies if "threads: ALL_CORES" in body}
    takes_all |= {rule for base, rule, body in bodies if base in takes_all and "threads:" not in body}
    resources = yaml.safe_load((root / "profiles/slurm/config.yaml").read_text())["set-resources"]
    alone = {rule for rule, asked in resources.items() if "--exclusive" in asked["slurm_extra"]}
    assert alone == takes_all >= {"latency", "export", "export_int8"}


def test_a_job_is_submitted_with_all_values_of_its_recipe(study, fork_server, dry_run, sbatch_calls):
    """What the node's Snakemake is asked for, as a shell gives it to Snakemake, is the same job there."""
    target = "results/shapes/small/gentle,augment.crop_padding=2,lr=0.2/seed0/history.csv"
    options = ("--retries", "0", "--config", "study=second")
    fork_server(study, target, *PROFILE, *options, longest_sleep=0.1, CALLS=str(sbatch_calls), AT_ONCE="1")
    words = shlex.split(sbatch_calls.read_text().partition("--wrap=")[2])
    [job] = [following for word, following in itertools.pairwise(words) if word == "--target-jobs"]
    planned = dry_run(study, "--target-jobs", job)
    assert "Train small on shapes, recipe gentle,augment.crop_padding=2,lr=0.2, seed 0" in planned.jobs


def test_retries_ask_for_more_memory_and_for_no_more_time_than_their_partition_has_allowed(asked):
    for attempt in ("1", "2", "6"):
        calls = asked("--retries", "0", "--attempt", attempt)
    assert [int(call["-t"]) for call in calls] == [16] * 3
    assert [round(int(call["--mem"]) / int(calls[0]["--mem"])) for call in calls] == [1, 2, 4]


@pytest.mark.parametrize(("reason", "jobs"), [(f"{DIVERGED} in epoch 1 of 3", 1), ("out of memory", 3)])
def test_a_training_run_that_has_diverged_is_not_retried_and_any_other_that_fails_is(asked, reason, jobs):
    said = f"2 threads\nerror: shapes/mobilenet_v2/brief/seed0: {reason}.\n{TRY_AGAIN_LINE}"
    assert len(asked("--retries", "2", said=said)) == jobs


def test_the_log_of_an_earlier_run_that_has_diverged_costs_no_retry(study, asked):
    (study / LOG).write_text(f"error: {DIVERGED}\n{TRY_AGAIN_LINE}\n")
    os.utime(study / LOG, (time.time() - 60,) * 2)
    assert len(asked("--retries", "1")) == 2


def test_threads_and_a_gpu_are_requested_as_configured(asked):
    options = ("--set-threads", "train=2", "--set-resources", "train:gpu=1", "train:slurm_partition=fast")
    (call,) = asked("--retries", "0", *options)
    assert (call["--cpus-per-task"], call["--gpus"], call["-p"]) == ("2", "1", "fast")


def take_days(study):
    """Give MobileNetV2 of the study many epochs, at full resolution."""
    config = study / "config.yaml"
    text = config.read_text().replace("epochs: 3", "epochs: 100000")
    config.write_text(text.replace("mobilenet_v2}", "mobilenet_v2, strides: [1, 1, 1, 1, 1]}"))


def test_the_limit_of_a_training_run_is_a_day_at_most(study, asked):
    take_days(study)
    (call,) = asked("--retries", "0")
    assert call["-t"] == "1440"


def test_a_limit_of_time_is_that_of_each_job_and_not_of_all_together(asked):
    calls = asked("--retries", "0", "--resources", "runtime=12", jobs=2)
    assert [call["-t"] for call in calls] == ["12", "12"]


def test_the_block_of_a_site_works_as_described_when_it_is_uncommented(study, asked):
    profile = study / "profiles/slurm/config.yaml"
    take_days(study)
    profile.write_text(re.sub(r"^# (?= *[\w-]+:)", "", profile.read_text(), flags=re.MULTILINE))
    first, second = asked("--retries", "1")
    assert [call["-t"] for call in (first, second)] == ["480", "480"]
    assert [call["--mem"] for call in (first, second)] == ["8000", "16000"]
    assert (first["--cpus-per-task"], first["--gpus"], first["-p"]) == ("8", "1", "gpu")


def test_a_partition_an_account_and_a_constraint_of_all_jobs_are_asked_for_when_uncommented(study, asked):
    profile = study / "profiles/slurm/config.yaml"
    profile.write_text(re.sub(r"^  # (?=[\w-]+:)", "  ", profile.read_text(), flags=re.MULTILINE))
    (call,) = asked("--retries", "0")
    assert (call["-p"], call["-A"], call["-C"]) == ("batch", "my_project", "icelake")
    assert call["--signal"] == "TERM@120"


def test_a_training_run_on_images_that_are_not_prepared_counts_with_60000(study, asked):
    info = study / "data/shapes/dataset.json"
    metadata = json.loads(info.read_text())
    info.write_text(json.dumps({**metadata, "splits": {}}))
    (study / "data/shapes/.prepare.sha256").unlink()  # else the file counts as damaged and is rebuilt
    (call,) = asked("--retries", "0")
    # On 4 cores: 3 epochs of images, and of steps with batches of 8.
    seconds = 6 * 3 * 60_000 * (21e-6 * 16**2 / 8 + 1.8e6 * 2e-9 / 8) / speed_up(4)
    assert call["-t"] == str(15 + math.ceil(seconds / 60))


@pytest.mark.usefixtures("sbatch_calls")
def test_the_memory_of_the_machine_that_submits_limits_no_job(checkout, snakemake, tmp_path):
    done = snakemake(checkout(tmp_path / "clone"), "data/digits/raw.json", *PROFILE, cores=None)
    assert done.returncode == 0, done.stdout
    assert '"mem_mb"' not in done.stdout
