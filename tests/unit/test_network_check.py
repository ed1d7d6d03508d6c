# ruff: noqa: E501 - a row is a change and its message
"""A user's network that cannot be trained, evaluated or saved is refused by the summary and before training."""

import json
import sys

import pytest
import torch
from own_networks import NETWORK, network
from tiny_experiment import JOB, SPEC, error_line, evaluate, finish, history, train

from deepnets import models
from deepnets.config.recipe import Recipe
from deepnets.evaluation.network_summary import summarize
from deepnets.models._check import check_network
from deepnets.training.trainer import Trainer
from deepnets.utils.errors import UserError
from deepnets.utils.tensors import load_tensors

SHAPE = (1, 8, 8)
MINE = {"architecture": "my_net"}
MY_JOB = JOB | {"spec": SPEC | {"model": MINE}}
HEAD = "self.head(maps)"

REFUSED = {
    # outputs
    "1,000 outputs": ([("num_classes)", "1000)")], r": the network returns 1,000 outputs for 3 classes; let its last"),
    "one output too few": ([("num_classes)", "num_classes - 1)")], ": the network returns 2 outputs for 3 classes; "),
    "a tuple": ([(HEAD, f"{HEAD}, maps")], r": the network returns a tuple for 2 images, not a tensor of logits \(2, 3\)"),
    "a dictionary": ([(HEAD, f"{{'logits': {HEAD}}}")], ": the network returns a dict for 2 images"),
    "nothing": ([("return self", "self")], ": the network returns None for 2 images"),
    "maps": ([(HEAD, f"{HEAD}[..., None]")], r": the network returns a tensor \(2, 3, 1\) for 2 images, not .*; flatten it"),
    "one image squeezed": ([(HEAD, f"{HEAD}.squeeze()")], r": the network returns a tensor \(3,\) for 1 image, not"),
    "the mean of the batch": ([(HEAD, f"{HEAD}.mean(0)")], r": the network returns a tensor \(3,\) for 2 images"),
    "numbers of classes": ([(HEAD, f"{HEAD}.round().long()")], ": the network returns int64, not logits"),
    "NaN": ([(HEAD, f"{HEAD} * torch.nan")], r": the network's outputs are not finite \(NaN or infinity\)"),
    "infinity": ([(HEAD, f"{HEAD} / 0")], ": the network's outputs are not finite"),
    "NaN in training": (
        [(HEAD, f"{HEAD} * (torch.nan if self.training else 1)")],
        ": the network's outputs are not finite",
    ),
    "noise": ([(HEAD, f"{HEAD} + torch.rand(1)")], ": the network gives the same images other outputs each time"),
    "dropout that is always on": (
        [(HEAD, "nn.functional.dropout(self.head(maps))")],
        ": the network gives the same images other outputs each time, in evaluation; let what is random depend",
    ),
    # weights
    "no module": ([("return Network()", "return Network")], ": build returned a type, not a torch.nn.Module"),
    "no return": ([("return Network()", "Network()")], ": build returned None, not a torch.nn.Module"),
    "a lazy layer": ([("nn.Linear(6, ", "nn.LazyLinear(")], r": head.weight has no shape yet \(a lazy layer\)"),
    "float64": ([("Network()", "Network().double()")], r": body.1.weight is float64; return network.float\(\)"),
    "bfloat16": ([("Network()", "Network().bfloat16()")], ": body.1.weight is bfloat16; return network.float"),
    "all frozen": ([("Network()", "Network().requires_grad_(False)")], ": the network has no weights that can be trained"),
    "no weights": ([("return Network()", "return nn.Flatten()")], ": the network has no weights that can be trained"),
    "no gradient": ([("maps = self.body(images)", "return self(images.detach()) if 0 else torch.zeros(len(images), 3)")],
        ": no gradient of the loss reaches the weights"),
    "a gradient of NaN": (
        [(HEAD, f"{HEAD} + (maps - maps).norm(dim=1, keepdim=True).sqrt()")],
        r": the gradient of body.1.weight is not finite",
    ),
    "weights of infinity": (
        [("return Network()", "return nn.init.constant_((it := Network()).head.bias, torch.inf) is None or it")],
        r": head.bias has values that are not finite \(NaN or infinity\); initialise it in build",
    ),
    "a state of other things": (
        [("def forward", "def get_extra_state(self): return {}\n        def forward")],
        ": _extra_state of its state is a dict and cannot be saved; keep tensors only",
    ),
    "weights without values": ([("nn.Linear(6, num_classes", "nn.Linear(6, num_classes, device='meta'")], ": head.weight has no values"),
    "a sparse buffer": (
        [("self.head = ", "self.register_buffer('mask', torch.eye(3).to_sparse()); self.head = ")],
        r": mask is a tensor that cannot be saved \(sparse_coo float32\)",
    ),
    # failures
    "a typo in build": ([("nn.Linear(6,", "nn.Liner(6,")], r":11: AttributeError: .*Liner.*; correct build\(num_classes, "),
    "an import in build": ([("import torch\n", "import no_such_package\n")], ":5: ModuleNotFoundError: No module named 'no"),
    "an exit in build": ([("return Network()", "raise SystemExit(3)")], ":15: SystemExit: 3; correct build"),
    "other arguments": ([("in_channels, options", "channels")], r": TypeError: build\(\) takes 2 positional arguments but 3"),
    "a typo in forward": ([(HEAD, "self.haed(maps)")], ":14: AttributeError: 'Network' object has no attribute 'haed'"),
    "another image size": (
        [("64 * in_channels", "100")],
        r":13: RuntimeError: .*2x64 and 100x6\) \(in evaluation, on 2 images of 1 x 8 x 8\); correct it for such images",
    ),
    "another number of channels": ([("nn.Flatten()", "nn.Conv2d(3, 3, 1), nn.Flatten()")], r":13: RuntimeError: .*channels"),
    "a view of what is not contiguous": (
        [("nn.Flatten(), nn.Linear(64 * in_channels, 6)", "nn.Conv2d(in_channels, 4, 3, padding=1)"),
         ("self.body(images)", "self.body(images).view(len(images), -1)[:, :6]")],
        r":13: RuntimeError: view size is not compatible.* Use .reshape",
    ),
    "no forward": ([("def forward", "def forwards")], ": NotImplementedError: .*missing the required"),
    "a failure in training only": (
        [("maps = ", "if self.training: raise KeyError('labels')\n            maps = ")],
        r":13: KeyError: 'labels' \(in training, on 2 images of 1 x 8 x 8\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_a_network_that_cannot_be_trained_is_refused_with_its_file(own_module, changes, said):
    own_module(network(*changes))
    with pytest.raises(UserError, match=rf"^\S+/my_net\.py{said}") as refusal:
        summarize(MINE, SHAPE, num_classes=3)
    assert "\n" not in str(refusal.value)


def test_the_line_is_that_of_a_helper_if_the_mistake_is_there(own_module):
    own_module("def double(maps):\n    return maps.doubled()\n", "my_blocks")
    own_module(network(("import torch\n", "import torch; from deepnets.models import my_blocks\n"),
                       (HEAD, "my_blocks.double(self.head(maps))")))  # fmt: skip
    with pytest.raises(
        UserError, match=r"/my_blocks\.py:2: AttributeError: 'Tensor' object has no attribute 'doubled'"
    ):
        summarize(MINE, SHAPE, num_classes=3)


def test_a_sequence_of_layers_has_no_line_of_its_own_and_is_named_by_its_file(own_module):
    own_module(network(("return Network()", "return nn.Sequential(nn.Flatten(), nn.Linear(100, num_classes))")))
    with pytest.raises(UserError, match=r"/my_net\.py: RuntimeError: .*mat1 and mat2 shapes cannot be multiplied"):
        summarize(MINE, SHAPE, num_classes=3)


@pytest.mark.parametrize("name", ["1,000 outputs", "NaN", "a typo in build", "another image size", "a lazy layer"])
def test_training_refuses_it_too_before_the_first_step(own_module, data, tmp_path, caplog, monkeypatch, name):
    monkeypatch.setattr(Trainer, "_step", pytest.fail)
    changes, _said = REFUSED[name]
    own_module(network(*changes))
    assert "/my_net.py:" in error_line(caplog, train, data, tmp_path / "run", MY_JOB)


def test_batch_normalisation_of_a_single_image_is_refused_with_what_to_do(own_module):
    own_module(network(("nn.Flatten()", "nn.Flatten(), nn.BatchNorm1d(64)")))
    built = models.build(MINE, 3, 1)
    with pytest.raises(
        UserError, match=r"ValueError: Expected more than 1 value per channel when training.* on 1 image"
    ):
        check_network(built, "my_net", SHAPE, 3, smallest_batch=1)
    check_network(built, "my_net", SHAPE, 3)


def test_a_network_that_takes_one_size_is_refused_where_images_grow(own_module, data, tmp_path, caplog):
    own_module(NETWORK)
    recipe = Recipe(epochs=1, batch_size=16, progressive_resizing={"start": 0.5, "until": 0.5}).model_dump()
    line = error_line(caplog, train, data, tmp_path / "run", MY_JOB | {"spec": MY_JOB["spec"] | {"recipe": recipe}})
    assert "(in training, on 2 images of 1 x 4 x 4)" in line


def test_a_failure_in_the_middle_of_training_is_a_line_of_the_module(own_module, data, tmp_path, caplog):
    steps = "self.steps = getattr(self, 'steps', 0) + 1\n            assert self.steps < 6, 'six'\n            maps = "
    own_module(network(("maps = ", steps)))
    line = error_line(caplog, train, data, tmp_path / "run", MY_JOB)
    assert line.endswith("my_net.py:14: AssertionError: six; correct this line or what leads to it")


# -- what is not refused -----------------------------------------------------------------------------------------------

GOOD = {
    "as it is": [],
    "tied weights": [("self.head = ", "self.other = nn.Linear(6, 6); self.other.weight = self.body[-1].weight; self.head = "),
                     ("64 * in_channels", "6"), ("nn.Flatten()", "nn.Flatten(), _First()"),
                     ("    class Network", "    class _First(nn.Module):\n        def forward(self, x): return x[:, :6]\n    class Network"),
                     (HEAD, "self.head(self.other(maps))")],
    "values in build": [("self.head = ", "self.rate = torch.linspace(0, 1, 3)[1].item(); self.head = ")],
    "a buffer that is not saved": [("self.head = ", "self.register_buffer('two', torch.tensor(2.0), persistent=False)\n"
                                    "            self.head = "), (HEAD, "self.head(maps) * self.two")],
    "a tensor that is no buffer": [("self.head = ", "self.two = torch.full((1, 6), 2.0); self.head = "),
                                   (HEAD, "self.head(maps * self.two)")],
    "an old weight norm": [("self.head = nn.Linear(6, num_classes)",
                            "self.head = torch.nn.utils.weight_norm(nn.Linear(6, num_classes))")],
    "some weights frozen": [("return Network()", "net = Network(); net.body.requires_grad_(False); return net")],
    "weights that are not used": [("self.head = ", "self.spare = nn.Linear(2, 2); self.head = ")],
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*weight_norm")
@pytest.mark.parametrize("changes", GOOD.values(), ids=GOOD.keys())
def test_a_sound_network_is_trained_saved_and_evaluated(own_module, data, tmp_path, changes):
    own_module(network(*changes))
    assert summarize(MINE, SHAPE, num_classes=3)[0]["parameters"] > 0
    folder = tmp_path / "run"
    train(data, folder, MY_JOB)
    evaluate(data, folder, MY_JOB)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["validation"]["loss"] == pytest.approx(float(history(folder)[-1]["val_loss"]), rel=1e-4)


OWN_TYPE = """    class Maps:
        def __init__(self, maps): self.maps = maps
    class Body(nn.Sequential):
        def forward(self, images): return Maps(super().forward(images))
    class Network(nn.Module):
"""


def test_network_that_torchinfo_cannot_summarise_is_refused_before_training(own_module):
    changes = ("    class Network(nn.Module):\n", OWN_TYPE), ("self.body = nn.Sequential", "self.body = Body")
    own_module(network(*changes, ("self.body(images)", "self.body(images).maps")))
    with pytest.raises(
        UserError, match=r"my_net\.py: torchinfo cannot summarise the network \(.*; let each layer take"
    ):
        summarize(MINE, SHAPE, num_classes=3)


def test_tied_weights_are_in_the_file_by_each_of_their_names(own_module, data, tmp_path):
    own_module(network(*GOOD["tied weights"]))
    train(data, tmp_path / "run", MY_JOB)
    weights, _metadata = load_tensors(tmp_path / "run/model.safetensors")
    assert torch.equal(weights["other.weight"], weights["body.2.weight"])


def test_weights_of_a_network_that_was_changed_since_are_refused(own_module, data, tmp_path, caplog):
    own_module(NETWORK)
    train(data, tmp_path / "run", MY_JOB)
    del sys.modules["deepnets.models.my_net"]
    own_module(network(("self.head", "self.last")))
    line = error_line(caplog, evaluate, data, tmp_path / "run", MY_JOB)
    assert "model.safetensors: these weights do not fit" in line
    assert "my_net.py as it is now (RuntimeError: Error(s) in loading state_dict for Network:)" in line


# -- the check leaves no trace -----------------------------------------------------------------------------------------


def test_the_check_changes_neither_the_network_nor_the_random_state():
    torch.manual_seed(5)
    net = models.build({"architecture": "mobilenet_v2"}, 3, 1)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    check_network(net, "mobilenet_v2", SHAPE, 3)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.training
    assert all(parameter.grad is None for parameter in net.parameters())


def test_an_internal_error_in_training_stays_one(data, tmp_path, monkeypatch):
    def broken(*_arguments):
        raise KeyError("no fault of the network")

    monkeypatch.setattr(Trainer, "_step", broken)
    with pytest.raises(KeyError, match="no fault"):
        train(data, tmp_path)


def test_the_check_costs_the_tiny_experiment_no_byte(finished, data, tmp_path, monkeypatch):
    monkeypatch.setattr("deepnets.models._check.check_network", lambda *_arguments, **_options: None)
    folder = finish(data, tmp_path)
    assert (folder / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()
