"""Processes that decode pictures, while this one predicts those that are decoded. Here is no torch."""

import contextlib
import math
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TypeVar

from deepnets.data.pictures import decode_block
from deepnets.utils.ahead import map_ahead
from deepnets.utils.errors import UserError
from deepnets.utils.worker import start_worker

_ALONE, _ALONE_BYTES = 256, 2**24  # less than both is decoded sooner than processes start: pictures, bytes of files
_LEAST_EACH, _LEAST_BYTES_EACH = 32, 2**22  # one of both is enough for a process
_AHEAD = 4  # blocks for each process, decoded or not, that wait to be used

Block = TypeVar("Block")
Done = TypeVar("Done")


@dataclass(frozen=True)
class Decoders:
    """Processes that are ready to decode, as `start_decoders` makes them."""

    pool: ProcessPoolExecutor
    processes: int

    def map(self, work: Callable[[Block], Done], blocks: Iterable[Block]) -> Iterator[Done]:
        """Yield `work(block)` of each block, in their order. Few are read ahead of what is used.

        Raises:
            UserError: a process was killed.
        """
        try:
            yield from map_ahead(self.pool, work, blocks, _AHEAD * self.processes)
        except BrokenProcessPool:
            raise UserError(
                "a process that decoded pictures was killed, most likely because memory ran out; give fewer --threads,"
                " which need less memory."
            ) from None


@contextlib.contextmanager
def start_decoders(
    pictures: int, processes: int, count_bytes: Callable[[], int] = lambda: 0
) -> Iterator[Decoders | None]:
    """Start processes that decode, at the lowest priority, for the time of the `with` block; None where one is enough.

    They start while the caller does something else: nothing waits for them here.

    Args:
        pictures: how many there are to decode.
        processes: at most.
        count_bytes: returns the bytes of their files, as few photos take as long as many small pictures; called only
            where it decides, as to look at every file takes time.
    """
    enough_for, are_many = math.ceil(pictures / _LEAST_EACH), pictures >= _ALONE
    if min(processes, pictures) > 1 and (not are_many or enough_for < processes):
        size = count_bytes()
        enough_for, are_many = max(enough_for, size // _LEAST_BYTES_EACH), are_many or size >= _ALONE_BYTES
    processes = min(processes, pictures, enough_for)
    if processes <= 1 or not are_many:
        yield None
        return
    others = multiprocessing.active_children()
    spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    pool = ProcessPoolExecutor(processes, spawn, start_worker, (os.getpid(),))
    try:
        for _ in range(processes):  # each call starts a process
            pool.submit(decode_block, [], [])
        yield Decoders(pool, processes)
    except BaseException:  # Ctrl-C, or nobody reads any more: a block of large pictures takes long
        for child in set(multiprocessing.active_children()) - set(others):
            child.terminate()
        raise
    finally:
        pool.shutdown()
