"""The machine that this process runs on, according to the standard library and nvidia-smi."""

import contextlib
import itertools
import os
import platform
import re
import shutil
import subprocess
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


def usable_cores() -> int:
    """Return how many CPU cores this process may use; a container or a batch system may allow only some of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_memory_mb() -> int | None:
    """Return the memory in MB (10^6 bytes) that this process may use; None if it is unknown.

    It is the machine's memory, or less if the process's control group (of a container or a batch job) has a limit.
    """
    try:
        limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, OSError, ValueError):
        return None
    with contextlib.suppress(OSError, IndexError):  # no control groups of version 2
        group = Path(CGROUP.read_text(encoding="utf-8").strip().rsplit("::", 1)[1])
        for folder in (group, *group.parents):
            with contextlib.suppress(OSError, ValueError):  # no limit at this level: no file, or "max"
                limits.append(int((CGROUPS / folder.relative_to("/") / "memory.max").read_text(encoding="utf-8")))
    return min(limits) // 10**6


def process_exists(number: int) -> bool:
    """Whether a process with this number is running on this machine."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


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
