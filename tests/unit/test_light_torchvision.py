"""torchvision is imported, and Muon trains, without torch.compile, which is whole when something needs it."""

import subprocess
import sys

import pytest


def run(root, code: str) -> None:
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(root / "scripts")}, check=True)


@pytest.mark.parametrize("architecture", ["vgg16", "inception_v3", "resnet50", "mobilenet_v2", "torchvision/resnet18"])
def test_building_a_network_of_torchvision_loads_no_compiler(root, architecture):
    run(
        root,
        "import sys, torch; from deepnets import models; from deepnets.evaluation.network import _WithoutDraws\n"
        "with torch.device('meta'), _WithoutDraws():\n"
        f"    network = models.build({{'architecture': {architecture!r}}}, 10, 1, (32, 32))\n"
        "assert all(weight.is_meta for weight in network.parameters())\n"
        "sys.exit(bool({'torch._dynamo', 'torch._dynamo.utils', 'sympy'} & sys.modules.keys()))",
    )


def test_the_operator_that_needs_the_compiler_gets_it(root):
    run(
        root,
        "import sys; from deepnets.utils.light_torchvision import torchvision\n"
        "asked = sys.modules['torchvision.ops.roi_align'].is_compile_supported('cpu')\n"
        "import torch._dynamo\n"
        "assert asked == torch._dynamo.utils.is_compile_supported('cpu')\n"
        "assert torch._dynamo.utils.__file__",
    )


def test_what_another_version_of_torchvision_imports_is_the_compilers(root):
    run(
        root,
        "import sys; from deepnets.utils import light_torchvision\n"
        "with light_torchvision._compiler_loaded_on_use():\n"
        "    from torch._dynamo.utils import is_compile_supported, counters\n"
        "import torch._dynamo.utils as real\n"
        "assert counters is real.counters and real.__file__",
    )


def test_training_with_muon_loads_no_compiler(root):
    run(
        root,
        "import sys, torch; from torch import nn\n"
        "from deepnets.config.recipe import Recipe; from deepnets.training.optim import build_optimizer\n"
        "network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 3))\n"
        "optimizer = build_optimizer(network, Recipe(optimizer='muon'))\n"
        "before = network[1].weight.detach().clone()\n"
        "network(torch.randn(2, 1, 8, 8)).sum().backward()\n"
        "optimizer.step(); optimizer.zero_grad(set_to_none=True)\n"
        "assert network[1].weight.grad is None and not torch.equal(network[1].weight, before)\n"
        "sys.exit(bool({'torch._dynamo', 'sympy'} & sys.modules.keys()))",
    )
