"""Processes that train together: as one would, to rounding; together stopped, resumed, lost."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import nn

from deepnets.training import distributed, launch
from deepnets.training.distributed import ProcessGroup
from deepnets.training.launch import LOST_EXIT_CODE

CPU = torch.device("cpu")

# -- one process of several ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "count"), [(10, 1), (10, 2), (11, 2), (3, 4), (0, 2), (100, 7)])
def test_shares_are_equal_to_one_and_together_the_whole(n, count):
    shares = [range(n)[ProcessGroup(rank, count).shard(n)] for rank in range(count)]
    assert [number for share in shares for number in share] == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_process_that_is_alone_talks_to_nobody():
    alone, model = ProcessGroup(), nn.BatchNorm2d(2)
    assert (alone.any(False), alone.any(True), alone.all_equal(3), alone.is_main) == (False, True, True, True)
    assert alone.sum(2.5) == 2.5
    assert alone.sync_batch_norm(model, CPU) is model
    assert alone.wrap_ddp(model, CPU) is model
    assert not dist.is_initialized()


@pytest.fixture
def silent(monkeypatch):
    """The only one of all processes that has images."""
    monkeypatch.setattr(dist, "all_reduce", lambda tensor, *_arguments: None)


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}])
def test_shared_batch_norm_is_torchs_own(options):
    torch.manual_seed(0)
    own, shared = nn.BatchNorm2d(3, **options), nn.BatchNorm2d(3, **options)
    ProcessGroup(0, 2).sync_batch_norm(nn.Sequential(shared), CPU)
    images = [(5 * torch.randn(4, 3, 5, 5) + 100).requires_grad_() for _ in range(2)]
    images[1].data.copy_(images[0].data)
    weights = torch.randn(4, 3, 5, 5)
    for _ in range(2):
        outputs = [norm(batch) for norm, batch in zip((own, shared), images, strict=True)]
        torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-4, atol=1e-4)
        for output in outputs:
            (output * weights).sum().backward()
    torch.testing.assert_close(images[1].grad, images[0].grad, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(shared.state_dict(), own.state_dict())
    torch.testing.assert_close(shared.eval()(images[0]), own.eval()(images[0]))


@pytest.mark.usefixtures("silent")
def test_shared_batch_norm_takes_vectors_and_bfloat16():
    norm = nn.Sequential(nn.BatchNorm1d(3))
    ProcessGroup(0, 2).sync_batch_norm(norm, CPU)
    output = norm(torch.tensor([[0.0, 1, 2], [2, 3, 4]], dtype=torch.bfloat16))
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), torch.tensor([[-1.0] * 3, [1.0] * 3]), rtol=0.01, atol=0.01)


@pytest.mark.parametrize(
    ("message", "lost"),
    [
        ("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:7", True),
        ("NCCL error in: ProcessGroupNCCL.cpp:94, remote process exited", True),
        ("Timed out waiting 600000ms for recv operation to complete", True),
        ("mat1 and mat2 shapes cannot be multiplied (1x2 and 3x4)", False),
    ],
)
def test_loss_of_another_process_is_distinguished_from_a_defect(monkeypatch, message, lost):
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    assert distributed.is_connection_lost(RuntimeError(message)) == lost


@pytest.mark.parametrize(
    ("failures", "cause"),
    [
        ([(LOST_EXIT_CODE, 5), (-signal.SIGKILL, 5)], 1),
        ([(2, 5), (-signal.SIGTERM, 5)], 0),
        ([(LOST_EXIT_CODE, 5), (-signal.SIGKILL, 35)], 0),  # it hung, and torchrun has ended it
        ([(75, 5), (75, 5)], 0),
    ],
)
def test_cause_is_what_came_first_and_was_not_caused(failures, cause):
    notes = {rank: SimpleNamespace(exitcode=code, timestamp=time) for rank, (code, time) in enumerate(failures)}
    assert launch._cause(notes)[0] == cause


# -- starting and watching them ----------------------------------------------------------------------------------------

LAUNCHER = """
import os, sys
from deepnets.training.launch import launch
from deepnets.utils.command_line import run
from deepnets.utils.logging import log_to
log_to(None)
run(lambda: launch(2, sys.argv[1:], os.getppid()))
"""
WORKER = """
import json, os, signal, sys, time
rank = int(os.environ["RANK"])
open(f"{sys.argv[1]}/{rank}.pid", "w").write(str(os.getpid()))
"""


@pytest.fixture
def start(root, tmp_path):
    """Start a script in two processes: `start("sys.exit(3)", *arguments) -> process` of the launcher."""
    started = []

    def launch(script: str, *arguments: str, parent: tuple[str, ...] = ()) -> subprocess.Popen:
        (tmp_path / "worker.py").write_text(WORKER + script)
        command = [sys.executable, "-c", LAUNCHER, str(tmp_path / "worker.py"), str(tmp_path), *arguments]
        environment = os.environ | {"PYTHONPATH": str(root / "scripts")}
        started.append(subprocess.Popen([*parent, *command], stderr=subprocess.PIPE, text=True, env=environment))
        return started[-1]

    yield launch
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def pid(folder: Path, rank: int) -> int:
    """The process of this rank, once it has started."""
    deadline = time.monotonic() + 60
    file = folder / f"{rank}.pid"
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(file.read_text())


def is_gone(process: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_arguments_reach_every_process_as_they_are(start, tmp_path):
    given = ["$HOME", "$$", "${local_rank}", "--log", "--", "--job", '{"a": "b c"}', "*"]
    process = start('open(f"{sys.argv[1]}/{rank}.json", "w").write(json.dumps(sys.argv[2:]))', *given)
    assert process.communicate() == (None, "")
    assert process.returncode == 0
    assert [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)] == [given, given]


def test_killed_process_is_named_with_its_signal_and_the_others_are_ended(start, tmp_path):
    process = start("time.sleep(300)")
    other = pid(tmp_path, 0)
    os.kill(pid(tmp_path, 1), signal.SIGKILL)
    assert is_gone(other, 5)
    assert process.communicate()[1] == (
        "error: process 2 of 2 was ended by SIGKILL (usually because memory ran out), and the others stopped;"
        " the next run continues from the last saved state.\nThen run the same command again.\n"
    )
    assert process.returncode == 2


def test_exit_code_is_that_of_the_process_that_failed_and_reported_the_reason(start):
    process = start("time.sleep(300) if rank == 0 else sys.exit(3)")
    assert process.communicate() == (None, "")
    assert process.returncode == 3


SAVING = """
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: sys.exit(75))
time.sleep(300)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_reaches_every_process(start, tmp_path, number):
    process = start(SAVING)
    workers = [pid(tmp_path, rank) for rank in range(2)]
    time.sleep(0.5)  # until they listen
    process.send_signal(number)
    assert process.communicate() == (None, "")
    assert process.returncode == 75
    assert all(is_gone(worker, 5) for worker in workers)


def test_processes_end_with_the_parent_of_their_launcher(start, tmp_path):
    shell = start(SAVING, parent=("sh", "-c", '"$@"; exit', "sh"))
    workers = [pid(tmp_path, rank) for rank in range(2)]
    shell.kill()
    assert all(is_gone(worker, 10) for worker in workers)


# -- training together -------------------------------------------------------------------------------------------------

# Of these, two processes make what one makes, to rounding; batches of 11 images are shared out as 6 and 5.
SAME = {
    "sgd": {},
    "adamw": {"recipe": {"optimizer": "adamw", "lr": 0.01}},
    "muon": {"hidden": True, "recipe": {"optimizer": "muon", "lr": 0.1}},
    "smoothed, clipped": {"recipe": {"label_smoothing": 0.1, "clip_norm": 0.1}},
    "accumulated": {"recipe": {"batch_size": 10, "accumulation": 5}},
    "averaged": {"recipe": {"weight_averaging": "ema", "ema_decay": 0.8}},
    "augmented": {"recipe": {"augment": {"crop_padding": 1, "rotation": 10, "random_erasing": 0.5, "cutout": 2}}},
    "mixup": {"recipe": {"augment": {"mixup": 1, "crop_padding": 1}}},
    "cutmix": {"recipe": {"augment": {"cutmix": 1, "rotation": 10}, "batch_size": 10, "accumulation": 2}},
    "resized": {"recipe": {"progressive_resizing": {"start": 0.7, "until": 0.6}}},
    "one image to validate on": {"validation": 1},
    "batch norm": {"norm": True},
    "batch norm, averaged": {"norm": True, "recipe": {"weight_averaging": "ema", "ema_decay": 0.8}},
    "batch norm, averaged at the end": {"norm": True, "recipe": {"weight_averaging": "swa", "averaging_start": 0.4}},
}
# These depend on the number of processes.
OTHER = {
    "dropout": {"dropout": 0.3},
    "batch norm, accumulated": {"norm": True, "recipe": {"batch_size": 10, "accumulation": 2}},
    "bfloat16": {"norm": True, "recipe": {"precision": "bf16"}},
}
DIVERGING = {"diverging": {"recipe": {"lr": 1e30, "warmup": 0}}}
EVERYTHING = {"norm": True, "recipe": {"weight_averaging": "ema", "augment": {"mixup": 0.3}}}
STOPPED = EVERYTHING | {"stop_after": 4, "stopped_rank": 1}


class Runs:
    """The training runs of train_scenarios.py, by name: how each ended in each process."""

    def __init__(self, root: Path, folder: Path):
        self.root, self.folder = root, folder

    def run(self, count: int, scenarios: dict) -> None:
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"] if count > 1 else []
        script = str(Path(__file__).with_name("train_scenarios.py"))
        command = [sys.executable, *torchrun, script, json.dumps(scenarios), str(self.folder)]
        environment = os.environ | {"PYTHONPATH": str(self.root / "scripts"), "GLOO_SOCKET_IFNAME": "lo"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr

    def outcome(self, name: str, rank: int = 0) -> dict:
        return json.loads((self.folder / name / f"{rank}.json").read_text())

    def weights(self, name: str, rank: int = 0) -> dict:
        return load_file(self.folder / name / f"{rank}.safetensors")

    def history(self, name: str) -> list[dict]:
        return self.outcome(name)["progress"]["history"]


def named(prefix: str, scenarios: dict) -> dict:
    return {f"{prefix}/{name}": scenario for name, scenario in scenarios.items()}


@pytest.fixture(scope="module")
def runs(root, tmp_path_factory) -> Runs:
    """Run every scenario in one process and in two, and one in two, then in one, then in two again."""
    all_of_them = Runs(root, tmp_path_factory.mktemp("runs"))
    every = SAME | OTHER | DIVERGING | {"everything": EVERYTHING}
    all_of_them.run(2, named("two", every) | {"resumed": STOPPED, "changed": STOPPED, "stopped": STOPPED})
    all_of_them.run(1, named("one", every) | {"changed": EVERYTHING | {"stop_after": 3}})
    all_of_them.run(2, {"resumed": EVERYTHING, "changed": EVERYTHING})
    return all_of_them


def assert_same_training(runs: Runs, one: str, two: str) -> None:
    """Assert equality up to rounding: sums over a batch are added in another order."""
    torch.testing.assert_close(runs.weights(two), runs.weights(one), rtol=1e-4, atol=1e-5)
    for row, other in zip(runs.history(one), runs.history(two), strict=True):
        for name in ("epoch", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy"):
            assert other[name] == pytest.approx(row[name], rel=1e-4)


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("name", SAME)
def test_two_processes_train_as_one(runs, name):
    assert_same_training(runs, f"one/{name}", f"two/{name}")


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("name", SAME | OTHER)
def test_processes_end_with_the_same_bits(runs, name):
    first, second = (runs.weights(f"two/{name}", rank) for rank in range(2))
    assert all(torch.equal(tensor, second[key]) for key, tensor in first.items())


@pytest.mark.slow
@pytest.mark.full
def test_processor_time_is_that_of_both_processes(runs):
    """Each knows the sum: if each had only its own, the two would differ."""
    first, second = (
        [run["cpu_seconds"] for run in runs.outcome("resumed", rank)["progress"]["runs"]] for rank in (0, 1)
    )
    assert len(first) == 2
    assert first[-1] == second[-1]
    assert min(first) > 0


@pytest.mark.slow
@pytest.mark.full
def test_batch_of_few_images_is_accumulated_in_one_image_a_process_at_least(runs):
    assert runs.outcome("two/accumulated")["accumulation"] == 5


@pytest.mark.slow
@pytest.mark.full
def test_stop_of_one_process_stops_all_after_the_same_step(runs):
    for rank in range(2):
        outcome = runs.outcome("stopped", rank)
        assert (outcome["ended"], outcome["progress"]["epoch"], outcome["progress"]["step"]) == ("interrupted", 1, 1)


@pytest.mark.slow
@pytest.mark.full
def test_training_resumed_by_as_many_processes_ends_with_the_same_bits(runs):
    resumed, undisturbed = runs.weights("resumed"), runs.weights("two/everything")
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in undisturbed.items())


@pytest.mark.slow
@pytest.mark.full
def test_training_continues_in_one_process_and_then_in_two_again(runs):
    assert len(runs.outcome("changed")["progress"]["runs"]) == 3
    assert_same_training(runs, "one/everything", "changed")


@pytest.mark.slow
@pytest.mark.full
def test_diverging_training_ends_in_every_process_with_the_same_advice(runs):
    ends = {runs.outcome(f"{count}/diverging", rank)["ended"] for count, rank in (("one", 0), ("two", 0), ("two", 1))}
    assert len(ends) == 1
    assert "the loss is not finite in epoch 1 of 3" in ends.pop()
