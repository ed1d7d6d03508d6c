"""workflow/schemas/config.schema.json: up to date, complete, and in agreement with the checks of config.yaml."""

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from deepnets import models
from deepnets.config.loader import load_config
from deepnets.config.schema import json_schema
from deepnets.config.yaml_reader import merge, read
from deepnets.data import sources as datasets
from deepnets.models._named import PATTERNS
from deepnets.utils.errors import UserError

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.json"
COMMAND = "run: python scripts/schema.py"

# Keywords of JSON Schema 2020-12, and OpenAPI's discriminator; validators ignore any other.
KEYWORDS = {
    *("$defs", "$ref", "$schema", "$comment", "title", "description", "default", "discriminator"),
    *("type", "const", "enum", "anyOf", "oneOf", "pattern", "minLength", "maxLength"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("items", "minItems", "maxItems", "properties", "required", "additionalProperties", "patternProperties"),
    "minProperties",
}


def nodes(node: dict, path: str = "config") -> Iterator[tuple[str, dict]]:
    """Every schema inside a schema, with the path to it."""
    yield path, node
    for table in ("$defs", "properties", "patternProperties"):
        for key, child in node.get(table, {}).items():
            yield from nodes(child, f"{path}.{key}")
    for key in ("anyOf", "oneOf"):
        for child in node.get(key, []):
            yield from nodes(child, path)
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from nodes(node[key], f"{path}[]")


def errors(document: dict) -> list[str]:
    return [error.message for error in Draft202012Validator(json_schema()).iter_errors(document)]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("schema_script", ROOT / "scripts" / "schema.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_schema_file_is_up_to_date():
    assert json.loads(SCHEMA.read_text()) == json_schema(), COMMAND


def test_the_script_writes_what_it_then_finds_up_to_date(script, tmp_path):
    script.main(["--root", str(tmp_path)])
    script.main(["--check", "--root", str(tmp_path)])
    assert json.loads((tmp_path / script.SCHEMA).read_text()) == json_schema()
    assert (tmp_path / script.PAGE).read_text() == (ROOT / script.PAGE).read_text()


@pytest.mark.parametrize("content", [None, "{}\n"])
@pytest.mark.parametrize("name", ["SCHEMA", "PAGE"])
def test_check_refuses_an_outdated_file_with_the_command_that_updates_it(script, tmp_path, name, content):
    script.main(["--root", str(tmp_path)])
    path = tmp_path / getattr(script, name)
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(SystemExit, match=f"{path.name}: .*{COMMAND}") as ended:
        script.main(["--check", "--root", str(tmp_path)])
    assert isinstance(ended.value.code, str)  # Python prints it and exits with 1
    assert path.exists() == (content is not None)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_schema_adds_a_custom_architecture(checkout, tmp_path):
    folder = checkout(tmp_path / "clone")
    (folder / ".venv").symlink_to(sys.prefix)
    shutil.copy(ROOT / "tests/study/small_cnn.py", folder / "scripts/deepnets/models/my_net.py")
    subprocess.run(["make", "--assume-old", ".venv/.installed", "schema"], cwd=folder, check=True)
    assert "my_net_model" in json.loads((folder / "workflow/schemas/config.schema.json").read_text())["$defs"]
    assert "Of `architecture: my_net`:" in (folder / "docs/configuration.md").read_text()


def test_the_schema_is_a_draft_2020_12_schema_with_no_other_keywords():
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)
    for path, node in nodes(schema):
        assert set(node) <= KEYWORDS, path


def test_every_key_of_the_configuration_says_what_it_does():
    for path, node in nodes(json_schema()):
        for key, child in node.get("properties", {}).items():
            assert child.get("description") or "const" in child, f"{path}.{key} has no description"


# Options of networks that are elsewhere: the workflow checks them by the network's own source text.
OPEN = {f"config.{name}" for name in ("torchvision_model", "timm_model", "own_model", "LibraryOptions", "OwnOptions")}


def test_no_table_lets_an_unknown_key_pass():
    for path, node in nodes(json_schema()):
        if node.get("type") == "object":
            is_open = path.endswith(".on") or path in OPEN
            assert node.get("additionalProperties") is False or is_open, path


def test_every_architecture_and_source_is_in_the_schema():
    properties = json_schema()["properties"]
    [any_model], [any_dataset] = (properties[key]["patternProperties"].values() for key in ("models", "datasets"))
    assert sorted(any_model["discriminator"]["mapping"]) == sorted([*models.available(), *PATTERNS])
    assert sorted(any_dataset["discriminator"]["mapping"]) == datasets.available()


def test_config_yaml_agrees_with_the_schema():
    assert errors(read(ROOT / "config.yaml").content) == []


def test_networks_by_name_agree_with_the_schema():
    new = {
        "a": {"architecture": "torchvision/resnet18", "stem": "small", "zero_init_residual": True},
        "b": {"architecture": "timm/convnext_atto", "drop_rate": 0.1, "on": {"digits": {"resize": 32}}},
        "c": {"architecture": "nets/my_models.py:SmallNet", "widths": [8, 16]},
    }
    assert errors(merge(read(ROOT / "config.yaml").content, {"models": new})) == []


def test_datasets_without_a_source_agree_with_the_schema():
    new = {"a": {"path": "my_pictures"}, "b": {"path": "labels.csv", "label": "diagnosis"}}
    assert errors(merge(read(ROOT / "config.yaml").content, {"datasets": new})) == []


REFUSED = {
    "modles": {},
    "recipes": None,
    "recipes/quick/epohs": 3,
    "recipes/quick/epochs": 0,
    "recipes/quick/lr": "fast",
    "recipes/quick/clip_norm": 0,
    "recipes/quick/weight_decay": -1,
    "recipes/quick/validation": 0.6,
    "recipes/quick/augment/random_erasing": 2,
    "recipes/a b": {},
    "models/resnet50/steam_pool": True,
    "models/resnet50/architecture": "resnet5",
    "models/mobilenet_v2/on/cifar10/stride": 1,
    "models/new": {"architecture": "timm/convnext_atto", "stem": "tiny"},
    "models/newer": {"architecture": "timm/", "stem": "small"},
    "models/newest": {"architecture": "my_models.py"},
    "datasets/mnist/name": "EMNIST",
    "datasets/new": {"source": "torchvision"},
    "datasets/newer": {"path": "pictures", "labels": "diagnosis"},
    "studies/demo": [],
    "recipes/quick/on/vgg16/epohs": 3,
    "recipes/quick/on/vgg16/augment": {"mixup": -1},
    "studies/gridded": [{"datasets": ["digits"], "models": ["resnet50"], "recipe": "quick", "grid": {"lr": 0.1}}],
    "studies/listed": [
        {"datasets": ["digits"], "models": ["resnet50"], "recipe": "quick", "grid": {"augment": [{"mixup": -1}]}}
    ],
    "studies/nested": [
        {"datasets": ["digits"], "models": ["resnet50"], "recipe": "quick", "grid": {"augment": {"mixup": [-1]}}}
    ],
    "studies/new": [{"datasets": ["digits"], "models": ["resnet50"], "recipe": "quick", "set": {"epohs": 3}}],
}


@pytest.mark.parametrize("path", REFUSED)
def test_schema_and_workflow_refuse_the_same(path):
    change = REFUSED[path]
    for key in reversed(path.split("/")):
        change = {key: change}
    assert errors(merge(read(ROOT / "config.yaml").content, change))
    with pytest.raises(UserError):
        load_config(ROOT / "config.yaml", change)
