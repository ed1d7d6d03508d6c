"""The device and the precision of a job are chosen by rule, switched on, and reported."""

import copy
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from deepnets.training import device as device_module
from deepnets.training.device import Device, configure_device, disable_malloc_trim
from deepnets.utils.machine import usable_cores

CPU = torch.device("cpu")
DENSE = nn.Conv2d(4, 4, 3)


@pytest.fixture(autouse=True)
def torch_as_it_was():
    """Put torch's global switches back."""
    flags = torch.utils.deterministic.fill_uninitialized_memory, torch.backends.cudnn.benchmark
    deterministic, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    yield
    torch.utils.deterministic.fill_uninitialized_memory, torch.backends.cudnn.benchmark = flags
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(threads)


def test_auto_is_the_cpu_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert configure_device(DENSE, "auto", "fp32", 1) == Device(CPU, "fp32", 1, deterministic=True)


def test_cpu_is_deterministic_and_fills_no_memory_in_vain():
    configure_device(DENSE, "cpu", "fp32", 1)
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory


def test_threads_are_cut_to_the_cores_that_may_be_used(monkeypatch):
    monkeypatch.setattr(device_module, "usable_cores", lambda: 1)
    assert configure_device(DENSE, "cpu", "fp32", 64).threads == torch.get_num_threads() == 1


def test_usable_cores_are_those_of_this_process(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3, 5}, raising=False)
    assert usable_cores() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores() == os.cpu_count()


CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.skipif(not CPUINFO.exists(), reason="needs /proc/cpuinfo, to know the processor without asking torch")
def test_auto_is_bf16_exactly_where_the_processor_multiplies_it():
    instructions = set(re.search(r"^(?:flags|Features)\s*:(.*)", CPUINFO.read_text(), re.MULTILINE)[1].split())
    native = bool(instructions & {"avx512_bf16", "amx_bf16"})
    assert configure_device(DENSE, "cpu", "auto", 1).precision == ("bf16" if native else "fp32")


@pytest.mark.parametrize(
    ("instructions", "has_onednn", "precision"),
    [
        ({"avx512_f": True, "avx512_bf16": True, "amx_bf16": False}, True, "bf16"),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": True}, True, "bf16"),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, True, "fp32"),  # oneDNN would emulate it
        ({"avx512_f": True, "avx512_bf16": True, "amx_bf16": False}, False, "fp32"),
        ({"neon": True, "bf16": True, "sve_bf16": True}, True, "fp32"),
    ],
)
def test_cpu_takes_bf16_where_it_is_native(monkeypatch, instructions, has_onednn, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: has_onednn)
    assert configure_device(DENSE, "cpu", "auto", 1).precision == precision


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_recipes_precision_wins_over_the_rule(precision):
    assert configure_device(DENSE, "cpu", precision, 1).precision == precision  # one of them is not what the rule takes


@pytest.mark.parametrize(
    ("stride", "side", "dtype"), [(1, 8, torch.bfloat16), (2, 8, torch.float32), (1, 2, torch.float32)]
)
def test_depthwise_convolutions_with_slow_bf16_kernels_compute_in_float32(stride, side, dtype):
    model = nn.Sequential(nn.Conv2d(4, 4, 3, stride=stride, padding=1, groups=4))
    images, names = torch.rand(2, 4, side, side), list(model.state_dict())
    expected = model(images)
    with configure_device(model, "cpu", "bf16", 1).autocast():
        output = model(images)
    assert output.dtype == dtype
    torch.testing.assert_close(output.float(), expected, rtol=0.02, atol=0.02)
    assert list(model.state_dict()) == names
    with configure_device(model, "cpu", "bf16", 1).autocast(), torch.inference_mode():
        predicted = model(images)
    assert predicted.dtype == torch.bfloat16, "only the backward pass is slow"
    torch.testing.assert_close(predicted.float(), expected, rtol=0.02, atol=0.02)


class OtherConv2d(nn.Conv2d):
    """A convolution as those of timm that standardise their weights: with a forward pass of its own."""

    def forward(self, images):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(images, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


@pytest.mark.parametrize("kind", [nn.Conv2d, OtherConv2d])
@pytest.mark.parametrize(
    ("width", "stride", "groups", "dtype"),
    [
        (1, 2, 1, torch.float32),
        (1, 2, 4, torch.float32),
        (2, 3, 1, torch.float32),
        (2, (1, 3), 1, torch.float32),
        (2, (3, 2), 1, torch.bfloat16),
        (4, 2, 1, torch.bfloat16),
    ],
)
def test_gradient_of_a_stride_wider_than_the_images_has_nothing_of_unwritten_memory(kind, width, stride, groups, dtype):
    """Freed memory holds NaN here, which the bfloat16 kernel of torch 2.15 adds to the weights' gradient."""
    model = nn.Sequential(kind(16, 16, 3, stride=stride, padding=1, groups=groups))
    images = torch.rand(4, 16, 3, width)
    model(images).square().sum().backward()
    expected = model[0].weight.grad
    for _ in range(5):
        model.zero_grad()
        with configure_device(model, "cpu", "bf16", 1).autocast():
            output = model(images)
        assert output.dtype == dtype
        freed = [torch.full((2**exponent,), torch.nan) for exponent in range(6, 22)]
        del freed
        output.square().sum().backward()
        torch.testing.assert_close(model[0].weight.grad, expected, rtol=0.05, atol=0.05)
    with configure_device(model, "cpu", "bf16", 1).autocast(), torch.inference_mode():
        assert model(images).dtype == torch.bfloat16, "only that gradient is wrong"


def test_copy_of_a_model_with_depthwise_convolutions_has_weights_of_its_own():
    model = nn.Sequential(nn.Conv2d(4, 4, 3, stride=2, groups=4))
    device = configure_device(model, "cpu", "bf16", 1)
    twin = copy.deepcopy(model)
    nn.init.zeros_(model[0].weight)
    nn.init.zeros_(model[0].bias)
    with device.autocast():
        assert twin(torch.ones(1, 4, 5, 5)).abs().sum() > 0


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_forward_pass_runs_in_the_precision(precision, dtype):
    with Device(CPU, precision, 1, True).autocast():
        assert DENSE(torch.zeros(1, 4, 5, 5)).dtype == dtype
    assert DENSE.weight.dtype == torch.float32


def test_description_is_json_with_what_timing_json_promises():
    described = Device(CPU, "fp32", 2, True).describe()
    assert {"device", "device_name", "precision", "threads", "versions"} <= described.keys()
    assert (described["device"], described["threads"]) == ("cpu", 2)
    assert described["versions"]["torch"] == torch.__version__
    assert described["versions"].keys() >= {"python", "torch", "torchvision"}
    assert described["device_name"]
    assert json.loads(json.dumps(described)) == described


def test_peak_memory_counts_what_was_allocated():
    device = Device(CPU, "fp32", 1, True)
    device.synchronize()  # nothing to wait for on a CPU
    more = device.peak_memory_mb() + 200  # a peak never falls: enough that it must rise
    torch.ones(round(more * 1e6 / 4))
    assert more < device.peak_memory_mb() < 2 * more + 1000


FAULTS_OF_100_MB = """
import resource, torch
from deepnets.training.device import disable_malloc_trim

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(25_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

assert disable_malloc_trim()
print(min(faults() for _ in range(10)))  # the first rounds find no room
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_memory_is_kept_and_costs_no_page_faults(root):
    environment = os.environ | {"PYTHONPATH": str(root / "scripts")}  # a process of its own: this one's heap is in use
    faults = subprocess.run(
        [sys.executable, "-c", FAULTS_OF_100_MB], env=environment, capture_output=True, text=True, check=True
    )
    assert int(faults.stdout) < 1000  # 100 MB are 24,000 pages


def test_keeping_memory_is_left_alone_where_the_library_is_not_glibc(monkeypatch):
    def missing(_name):
        raise OSError("libc.so.6: cannot open shared object file")

    monkeypatch.setattr(device_module.ctypes, "CDLL", missing)
    assert not disable_malloc_trim()


def test_memory_is_not_reported_as_kept_if_glibc_refuses(monkeypatch):
    refusing = SimpleNamespace(mallopt=lambda option, value: 0)
    monkeypatch.setattr(device_module.ctypes, "CDLL", lambda name: refusing)
    assert not disable_malloc_trim()
