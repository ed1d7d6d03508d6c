"""Locks on GPUs: each GPU is used by one job at a time, also if different users started them.

Within one Snakemake the resource `gpu` keeps jobs apart. The locks do that for several Snakemakes or users on one
machine, and decide which job uses which GPU. The kernel releases a lock when its process ends, however it ends.
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

# All jobs of this machine use this folder; containers that share GPUs but not /tmp need a folder that they share.
LOCKS = Path(os.environ.get("DEEPNETS_LOCKS", "/tmp"))


@contextlib.contextmanager
def acquire_gpus(count: int, name: str) -> Iterator[list[str]]:
    """Lock `count` GPUs for this process and its children, and wait until they are free; call before CUDA is used.

    CUDA_VISIBLE_DEVICES is set to these GPUs. Numbers are those of nvidia-smi, as CUDA's own follow the speed. Without
    GPUs nothing is done, and neither in a job that got exactly `count` GPUs from the batch system.

    Yields:
        The names of the GPUs.

    Raises:
        UserError: there are fewer than `count` GPUs, or the locks cannot be written.
    """
    names = visible_gpus() if count else []
    if not names or (len(names) == count and in_batch_job()):
        yield names
        return
    if count > len(names):
        raise UserError(f"--gpus {count}: there are {len(names)} here ({', '.join(names)}); ask for fewer.")
    locks = _wait_for(count, names, name)
    os.environ |= {"CUDA_VISIBLE_DEVICES": ",".join(locks), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    try:
        yield list(locks)
    finally:
        _release(locks)


def _wait_for(count: int, names: list[str], name: str) -> dict[str, FileLock]:
    """The locks of `count` GPUs, by name."""
    uuids = installed_gpus()
    files = {name: LOCKS / f"deepnets-gpu-{_identity(name, uuids).replace('/', '-')}.lock" for name in names}
    waited = False
    while len(locks := _try_to_lock(count, files)) < count:
        if not waited:
            LOG.info("%s: waiting for a GPU: all are in use (%s)", name, ", ".join(map(str, files.values())))
            waited = True
        time.sleep(random.uniform(0.5, 1.5))  # random, so that two jobs that need the same GPUs do not collide forever
    return locks


def _try_to_lock(count: int, files: dict[str, Path]) -> dict[str, FileLock]:
    """The locks of the first `count` GPUs that are free; empty if fewer are free."""
    locks = {}
    for name, file in files.items():
        locks[name] = FileLock(file, mode=0o666)  # for every user
        try:
            locks[name].acquire(blocking=False)
        except Timeout:
            del locks[name]
        except OSError as error:
            raise UserError(
                f"{file}: cannot lock a GPU here ({error.strerror}); make the folder writable for all users, or set"
                " DEEPNETS_LOCKS to a folder that is."
            ) from None
        if len(locks) == count:
            return locks
    _release(locks)
    return {}


def _release(locks: dict[str, FileLock]) -> None:
    for lock in locks.values():
        lock.release()


def _identity(name: str, uuids: list[str]) -> str:
    """The UUID of a GPU whose name is a number or the start of a UUID; the name itself if the UUID is unknown."""
    if name.isdigit():
        return uuids[int(name)] if int(name) < len(uuids) else name
    return next((uuid for uuid in uuids if uuid.startswith(name)), name)
