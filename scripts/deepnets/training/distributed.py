"""The processes that train one network together, and how they communicate. `launch` starts them under torchrun."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from deepnets.training.layers import share_batch_statistics
from deepnets.utils.waiting import GROUP_TIMEOUT

_LOST = re.compile("gloo|nccl|connection (closed|reset)|timed out", re.IGNORECASE)


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train one network together, seen from one of them; by default a single process.

    rank: number of this process, from 0. world_size: number of processes.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and reports for all."""
        return self.rank == 0

    def shard(self, n: int) -> slice:
        """This process's range of n items; the ranges are consecutive, and their lengths differ by at most one."""
        each, more = divmod(n, self.world_size)
        start = self.rank * each + min(self.rank, more)
        return slice(start, start + each + (self.rank < more))

    def any(self, flag: bool) -> bool:
        """Whether the flag is true in any process."""
        if self.world_size == 1:
            return flag
        flags = torch.tensor(int(flag))
        dist.all_reduce(flags, dist.ReduceOp.MAX)
        return bool(flags)

    def barrier(self) -> None:
        """Wait until all processes have reached this call."""
        self.any(False)

    def sum(self, number: float) -> float:
        """The sum of the processes' numbers."""
        if self.world_size == 1:
            return number
        numbers = torch.tensor(number, dtype=torch.float64)
        dist.all_reduce(numbers)
        return numbers.item()

    def all_equal(self, number: int) -> bool:
        """Whether all processes have the same number."""
        if self.world_size == 1:
            return True
        extremes = torch.tensor([number, -number])
        dist.all_reduce(extremes, dist.ReduceOp.MAX)
        return bool(extremes[0] == -extremes[1])

    def all_reduce(self, loss: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
        """The sums over all processes of a loss, float64 (), and of a count, int64 (), on the device, in one call."""
        if self.world_size == 1:
            return loss, correct
        sums = torch.stack([loss, correct.double()])
        dist.all_reduce(sums)
        return sums[0], sums[1].long()

    def all_gather(self, shard: Tensor, n: int) -> Tensor:
        """All n rows of a tensor on the CPU, (n, ...), of which each process has the rows of its `shard(n)`."""
        if self.world_size == 1:
            return shard
        rows = shard.new_zeros(n, *shard.shape[1:])
        rows[self.shard(n)] = shard
        dist.all_reduce(rows)
        return rows

    def sync_batch_norm(self, model: nn.Module, device: torch.device) -> nn.Module:
        """The model with batch normalisation over all processes' images; parameters, buffers and names stay."""
        if self.world_size == 1:
            return model
        if device.type == "cuda":
            return nn.SyncBatchNorm.convert_sync_batchnorm(model)
        share_batch_statistics(model)
        return model

    def wrap_ddp(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network to call in training: its backward pass gives the mean gradients over all processes."""
        if self.world_size == 1:
            return network
        devices = [torch.cuda.current_device()] if device.type == "cuda" else None
        parallel = nn.parallel.DistributedDataParallel(network, device_ids=devices)
        # The buffers are batch statistics, which are shared already. (As an argument, torch 2.15 warns of it.)
        parallel.broadcast_buffers = False
        return parallel


SINGLE_PROCESS = ProcessGroup()


@contextlib.contextmanager
def connected(group: ProcessGroup, cuda: bool) -> Iterator[None]:
    """Connect this process to the others: over shared memory and NVLink for GPUs, over loopback for CPUs.

    Args:
        group: from `launch.process_group`.
        cuda: whether each process uses the GPU of its rank.
    """
    if cuda:
        torch.cuda.set_device(group.rank)
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=GROUP_TIMEOUT)
    yield
    dist.destroy_process_group()  # not after an error: it would wait for the others


def is_connection_lost(error: Exception) -> bool:
    """Whether an error means that another process has ended or does not answer; torch reports that only in words."""
    return isinstance(error, RuntimeError) and dist.is_initialized() and bool(_LOST.search(str(error)))
