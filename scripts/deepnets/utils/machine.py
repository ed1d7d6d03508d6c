"""The machine that this process runs on, according to the standard library and nvidia-smi."""

import contextlib
import getpass
import itertools
import math
import os
import platform
import re
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

BATCH_JOB = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")  # set in jobs of SLURM, PBS, LSF, Grid Engine
CGROUP, CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
GPU_NAME = re.compile(r"\d+|(GPU|MIG)-[\w/-]+")  # in CUDA_VISIBLE_DEVICES: a number, or (the start of) a UUID


def cpu_name() -> str:
    """Return the processor's model name, as the kernel reports it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def name_user() -> None:
    """Give the user a name if the system knows none, as in many containers: Snakemake and torch.compile ask for one."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = str(os.getuid())


def cpu_seconds() -> float:
    """Return the processor time in seconds, user and system, of this process, its threads and children that ended."""
    usages = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def usable_cores() -> int:
    """Return how many CPU cores this process may use; a container or a batch system may allow only some of them.

    A control group's share of the processor time is rounded up to whole cores: 1.5 cores are two.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [_share(quota) for quota in _cgroup_values("cpu", "cpu.max")]
    shares += [
        _share(f"{quota} {period}")
        for quota, period in zip(
            _cgroup_values("cpu", "cpu.cfs_quota_us"), _cgroup_values("cpu", "cpu.cfs_period_us"), strict=False
        )
    ]
    return max(1, math.ceil(min([cores, *(share for share in shares if share is not None)])))


def _share(text: str) -> float | None:
    """Cores of a quota and a period, in microseconds; None without a quota: "max" or -1."""
    try:
        quota, period = map(int, text.split())
        return quota / period if quota > 0 else None
    except (ValueError, ZeroDivisionError):
        return None


def usable_memory_mb() -> int | None:
    """Return the memory in MB (10^6 bytes) that this process may use; None if it is unknown.

    It is the machine's memory, or less if the process's control group (of a container or a batch job) or `ulimit -v`
    has a limit.
    """
    try:
        limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, OSError, ValueError):
        return None
    values = [*_cgroup_values("memory", "memory.max"), *_cgroup_values("memory", "memory.limit_in_bytes")]
    limits += [int(value) for value in values if value.isdecimal()]
    memory, address_space = min(limits) // 10**6, address_space_mb()
    return memory if address_space is None else min(memory, address_space)


def address_space_mb() -> int | None:
    """Return the limit of `ulimit -v` in MB (10^6 bytes); None if there is no limit."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit // 10**6


def process_exists(number: int) -> bool:
    """Whether a process with this number is running on this machine."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _cgroup_values(controller: str, file: str) -> Iterator[str]:
    """Yield the content of a file of this process's control group and of those around it, where it is there.

    Version 2 has one tree of groups; version 1 has one for each controller. In a container the groups' paths may be
    those outside of it; then the root of the tree, which is the container's own group, is the one that is there.
    """
    with contextlib.suppress(OSError, ValueError):  # no control groups, or another list of them
        for line in CGROUP.read_text(encoding="utf-8").splitlines():
            _number, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            group = Path(path.lstrip("/"))
            for folder in (group, *group.parents):
                with contextlib.suppress(OSError):
                    yield (CGROUPS / controllers / folder / file).read_text(encoding="utf-8").strip()


def in_batch_job() -> bool:
    """Whether a batch system has started this process."""
    return any(variable in os.environ for variable in BATCH_JOB)


def visible_gpus() -> list[str]:
    """Return the NVIDIA GPUs that this process may use, as named in CUDA_VISIBLE_DEVICES; if it is not set, all UUIDs.

    Like CUDA, stop reading the variable at the first name that is not a GPU's: "", "-1", "NoDevFiles".
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return installed_gpus()
    return list(dict.fromkeys(itertools.takewhile(GPU_NAME.fullmatch, named.replace(" ", "").split(","))))


def installed_gpus() -> list[str]:
    """Return the UUIDs of the machine's NVIDIA GPUs, in the order of their numbers; empty without nvidia-smi."""
    return re.findall(r"^GPU \d+: .*\(UUID: (\S+)\)$", output_of("nvidia-smi", "-L") or "", re.MULTILINE)


def output_of(*command: str) -> str | None:
    """Return what a command prints; None if it is missing, fails or takes more than 30 seconds."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip()
