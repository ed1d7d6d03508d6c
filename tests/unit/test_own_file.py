"""A network in a file of the user's, next to config.yaml: built, checked, and tracked as code."""

import json
import shutil
import sys

import pytest
import torch
from config_files import ROOT, load

from deepnets import models
from deepnets.evaluation.network_summary import summarize
from deepnets.planning.code_digest import own_digests
from deepnets.planning.job_files import check_code
from deepnets.planning.jobs import Jobs
from deepnets.utils.errors import UserError

NET = """
import blocks
from torch import nn

class SmallNet(nn.Module):
    def __init__(self, num_classes, in_channels, width=4):
        super().__init__()
        self.body = blocks.body(in_channels, width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, images):
        return self.head(self.body(images))

def nothing(num_classes, in_channels): ...
"""
BLOCKS = """
import layers.pool
from torch import nn
from deepnets.models import _resize

def body(in_channels, width):
    return nn.Sequential(nn.Conv2d(in_channels, width, 3, padding=1), nn.ReLU(), layers.pool.Pool())
"""
POOL = """
from torch import nn
from .base import Base

class Pool(Base):
    def forward(self, maps):
        return maps.mean((2, 3))
"""
FILES = {
    "nets/net.py": NET,
    "nets/blocks.py": BLOCKS,
    "nets/layers/__init__.py": "",
    "nets/layers/pool.py": POOL,
    "nets/layers/base.py": "from torch.nn import Module as Base\n",
    "nets/other.py": "NOT_IMPORTED = True\n",
}
SPEC = {"architecture": "nets/net.py:SmallNet"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with nets/net.py and what it imports from that folder."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(models, "own_folders", set())
    yield tmp_path
    for name in ("own_network_net", "blocks", "layers", "layers.pool", "layers.base"):
        sys.modules.pop(name, None)


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_callable_gets_the_numbers_of_classes_and_channels_and_its_options(folder):
    network = models.build(SPEC | {"width": 6}, 3, 1)
    assert (network.body[0].in_channels, network.head.in_features, network.head.out_features) == (1, 6, 3)
    assert network(torch.rand(2, 1, 8, 8)).shape == (2, 3)
    counted, _ = summarize(SPEC, (1, 8, 8), 3)
    assert counted["parameters"] == 4 * 10 + 5 * 3


def test_images_can_be_enlarged_inside_it(folder):
    seen = []
    network = models.build(SPEC | {"resize": 20}, 3, 1)
    network.body.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0].shape[-1]))
    network(torch.rand(2, 1, 8, 8))
    assert seen == [20]


@pytest.mark.parametrize(
    ("pooled", "smallest"),
    [
        ("nn.functional.max_pool2d(maps, 20).mean((2, 3))", 20),
        ("maps.view(len(maps), 4, 64 * 64).mean(2)", 64),  # it takes images of this size alone
    ],
)
def test_images_that_are_too_small_for_it_are_refused_with_the_smallest_size(folder, pooled, smallest):
    edit(folder / "nets/layers/pool.py", "maps.mean((2, 3))", pooled)
    with pytest.raises(UserError) as refusal:
        summarize(SPEC, (1, 8, 8), 3)
    assert str(refusal.value) == (
        "nets/net.py:SmallNet: images of 8x8 pixels are too small for it, the smallest that it takes are"
        f" {smallest}x{smallest}; give the model in config.yaml resize: {smallest} (images are enlarged inside the"
        " network)"
    )
    summarize(SPEC | {"resize": smallest}, (1, 8, 8), 3)


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("net.py", "nn.Linear(width", "nn.Liner(width", r"/nets/net\.py:9: AttributeError: .*Liner"),
        ("net.py", "self.body(images)", "self.bdy(images)", r"/nets/net\.py:12: AttributeError: .*bdy"),
        ("net.py", "import blocks", "import block", r"/nets/net\.py:2: ModuleNotFoundError: No module named 'block'"),
        ("blocks.py", "nn.ReLU", "nn.Relu", r"/nets/blocks\.py:7: AttributeError: .*Relu"),
        ("net.py", "return self.head", "return images, self.head", r"/nets/net\.py: the network returns a tuple"),
    ],
)
def test_mistake_in_it_is_one_line_with_file_and_line(folder, file, old, new, said):
    edit(folder / "nets" / file, old, new)
    with pytest.raises(UserError, match=rf"^\S+{said}") as refusal:
        summarize(SPEC, (1, 8, 8), 3)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        (
            "SmallNet",
            {"depth": 3},
            r"net\.py: SmallNet cannot be called with num_classes, in_channels, depth \(.*'depth'",
        ),
        ("nothing", {}, r"net\.py: build returned None, not a torch.nn.Module"),
        ("Gone", {}, r"net\.py: has no class or function Gone; correct architecture in config.yaml"),
    ],
)
def test_callable_that_does_not_fit_is_one_line(folder, name, options, said):
    with pytest.raises(UserError, match=said):
        summarize({"architecture": f"nets/net.py:{name}", **options}, (1, 8, 8), 3)


# Code


def digests_of(folder):
    return own_digests("nets/net.py", folder, ROOT)


def test_its_file_and_those_of_its_folder_that_it_imports_count_as_code(folder):
    found = digests_of(folder)
    own = {name for name in found if not name.startswith("scripts/")}
    assert own == FILES.keys() - {"nets/other.py"}
    assert "scripts/deepnets/models/_resize.py" in found


@pytest.mark.parametrize("file", ["net.py", "blocks.py", "layers/pool.py"])
def test_a_change_of_its_code_changes_the_digest_and_a_comment_does_not(folder, file):
    before = digests_of(folder)
    with open(folder / "nets" / file, "a") as text:
        text.write("# a comment\n")
    assert digests_of(folder) == before
    with open(folder / "nets" / file, "a") as text:
        text.write("NEW = True\n")
    after = digests_of(folder)
    assert {name for name in after if after[name] != before[name]} == {f"nets/{file}"}


def jobs_of(folder):
    config = load(folder, {"models/mine": SPEC, "studies/demo/0/models": ["resnet50", "mine"]})
    return Jobs(config, ROOT, folder)


NAMES = {"dataset": "digits", "model": "mine", "recipe": "quick", "seed": "0"}


@pytest.mark.parametrize("stage", ["summarize", "train", "evaluate"])
def test_it_is_part_of_what_its_jobs_depend_on_and_of_no_others(folder, stage):
    wildcards = {key: NAMES[key] for key in (("dataset", "model") if stage == "summarize" else NAMES)}
    mine = json.loads(jobs_of(folder).fingerprint(stage, wildcards))["code"]
    other = json.loads(jobs_of(folder).fingerprint(stage, wildcards | {"model": "resnet50"}))["code"]
    assert {"nets/net.py", "nets/blocks.py", "scripts/deepnets/models/_own_file.py"} <= mine.keys()
    assert not [name for name in other if name.startswith("nets/") or "_own_file" in name or "_library" in name]


def test_job_stops_where_it_was_edited_after_it_was_planned(folder):
    code = json.loads(jobs_of(folder).fingerprint("train", NAMES))["code"]
    check_code({"code": code})
    sys.meta_path.pop(0)
    edit(folder / "nets/blocks.py", "padding=1", "padding=2")
    with pytest.raises(UserError, match=r"^nets/blocks\.py: edited since this job was planned; start Snakemake again$"):
        check_code({"code": code})


def test_file_that_is_gone_is_named(folder):
    jobs = jobs_of(folder)
    shutil.rmtree(folder / "nets")
    with pytest.raises(UserError, match=r"^no file nets/net\.py in "):
        jobs.fingerprint("train", NAMES)
