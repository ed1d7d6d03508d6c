"""docs/configuration.md: up to date, with every key of config.yaml, its default, its unit and what it does."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel, Tag

from deepnets.config.schema import Config, schema_with_units
from deepnets.config.search import Range
from deepnets.reporting.configuration_page import KEYS, Row, configuration_page

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
SECTIONS = [key for key, field in Config.model_fields.items() if get_origin(field.annotation) is dict]
# Numbers that have no unit: rates, factors, counts of things that the key itself names, and seeds.
PURE_NUMBERS = {
    *("lr", "sgd_lr", "classifier_lr", "layer_decay", "momentum", "muon_momentum", "weight_decay", "clip_norm"),
    *("accumulation", "augment.mixup", "augment.cutmix", "classes", "folds", "split_seed", "seeds", "seed"),
    *("trials", "parallel"),
}


def sections() -> dict[str, dict[str, list[Row]]]:
    """The tables of the page by section and by the line above them, or by nothing."""
    found: dict[str, dict[str, list[Row]]] = {}
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        tables = re.findall(r"(?:^(Of .*):\n\n)?^\| key \|.*\n\| --- .*\n((?:\|.*\n)+)", text, re.MULTILINE)
        found[title] = {of: [Row(*line[2:-2].split(" | ")) for line in rows.splitlines()] for of, rows in tables}
    return found


def classes(annotation: Any, tag: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """The tables that a type of pydantic holds, each with the kind of entry that it is, if there are kinds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        kinds = get_args(annotation.model_fields["source"].annotation) if "source" in annotation.model_fields else ()
        yield next(iter(kinds), tag), annotation
    arguments = get_args(annotation)
    tag = next((each.tag for each in arguments if isinstance(each, Tag)), tag)
    for each in arguments:
        yield from classes(each, tag)


def defaults(model: type[BaseModel], prefix: str = "") -> dict[str, str]:
    """The keys of a table and of the tables in it, with their defaults as the page has them."""
    found = {}
    for key, field in model.model_fields.items():
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        default = default.model_dump(exclude_unset=True) if isinstance(default, BaseModel) else default
        text = default if isinstance(default, str) else json.dumps(default)
        found[f"`{prefix}{key}`"] = "required" if field.is_required() else f"`{text}`"
        for _, table in classes(field.annotation):
            if key == "values":  # the keys of a recipe, each with a list or a range
                found |= defaults(Range, f"{prefix}{key}.<option>.")
            elif key not in ("on", "set", "grid"):  # they have keys of a recipe, or of the network
                found |= defaults(table, f"{prefix}{key}.")
    return found


def test_the_page_is_up_to_date():
    template = (ROOT / "workflow/templates/configuration.md").read_text(encoding="utf-8")
    assert configuration_page(template, schema_with_units()) == PAGE, "run: python scripts/schema.py"


def test_every_key_at_the_top_is_on_the_page_with_its_default():
    rows = sections()["The top level"][""]
    required = {f"`{key}`": "required" for key, field in Config.model_fields.items() if field.is_required()}
    assert [row.key for row in rows] == [f"`{key}`" for key in Config.model_fields]
    assert {row.key: row.default for row in rows if row.default == "required"} == required
    assert {row.key: row.default for row in rows}["`equivalence_margin`"] == "`0.005`"


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_of_an_entry_is_there_once_with_the_default_of_its_model(section):
    tables = sections()[section]
    kinds = list(classes(Config.model_fields[section].annotation))
    assert kinds
    for kind, model in kinds:
        rows = [row for of, rows in tables.items() if not kind or "every" in of or f": {kind}`" in of for row in rows]
        keys = [row.key for row in rows if row.key != "`<option>`"]
        assert len(keys) == len(set(keys))
        choice = {"datasets": "`source`", "models": "`architecture`"}.get(section)
        expected = {key: default for key, default in defaults(model).items() if key != choice}
        assert {row.key: row.default for row in rows if row.key in keys and row.key != choice} == expected


def test_tables_of_recipe_options_say_what_each_option_has():
    kinds = {row.key: row.kind for section in ("studies", "searches") for row in sections()[section][""]}
    assert kinds["`set`"] == "table of [recipe options](#recipes)"
    assert kinds["`grid`"] == "table of [recipe options](#recipes), each a list"
    assert kinds["`values`"] == "table of [recipe options](#recipes), each a list or a range"
    assert "`values.<option>.log`" in kinds


def test_every_key_says_what_it_does():
    rows = [(section, row) for section, tables in sections().items() for rows in tables.values() for row in rows]
    assert len(rows) > 80
    for section, row in rows:
        assert row.effect.strip(), f"{section}: {row.key} has no description"


def test_every_number_has_a_unit_or_is_a_pure_number():
    for section, tables in sections().items():
        for row in (row for rows in tables.values() for row in rows):
            if "number, " in row.kind:
                pure = row.key.strip("`") in PURE_NUMBERS
                assert bool(row.unit) != pure, f"{section}: {row.key}: give its type measured_in(...), or list it here"


def test_what_is_written_in_a_description_is_shown_as_it_is():
    key = {"type": "string", "description": "a*b, <class> or `x|y`", "default": "no"}
    page = configuration_page(KEYS, {"properties": {"a": key}, "$defs": {}})
    assert "| `a` | text | `no` |  | a\\*b, &lt;class> or `x\\|y` |" in page
