"""What a job computes on: device, precision, threads, memory allocator; chosen by rule, recorded in timing.json."""

import ctypes
import os
import platform
import resource
import sys
from dataclasses import dataclass
from importlib import metadata

import torch
from torch import nn

from deepnets.errors import UserError
from deepnets.machine import cpu_name, usable_cores


@dataclass(frozen=True)
class Hardware:
    """What a job computes on.

    device: "cpu" or "cuda". precision: "fp32", or "bf16" for autocast with float32 weights. threads: CPU threads.
    deterministic: whether torch refuses algorithms that differ between two runs.
    """

    device: torch.device
    precision: str
    threads: int
    deterministic: bool

    def autocast(self) -> torch.autocast:
        """The context in which a forward pass runs; it does nothing in fp32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def synchronize(self) -> None:
        """Wait until the device has finished, so that a clock read means something."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def peak_memory_mb(self) -> float:
        """Peak memory in MB: of the process on the CPU (resident), of torch's allocator on a GPU."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 1e6
        unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes on macOS, KiB on Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6

    def describe(self) -> dict:
        """What timing.json says of it."""
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
            },
        }


def set_up(model: nn.Module, device: str, precision: str, threads: int) -> Hardware:
    """Choose and switch on what `model` computes on. Call before the first step.

    Args:
        model: decides the precision where it is left to the rule; see `fastest_precision`.
        device: "auto" (a GPU where torch sees one), "cpu" or "cuda".
        precision: "auto", "fp32" or "bf16".
        threads: CPU threads; cut to the cores that this process may use.

    Raises:
        UserError: a GPU is asked for where there is none.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no GPU here; use --device cpu, or install a CUDA build of torch.")
    threads = min(threads, usable_cores())
    torch.set_num_threads(threads)
    # Bitwise repeatable on the CPU at no cost; on a GPU it costs speed, so there it is asked for.
    deterministic = device == "cpu" or os.environ.get("DEEPNETS_DETERMINISTIC") == "1"
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    # Filling every new tensor with NaN is the default of deterministic mode, a debugging aid that costs a pass.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = not deterministic
    chosen = torch.device(device)
    if precision == "auto":
        precision = fastest_precision(model, chosen)
    return Hardware(chosen, precision, threads, deterministic)


def fastest_precision(model: nn.Module, device: torch.device) -> str:
    """bf16 where the device multiplies it natively, except for depthwise convolutions on a CPU.

    oneDNN has fast bf16 kernels for dense convolutions only (AVX512-BF16 or AMX): on two such cores, a step of 64
    MNIST images took VGG-16 8.5 ms an image in bf16 and 13.5 in fp32, MobileNetV2 about twice fp32's 1.3.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    depthwise = any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in model.modules())
    return "bf16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() and not depthwise else "fp32"


def keep_freed_memory() -> None:
    """Tell glibc's malloc to keep what is freed instead of handing it back to the kernel after every step.

    Activations are large blocks, freed and asked for again each step; by default each comes back as fresh pages, one
    page fault per 4 KiB. Does nothing where the C library is not glibc.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD, M_MMAP_MAX of malloc.h
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
