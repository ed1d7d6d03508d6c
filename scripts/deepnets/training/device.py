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

from deepnets.utils.machine import cpu_name, usable_cores


@dataclass(frozen=True)
class Device:
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


def configure_device(model: nn.Module, device: str, precision: str, threads: int) -> Device:
    """Choose and switch on what `model` computes on. Call before the first step.

    Args:
        model: its depthwise convolutions are told where to avoid bfloat16 on a CPU.
        device: "auto" (a GPU where torch sees one) or "cpu".
        precision: "fp32", "bf16", or "auto": bf16 where the device multiplies it natively.
        threads: CPU threads; cut to the cores that this process may use.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
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
        precision = "bf16" if _multiplies_bf16(chosen) else "fp32"
    if precision == "bf16" and device == "cpu":
        _spare_slow_kernels(model)
    return Device(chosen, precision, threads, deterministic)


def _multiplies_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16: Ampere and later; AVX512-BF16 or AMX on an x86 CPU.

    Not asked of oneDNN, which says yes to any AVX-512 and then emulates bfloat16. Of ARM nothing is known: fp32.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    instructions = torch.cpu.get_capabilities()
    native = instructions.get("avx512_bf16") or instructions.get("amx_bf16")
    return bool(native) and torch.backends.mkldnn.is_available()  # without oneDNN, nothing uses them


def _spare_slow_kernels(model: nn.Module) -> None:
    """Let a model's depthwise convolutions choose their own precision on a CPU; parameters and names stay."""
    for module in model.modules():
        if type(module) is nn.Conv2d and module.groups > 1:
            module.__class__ = _DepthwiseConv2d  # not a wrapped forward: a copy of the model would share its weights


class _DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution that computes in float32 where oneDNN's bfloat16 kernel is slow.

    Its backward pass is, for strides and for maps smaller than the kernel: on two cores, 64 images of 192 maps of
    32 px at stride 2 took 141 ms in bfloat16 and 9 ms in float32. Everywhere else bfloat16 is as fast or faster.
    """

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if max(self.stride) == 1 and min(images.shape[-2:]) >= max(self.kernel_size):
            return super().forward(images)
        with torch.autocast(images.device.type, enabled=False):
            return super().forward(images.float())


def disable_malloc_trim() -> bool:
    """Tell glibc's malloc to keep what is freed instead of handing it back to the kernel after every step.

    Activations are large blocks, freed and asked for again each step; by default each comes back as fresh pages, one
    page fault per 4 KiB. Returns whether it does so from now on; False where the C library is not glibc.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD, M_MMAP_MAX of malloc.h
    taken = [mallopt(mmap_max, 0), mallopt(trim_threshold, -1)]  # never trim; each returns 1 where it took the value
    return all(taken)
