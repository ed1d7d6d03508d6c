"""One training on several processes of this machine: how they are started, and what they tell each other.

torchrun starts and watches them (`launch`). Each joins the others (`joined`), and computes its share of every batch.
"""

import contextlib
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from deepnets.utils.errors import UserError

# A process that dies is noticed at once; this is for one that hangs. It has to outlast what one does alone: saving.
TIMEOUT = timedelta(minutes=10)
INTERRUPTED_EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: the same command may succeed later
LOST_EXIT_CODE = 69  # EX_UNAVAILABLE: another process is gone, for a reason of its own

_LOST = re.compile("gloo|nccl|connection (closed|reset)|timed out", re.IGNORECASE)


@dataclass(frozen=True)
class Processes:
    """The processes that train one network together, seen from one of them; by default there is only this one.

    rank: number of this process, from 0. count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and reports, for all."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """This process's part of n things: one after the other, as equal as can be."""
        each, more = divmod(n, self.count)
        start = self.rank * each + min(self.rank, more)
        return slice(start, start + each + (self.rank < more))

    def any(self, flag: bool) -> bool:
        """Whether the flag is true in any process."""
        if self.count == 1:
            return flag
        flags = torch.tensor(int(flag))
        dist.all_reduce(flags, dist.ReduceOp.MAX)
        return bool(flags)

    def wait(self) -> None:
        """Go on when all processes have come here."""
        self.any(False)

    def agree(self, number: int) -> bool:
        """Whether all processes have the same number."""
        if self.count == 1:
            return True
        extremes = torch.tensor([number, -number])
        dist.all_reduce(extremes, dist.ReduceOp.MAX)
        return bool(extremes[0] == -extremes[1])

    def total(self, loss: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
        """The sums over all processes of a loss, float64 (), and of a count, int64 (), on the device and in one go."""
        if self.count == 1:
            return loss, correct
        sums = torch.stack([loss, correct.double()])
        dist.all_reduce(sums)
        return sums[0], sums[1].long()

    def whole(self, share: Tensor, n: int) -> Tensor:
        """All n rows of a tensor on the CPU, (n, ...), of which each process has its share."""
        if self.count == 1:
            return share
        rows = share.new_zeros(n, *share.shape[1:])
        rows[self.share(n)] = share
        dist.all_reduce(rows)
        return rows

    def with_shared_statistics(self, model: nn.Module, device: torch.device) -> nn.Module:
        """The model with batch normalisation over all processes' images; parameters, buffers and names stay."""
        if self.count == 1:
            return model
        if device.type == "cuda":
            return nn.SyncBatchNorm.convert_sync_batchnorm(model)
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.__class__ = _SharedBatchNorm  # not a new module: the average of the weights copies the model
        return model

    def averaging(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network to call in training: with a backward pass, its gradients become the means over all processes."""
        if self.count == 1:
            return network
        devices = [torch.cuda.current_device()] if device.type == "cuda" else None
        parallel = nn.parallel.DistributedDataParallel(network, device_ids=devices)
        # Its buffers are batch statistics, which are shared already. (As an argument, torch 2.15 warns of it.)
        parallel.broadcast_buffers = False
        return parallel


ALONE = Processes()


class _SharedBatchNorm(_BatchNorm):
    """Batch normalisation over the images of all processes, on the CPU, which torch's own SyncBatchNorm refuses."""

    def _check_input_dim(self, images: Tensor) -> None:
        """Of any number of dimensions: (N, C, ...)."""

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return super().forward(images)
        values = images.float()
        count = values.numel() // values.shape[1]
        var, mean = (moment.double() for moment in torch.var_mean(values, [0, *range(2, values.ndim)], correction=0))
        # In float64, nothing is lost by taking the variance as the mean square less the square of the mean.
        sums = torch.cat([count * mean, count * (var + mean**2), mean.new_tensor([count])])
        mean, square, count = _Sum.apply(sums).split([len(mean), len(mean), 1])
        mean, var = mean / count, square / count - (mean / count) ** 2
        self._track(mean.detach(), var.detach() * count.detach() / (count.detach() - 1))
        scale = (var + self.eps).rsqrt() if self.weight is None else self.weight * (var + self.eps).rsqrt()
        shift = -mean * scale if self.bias is None else self.bias - mean * scale
        shape = [1, -1, *[1] * (values.ndim - 2)]
        return torch.addcmul(shift.float().view(shape), values, scale.float().view(shape)).to(images.dtype)

    def _track(self, mean: Tensor, var: Tensor) -> None:
        """Note the batch's statistics for the evaluation, as torch does: a moving average, or the mean of all."""
        if self.running_mean is None:
            return
        self.num_batches_tracked += 1
        share = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.float(), share)
        self.running_var.lerp_(var.float(), share)


class _Sum(torch.autograd.Function):
    """The sum over all processes. Its gradient is the sum of theirs: each one's output depends on every one's input."""

    @staticmethod
    def forward(_context, values: Tensor) -> Tensor:
        values = values.clone()
        dist.all_reduce(values)
        return values

    @staticmethod
    def backward(_context, gradient: Tensor) -> Tensor:
        return _Sum.forward(_context, gradient)


# -- starting and ending -----------------------------------------------------------------------------------------------


def launched() -> bool:
    """Whether torchrun has started this process, as one of several."""
    return dist.is_torchelastic_launched()


def own_rank() -> Processes:
    """The processes as torchrun has numbered them; it takes `joined` before they can talk."""
    return Processes(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


@contextlib.contextmanager
def joined(processes: Processes, cuda: bool) -> Iterator[None]:
    """Talk to the other processes: over shared memory and NVLink between GPUs, over loopback between CPUs.

    Args:
        processes: from `own_rank`.
        cuda: each has the GPU of its rank.
    """
    if cuda:
        torch.cuda.set_device(processes.rank)
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=TIMEOUT)
    yield
    dist.destroy_process_group()  # not after an error: it would wait for the others


def is_lost(error: Exception) -> bool:
    """Whether an error says that another process is gone or does not answer; torch tells it in words only."""
    return isinstance(error, RuntimeError) and dist.is_initialized() and bool(_LOST.search(str(error)))


def launch(count: int, command: Sequence[str], parent: int | None) -> None:
    """Run a Python script in `count` processes under torchrun, until all have ended well.

    Args:
        count: how many.
        command: the script and its arguments.
        parent: process id of what started this one; its end ends them too, as a TERM does. None: nobody is watched.

    Raises:
        SystemExit: with the exit code of the process that failed first; it has said why.
        UserError: a process was killed; the message has its number and the signal.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    elastic = logging.getLogger("torch.distributed.elastic")  # what it would print in many lines is said below in one
    elastic.addHandler(logging.NullHandler())
    elastic.propagate = False
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")  # not the network
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()
    # A fixed address rather than --standalone, which unpickles what anybody sends to the port where it listens.
    options = [f"--nproc-per-node={count}", "--master-addr=127.0.0.1", f"--master-port={_free_port()}"]
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # nohup asks to outlive the terminal
        options += ["--signals-to-handle=SIGTERM,SIGINT,SIGQUIT"]
    torchrun = parse_args([*options, command[0]])
    # Not parsed, as it would take --log for the start of an option of its own; nor $ for that of a variable.
    torchrun.training_script_args = [word.replace("$", "$$") for word in command[1:]]
    try:
        run(torchrun)
    except SignalException:
        sys.exit(INTERRUPTED_EXIT_CODE)
    except ChildFailedError as error:
        rank, failure = _cause(error.failures)
        if failure.exitcode > 0:
            sys.exit(failure.exitcode)
        reason = " (the system's way when memory runs out)" if failure.exitcode == -signal.SIGKILL else ""
        raise UserError(
            f"process {rank + 1} of {count} was ended by {failure.signal_name()}{reason}, and the others stopped; run"
            " the same command again: it goes on from the last saved state."
        ) from None


def _cause(failures: dict) -> tuple[int, Any]:
    """Rank and torchrun's note of the failure that came first, to the second; not one that another caused."""
    start = min(failure.timestamp for failure in failures.values())
    caused = (LOST_EXIT_CODE, -signal.SIGTERM)
    return min(failures.items(), key=lambda each: (each[1].timestamp > start + 1, each[1].exitcode in caused))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _end_after(parent: int) -> None:
    """Send this process a TERM once its parent has ended."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
