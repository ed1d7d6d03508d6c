"""The keys that a dataset may have in config.yaml."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from deepnets.data import sources as datasets
from deepnets.utils.errors import UserError


def options(source: str, **keys) -> datasets.DatasetOptions:
    return datasets.source(source).Options(source=source, **keys)


def test_every_source_offers_what_the_stages_call():
    for name in datasets.available():
        module = datasets.source(name)
        assert issubclass(module.Options, datasets.DatasetOptions)
        assert callable(module.download)
        assert callable(module.read)


def test_options_are_checked_without_heavy_imports():
    heavy = "{'torch', 'torchvision', 'sklearn', 'scipy', 'PIL', 'requests', 'tqdm'}"
    sources = "from deepnets.data import sources as datasets; [datasets.source(name) for name in datasets.available()]"
    code = f"import sys; {sources}; assert not {heavy} & sys.modules.keys()"
    scripts = Path(datasets.__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(scripts)}, check=True)


def test_unknown_source_names_the_nearest():
    with pytest.raises(UserError, match="unknown source 'torchvison'; did you mean 'torchvision'"):
        datasets.source("torchvison")


@pytest.mark.parametrize(
    ("name", "shape", "classes", "flips"),
    [
        ("MNIST", (1, 28, 28), 10, False),
        ("FashionMNIST", (1, 28, 28), 10, True),
        ("KMNIST", (1, 28, 28), 10, False),
        ("CIFAR10", (3, 32, 32), 10, True),
        ("CIFAR100", (3, 32, 32), 100, True),
        ("SVHN", (3, 32, 32), 10, False),
    ],
)
def test_torchvision_datasets_have_their_own_shape_classes_and_flips(name, shape, classes, flips):
    dataset = options("torchvision", name=name)
    assert (dataset.input_shape, dataset.num_classes, dataset.flips) == (shape, classes, flips)


def test_size_channels_and_flips_can_be_chosen():
    dataset = options("sklearn_digits", size=32, channels=3, horizontal_flip=True)
    assert dataset.input_shape == (3, 32, 32)
    assert dataset.flips is True


def test_specs_resolve_defaults_and_build_on_each_other():
    dataset = options("torchvision", name="CIFAR10")
    assert dataset.raw_spec() == {"source": "torchvision", "name": "CIFAR10"}
    assert dataset.prepared_spec() == {**dataset.raw_spec(), "size": 32, "channels": 3}
    assert dataset.spec() == {**dataset.prepared_spec(), "horizontal_flip": True}


def test_spec_is_the_same_for_a_default_and_for_its_value():
    assert options("torchvision", name="MNIST").spec() == options("torchvision", name="MNIST", size=28).spec()


@pytest.mark.parametrize("mirror", ["http://example.org/data", "ftp://example.org", "file:///data"])
def test_mirror_that_is_not_secure_is_refused(mirror):
    with pytest.raises(ValidationError, match="must be a folder or an https:// address"):
        options("sklearn_digits", mirror=mirror)


@pytest.mark.parametrize("key", ["mirror", "variant_of", "note"])
def test_what_does_not_identify_the_data_is_not_in_the_spec(key):
    assert options("sklearn_digits", **{key: "text"}).spec() == options("sklearn_digits").spec()


def test_own_images_are_distinguished_from_those_that_can_be_downloaded():
    birds = {"path": "birds.zip", "classes": 3, "size": 64}
    assert options("folder", **birds, mirror="/media/stick").own_files == "birds.zip"
    assert options("folder", **birds, mirror="https://example.org", sha256="0" * 64).own_files is None
    packed = {**birds, "sha256": "0" * 64}
    assert options("folder", **{**packed, "path": "./packs/birds.zip"}).own_files == "packs/birds.zip"
    assert options("folder", **{**packed, "path": "packs/../../birds.zip"}).own_files == "../birds.zip"
    assert options("torchvision", name="MNIST").own_files is None


def test_size_of_a_folder_is_not_in_its_raw_spec():
    small, large = (options("folder", path="birds", classes=3, size=size) for size in (32, 64))
    assert small.raw_spec() == large.raw_spec() == {"source": "folder", "path": "birds"}
    assert small.prepared_spec() != large.prepared_spec()


def test_however_the_path_of_a_folder_is_written_the_spec_is_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    paths = ("birds", "./birds", "birds/", "photos/../birds", str(tmp_path / "birds"), "~/birds")
    specs = [options("folder", path=path, classes=3, size=8).spec() for path in paths]
    assert specs == [specs[0]] * len(paths)
    for other in ("../birds", "/birds", "birds/birds"):
        assert options("folder", path=other, classes=3, size=8).spec() != specs[0]


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        ("sklearn_digits", {}),
        ("torchvision", {"name": "SVHN", "channels": 1}),
        ("folder", {"path": "birds.zip", "classes": 3, "size": 64, "sha256": "0" * 64}),
    ],
)
def test_options_come_back_from_their_specs(source, keys):
    dataset = options(source, **keys)
    for spec in (dataset.prepared_spec(), dataset.spec()):
        assert datasets.parse_spec(json.loads(json.dumps(spec))).spec() == dataset.spec()


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        ("folder", {"path": "birds", "test": 0.6}),
        ("folder", {"path": "birds", "groups": "("}),
        ("folder", {"path": "birds", "classes": 1, "size": 32}),
        ("folder", {"path": "", "classes": 3, "size": 32}),
        ("folder", {"path": "birds", "classes": 3, "size": 32, "sha256": "abc"}),
        ("torchvision", {"name": "ImageNet"}),
        ("torchvision", {"name": "MNIST", "channels": 2}),
        ("sklearn_digits", {"size": 0}),
        ("sklearn_digits", {"horizontal_flip": "no"}),
    ],
)
def test_impossible_options_are_refused(source, keys):
    with pytest.raises(ValidationError):
        options(source, **keys)
