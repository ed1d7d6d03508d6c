"""Write docs/configuration.md: every key of config.yaml with type, default, unit and effect, from its schema."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from deepnets.reporting.markdown import Markdown, table

KEYS = "{{ keys }}"  # in the template
HEADER = ("key", "type", "default", "unit", "effect")
# Pages that say more about a key, by its path.
MORE = {
    "equivalence_margin": "results.md#which-network-is-better",
    "datasets": "how-to/own-images.md",
    "models": "how-to/networks.md",
    "models.weights": "how-to/pretrained-weights.md",
    "recipes": "how-to/recipes.md",
    "recipes.optimizer": "how-to/recipes.md#the-optimizer",
    "recipes.class_weights": "how-to/recipes.md#imbalanced-classes",
    "recipes.test_time_augmentation": "how-to/recipes.md#mirror-averages",
    "recipes.on": "how-to/sweeps.md#values-of-one-dataset-network-or-pair",
    "studies": "how-to/run.md#the-studies-of-configyaml",
    "studies.grid": "how-to/sweeps.md",
    "searches": "how-to/search.md",
    "studies.latency": "results.md#latency",
    "studies.robustness": "results.md#robustness",
    "tensorboard": "how-to/watch-and-compare.md#tensorboard",
}
_OF_A_RECIPE = "RecipeValues"  # how the names of tables start that have a recipe's keys, as those of `set` and `grid`
# How they end, and what each key has in such a table instead of a value.
_INSTEAD_OF_VALUES = {"Grid": ", each a list", "Space": ", each a list or a range"}
_TYPES = {
    **{"string": "text", "boolean": "`true` or `false`", "null": "`null`", "object": "table", "array": "list"},
    **{"integer": "whole number", "number": "number"},
}
_BOUNDS = {
    **{"exclusiveMinimum": "above", "minimum": "at least"},
    **{"exclusiveMaximum": "below", "maximum": "at most"},
}


class Row(NamedTuple):
    """A key with what the page has of it, as Markdown."""

    key: str
    kind: str
    default: str
    unit: str
    effect: str


def configuration_page(template: str, schema: dict[str, Any]) -> str:
    """Return the page.

    Args:
        template: the text around the tables; KEYS is where they go.
        schema: the JSON schema of config.yaml, with the units of numbers.
    """
    page = _Page(schema)
    parts = ["## The top level", _table(page.rows(schema, ""))]
    for key, node in schema["properties"].items():
        if entry := _entry(node):
            parts += [f"## {key}", *page.tables(entry, f"{key}.")]
    return template.replace(KEYS, "\n\n".join(parts))


def _entry(node: dict[str, Any]) -> dict[str, Any] | None:
    """The schema of an entry of a section whose keys are names; of a list of entries, that of one. None: no section."""
    (entry,) = node.get("patternProperties", {"": None}).values()
    return entry.get("items", entry) if entry else None


class _Page:
    """Reads a schema; `path` is where a table is in config.yaml, without the names that users choose: "recipes."."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.definitions = schema["$defs"]

    def tables(self, entry: dict[str, Any], path: str) -> Iterator[str]:
        """Yield the tables of an entry's keys; of several kinds of entries, one for those that have the same keys."""
        if "discriminator" not in entry:
            yield _table(self.rows(entry, path))
            return
        choice, kinds = entry["discriminator"]["propertyName"], entry["discriminator"]["mapping"]
        kinds_of: dict[Row, list[str]] = {}
        for kind, reference in kinds.items():
            for row in self.rows({"$ref": reference}, path):
                if row.key != choice:
                    kinds_of.setdefault(row, []).append(kind)
        required = all(choice in self._resolved({"$ref": kind}).get("required", []) for kind in kinds.values())
        default = "required" if required else ""
        first = Row(choice, ", ".join(map(_code, kinds)), default, "", _effect(entry["description"], ""))
        tables = {tuple(kinds): [first]}
        for row, names in kinds_of.items():
            tables.setdefault(tuple(names), []).append(row)
        for some, rows in sorted(tables.items(), key=lambda each: -len(each[0])):
            of = ", ".join(_code(f"{choice}: {kind}") for kind in some)
            yield f"Of every `{choice}`:" if len(some) == len(kinds) else f"Of {of}:"
            yield _table(rows)

    def rows(self, node: dict[str, Any], path: str, prefix: str = "") -> Iterator[Row]:
        """Yield a row for each key of a table, and after it those of a table that it holds: `augment.mixup`."""
        node = self._resolved(node)
        for key, value in node["properties"].items():
            default = "required" if key in node.get("required", []) else _code(_plain(value.get("default", {})))
            effect = _effect(value.get("description", ""), f"{path}{prefix}{key}")
            yield Row(f"{prefix}{key}", self._type(value), default, _unit(value), effect)
            for inner in (value, *value.get("anyOf", [])):
                if _of_a_recipe(inner):
                    for each in self._of_an_option(inner):
                        yield from self.rows(each, path, f"{prefix}{key}.<option>.")
                elif "properties" in self._resolved(inner):
                    yield from self.rows(inner, path, f"{prefix}{key}.")
        if "description" in (others := node.get("additionalProperties") or {}):
            yield Row("<option>", self._type(others), "the network's own", "", _effect(others["description"], ""))

    def _of_an_option(self, node: dict[str, Any]) -> Iterable[dict[str, Any]]:
        """The tables that an option of a recipe may have where a table has its keys, such as a range; each once."""
        options = self._resolved(node)["properties"].values()
        choices = {_name(choice): choice for option in options for choice in option.get("oneOf", ())}
        return [choice for name, choice in choices.items() if name and not name.endswith(tuple(_INSTEAD_OF_VALUES))]

    def _resolved(self, node: dict[str, Any]) -> dict[str, Any]:
        return self.definitions[_name(node)] if "$ref" in node else node

    def _type(self, node: dict[str, Any]) -> str:
        if _of_a_recipe(node):
            each = next((words for end, words in _INSTEAD_OF_VALUES.items() if _name(node).endswith(end)), "")
            return f"table of [recipe options](#recipes){each}"
        node = self._resolved(node)
        if "anyOf" in node:
            return " or ".join(map(self._type, node["anyOf"]))
        if "const" in node or "enum" in node:
            return " or ".join(_code(_plain(value)) for value in node.get("enum", [node.get("const")]))
        if "items" in node:
            return f"list: {self._type(node['items'])}"
        kinds = node["type"] if isinstance(node["type"], list) else [node["type"]]
        bounds = [f"{word} {node[bound]:,}" for bound, word in _BOUNDS.items() if bound in node]
        return " or ".join(_TYPES[kind] for kind in kinds) + ("" if not bounds else f", {', '.join(bounds)}")


def _name(node: dict[str, Any]) -> str:
    return node.get("$ref", "").removeprefix("#/$defs/")


def _of_a_recipe(node: dict[str, Any]) -> bool:
    return _name(node).startswith(_OF_A_RECIPE)


def _unit(node: dict[str, Any]) -> str:
    """The unit of a number, also of one that may be null, or of those in a list; or nothing."""
    inner = [*node.get("anyOf", []), *([node["items"]] if "items" in node else [])]
    return node.get("unit") or next(filter(None, map(_unit, inner)), "")


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _code(text: str) -> str:
    return f"`{text}`"


def _effect(description: str, path: str) -> str:
    """A description as Markdown, with a link to the page that says more; what is in backticks is code already."""
    words = re.split("(`[^`]*`)", description)
    words[::2] = [re.sub(r"([*\\])", r"\\\1", word).replace("<", "&lt;") for word in words[::2]]
    return "".join(words).replace("|", "\\|") + (f" [More]({MORE[path]})." if path in MORE else "")


def _table(rows: Iterable[Row]) -> str:
    cells = [[Markdown(cell) for cell in (_code(row.key), *row[1:])] for row in rows]
    return table(HEADER, cells, numbers_from=len(HEADER))
