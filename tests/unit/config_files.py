"""Configurations for the tests of config.yaml: a valid one, changes of it, and the lines of a refusal."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepnets.config.loader import load_config
from deepnets.config.schema import Config
from deepnets.utils.errors import UserError

ROOT = Path(__file__).parents[2]

VALID: dict[str, Any] = {
    "study": "demo",
    "datasets": {
        "digits": {"source": "sklearn_digits", "size": 28},
        "mnist": {"source": "torchvision", "name": "MNIST"},
        "photos": {"source": "folder", "path": "photos.zip", "classes": 5, "size": 32, "variant_of": "cifar10"},
    },
    "models": {
        "resnet50": {"architecture": "resnet50"},
        "mobilenet_v2": {"architecture": "mobilenet_v2", "on": {"cifar10": {"strides": [1, 1, 1, 2, 2]}}},
    },
    "recipes": {"quick": {"epochs": 2, "lr": 0.05}, "long": {"epochs": 20, "augment": {"rotation": 10, "cutout": 4}}},
    "studies": {
        "demo": [{"datasets": ["digits"], "models": ["resnet50", "mobilenet_v2"], "recipe": "quick", "seeds": [0, 1]}],
        "paper": [
            {"datasets": ["mnist"], "models": ["resnet50"], "recipe": "quick", "seeds": [0]},
            {"datasets": ["mnist"], "models": ["mobilenet_v2"], "recipe": "long", "seeds": [0], "set": {"epochs": 4}},
        ],
    },
}
DELETE = object()


def changed(changes: Mapping[str, Any]) -> dict:
    """VALID with the values at paths such as "studies/paper/0/seeds" replaced, added or deleted."""
    document = copy.deepcopy(VALID)
    for path, value in changes.items():
        *parents, last = [int(key) if key.isdigit() else key for key in path.split("/")]
        table: Any = document
        for key in parents:
            table = table[key]
        if value is DELETE:
            del table[last]
        elif isinstance(table, list) and last == len(table):
            table.append(value)
        else:
            table[last] = value
    return document


def with_stages(root: Path, study: str, *stages: str, entry: int = 0) -> dict[str, Any]:
    """Overrides of the project's config.yaml with which an entry of a study asks for optional stages."""
    entries = yaml.safe_load((root / "config.yaml").read_text(encoding="utf-8"))["studies"][study]
    entries[entry] = {**entries[entry], **dict.fromkeys(stages, True)}  # entries of several studies may be one object
    return {"studies": {study: entries}}


def write(tmp_path: Path, document: str | dict) -> Path:
    """Write config.yaml into a folder."""
    path = tmp_path / "config.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document, sort_keys=False))
    return path


def load(tmp_path: Path, changes: Mapping[str, Any] | None = None, overrides: Mapping | None = None) -> Config:
    """Load VALID with changes."""
    return load_config(write(tmp_path, changed(changes or {})), overrides)


def refused(tmp_path: Path, changes: Mapping[str, Any], overrides: Mapping | None = None) -> list[str]:
    """The lines with which VALID with changes is refused, without the folder of the test."""
    with pytest.raises(UserError) as refusal:
        load(tmp_path, changes, overrides)
    text = str(refusal.value)
    for jargon in ("Input should", "pydantic", "https://errors", "Traceback", "validation error"):
        assert jargon not in text
    return text.replace(f"{tmp_path}/", "").splitlines()
