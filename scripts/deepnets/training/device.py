"""The device, precision, threads and memory allocator of a job: chosen by rule, recorded in timing.json."""

import ctypes
import os
import platform
import resource
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import cast

import torch
from torch import nn

from deepnets.training.layers import use_float32_where_bfloat16_fails
from deepnets.utils.machine import cpu_name, usable_cores


@dataclass(frozen=True)
class Device:
    """The device that a job computes on.

    device: "cpu" or "cuda". precision: "fp32", or "bf16" for autocast with float32 weights. threads: CPU threads.
    deterministic: whether torch refuses algorithms whose results differ between two runs.
    """

    device: torch.device
    precision: str
    threads: int
    deterministic: bool

    def autocast(self) -> torch.autocast:
        """The context for a forward pass; it does nothing in fp32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def compile(self, model: nn.Module) -> nn.Module:
        """The network as torch.compile makes it."""
        torch.use_deterministic_algorithms(self.deterministic)  # now it has to know, see `configure_device`
        return cast(nn.Module, torch.compile(model))

    def synchronize(self) -> None:
        """Wait until the device has finished its work; call it before you read a clock."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def peak_memory_mb(self) -> float:
        """Peak memory in MB: the process's resident memory on the CPU, that of torch's allocator on a GPU."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 1e6
        unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes on macOS, KiB on Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6

    def describe(self) -> dict:
        """The entries of timing.json about the device."""
        cuda = self.device.type == "cuda"
        return {
            "device": self.device.type,
            "device_name": torch.cuda.get_device_name(self.device) if cuda else cpu_name(),
            "precision": self.precision,
            "threads": self.threads,
            "deterministic": self.deterministic,
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "torchvision": metadata.version("torchvision"),
                **({"timm": metadata.version("timm")} if "timm" in sys.modules else {}),  # the network is timm's
            },
        }


def configure_device(model: nn.Module, device: str, precision: str, threads: int) -> Device:
    """Choose the device, precision and threads for `model`, and set torch to them. Call before the first step.

    Args:
        model: some of its convolutions are changed to avoid bfloat16 where that is slow or wrong on a CPU.
        device: "auto" (a GPU where torch sees one) or "cpu".
        precision: "fp32", "bf16", or "auto": bf16 where the device multiplies it natively.
        threads: CPU threads; at most the cores that this process may use.
    """
    chosen, precision = choose_device(model, device, precision)
    threads = min(threads, usable_cores())
    torch.set_num_threads(threads)
    # Bitwise repeatable on the CPU at no cost; on a GPU it costs speed, so the user must ask for it.
    deterministic = chosen.type == "cpu" or os.environ.get("DEEPNETS_DETERMINISTIC") == "1"
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Not `use_deterministic_algorithms`: it also tells the compiler, and loads it for that, which takes 2 s.
    torch.set_deterministic_debug_mode("error" if deterministic else "default")
    # By default, deterministic mode fills every new tensor with NaN: a debugging aid that costs a pass over memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # missing in the stubs
    torch.backends.cudnn.benchmark = not deterministic
    return Device(chosen, precision, threads, deterministic)


def choose_device(model: nn.Module, device: str, precision: str) -> tuple[torch.device, str]:
    """Choose the device and the precision, "fp32" or "bf16", for `model`; arguments as of `configure_device`.

    Torch's own settings stay as they are, as in the process of somebody else.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = torch.device(device)
    if precision == "auto":
        precision = "bf16" if multiplies_bfloat16(chosen) else "fp32"
    if precision == "bf16" and device == "cpu":
        use_float32_where_bfloat16_fails(model)
    return chosen, precision


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16: Ampere and later; AVX512-BF16 or AMX on an x86 CPU.

    oneDNN's own answer is not used: it accepts any AVX-512 and then emulates bfloat16. ARM was not measured: fp32.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    instructions = torch.cpu.get_capabilities()
    native = instructions.get("avx512_bf16") or instructions.get("amx_bf16")
    return bool(native) and torch.backends.mkldnn.is_available()  # without oneDNN, nothing uses them


def disable_malloc_trim() -> bool:
    """Let glibc's malloc keep freed memory instead of returning it to the kernel after every step.

    Activations are large blocks that every step allocates and frees; by default each allocation gets fresh pages, one
    page fault per 4 KiB. Returns True if malloc accepted the setting; False if the C library is not glibc.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD, M_MMAP_MAX of malloc.h
    accepted = [mallopt(mmap_max, 0), mallopt(trim_threshold, -1)]  # never trim; mallopt returns 1 if it accepts
    return all(accepted)
