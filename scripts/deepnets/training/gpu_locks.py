"""GPUs lent by lock file: each to one job at a time, whoever has started the job.

Within one Snakemake its resource `gpu` keeps jobs apart; the locks do it for two of them, or two users, on one machine,
and say which GPU is whose. They are the kernel's, and so end with their process, however that dies.
"""

import contextlib
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from deepnets.utils.errors import UserError
from deepnets.utils.logging import LOG
from deepnets.utils.machine import in_batch_job, installed_gpus, visible_gpus

# Where all jobs of this machine look; containers that share GPUs but not /tmp name a folder that they share.
LOCKS = Path(os.environ.get("DEEPNETS_LOCKS", "/tmp"))


@contextlib.contextmanager
def acquire_gpus(count: int) -> Iterator[list[str]]:
    """Keep `count` GPUs for this process and its children, waiting until so many are free; call before CUDA is used.

    CUDA_VISIBLE_DEVICES then names them alone, by nvidia-smi's numbers where by numbers: CUDA's own go by speed. Where
    nothing tells of GPUs, nothing is done; nor in a job to which the batch system has given as many as are asked for.
    The context is the list of their names.

    Raises:
        UserError: there are fewer than `count`; or the locks cannot be written.
    """
    names = visible_gpus() if count else []
    if not names or (len(names) == count and in_batch_job()):
        yield names
        return
    if count > len(names):
        raise UserError(f"--gpus {count}: there are {len(names)} here ({', '.join(names)}); ask for fewer.")
    locks = _wait_for(count, names)
    os.environ |= {"CUDA_VISIBLE_DEVICES": ",".join(locks), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    try:
        yield list(locks)
    finally:
        _release(locks)


def _wait_for(count: int, names: list[str]) -> dict[str, FileLock]:
    """The locks of `count` GPUs, by name."""
    uuids = installed_gpus()
    files = {name: LOCKS / f"deepnets-gpu-{_identity(name, uuids).replace('/', '-')}.lock" for name in names}
    waited = False
    while len(locks := _take(count, files)) < count:
        if not waited:
            LOG.info("waiting for a GPU: all that are here are lent (%s)", ", ".join(map(str, files.values())))
            waited = True
        time.sleep(random.uniform(0.5, 1.5))  # two that each took what the other needs do not meet for ever
    return locks


def _take(count: int, files: dict[str, Path]) -> dict[str, FileLock]:
    """The locks of the first `count` GPUs that are free; of fewer, none."""
    locks = {}
    for name, file in files.items():
        locks[name] = FileLock(file, mode=0o666)  # for every user
        try:
            locks[name].acquire(blocking=False)
        except Timeout:
            del locks[name]
        except OSError as error:
            raise UserError(
                f"{file}: cannot lock a GPU here ({error.strerror}); make it writable for all, or set DEEPNETS_LOCKS to"
                " a folder that is."
            ) from None
        if len(locks) == count:
            return locks
    _release(locks)
    return {}


def _release(locks: dict[str, FileLock]) -> None:
    for lock in locks.values():
        lock.release()


def _identity(name: str, uuids: list[str]) -> str:
    """The UUID behind a name, which is a number or the start of a UUID; the name itself where nobody knows."""
    if name.isdigit():
        return uuids[int(name)] if int(name) < len(uuids) else name
    return next((uuid for uuid in uuids if uuid.startswith(name)), name)
