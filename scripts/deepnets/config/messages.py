"""Explain what is wrong with a configuration: key path, rule, value and what to do, one line per problem."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from deepnets.models._named import in_libraries
from deepnets.utils.paths import OPTIONAL
from deepnets.utils.text import nearest, one_line

# The keys and indices that lead to a value: ("studies", "paper", 1, "seeds").
KeyPath = tuple[str | int, ...]

# Names become folders, so only simple ones are allowed.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
NAME_RULE = "names have letters, digits, _ and -, start with a letter or digit and are 64 characters long at most"

# A rule for each of pydantic's error types. For all others, messages show the description of the key.
_RULES = {
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list, like [a, b]",
    "dict_type": "must have keys and values, like {{key: value}}",
    "model_type": "must have keys and values, like {{key: value}}",
    "model_attributes_type": "must have keys and values, like {{key: value}}",
    "greater_than": "must be above {gt:.10g}",
    "greater_than_equal": "must be at least {ge:.10g}",
    "less_than": "must be below {lt:.10g}",
    "less_than_equal": "must be at most {le:.10g}",
    "too_short": "must have {min_length} or more entries",
    "too_long": "must have {max_length} or fewer entries",
    "string_too_short": "must not be empty",
}

# Keys of recipes and models in older configurations, and their names now.
_RENAMED_KEYS = {
    "min_side": "min_image_size",
    "validation": "validation_fraction",
    "averaging": "weight_averaging",
    "averaging_decay": "ema_decay",
}


class Problem(NamedTuple):
    """One mistake: its key path, and the text of the message."""

    path: KeyPath
    text: str

    def __str__(self) -> str:
        return one_line(f"{format_path(self.path)}: {self.text}")  # a wrong name may contain line breaks


def format_path(path: KeyPath) -> str:
    """Return a key path as text: studies.paper[1].seeds. Keys that are not simple names are quoted."""
    text = ""
    for key in path:
        plain = isinstance(key, str) and key.isascii() and key.replace("_", "").replace("-", "").isalnum()
        text += f".{key}" if plain else f"[{shown(key)}]"
    return text.removeprefix(".")


def shown(value: Any) -> str:
    """Return a value as messages show it: on one line, at most 60 characters, true and false as in YAML."""
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def unknown(what: str, name: Any, known: Iterable[str]) -> str:
    """Return the message for a name that is not one of the known names."""
    return f"unknown {what} (got {shown(name)}); {nearest(name, known)}"


def explain(error: ValidationError, schema: dict) -> list[Problem]:
    """Explain the errors that pydantic found.

    Args:
        error: from validating a configuration.
        schema: the JSON schema of the configuration, with the keys and values that are allowed.
    """
    return [_problem(detail, schema) for detail in error.errors(include_url=False)]


def _problem(detail: Mapping[str, Any], schema: dict) -> Problem:
    path, expected, siblings = _key_path(detail["loc"], schema)
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    got = f"(got {shown(value)})"
    if detail["loc"][-1:] == ("[key]",):
        return Problem(path, f"not a valid name {got}; {NAME_RULE}")
    if kind == "extra_forbidden":
        if len(path) == 1 and path[0] in OPTIONAL:
            line = f"- {{datasets: [...], models: [...], recipe: ..., {path[0]}: true}}"
            return Problem(
                path, f"is now a key of a study's entry {got}; remove it here, and write in the study: {line}"
            )
        if (now := _RENAMED_KEYS.get(str(path[-1]))) in siblings:
            return Problem(path, f"is now called {now!r} {got}; rename the key")
        if path[-1] == "test_time_augmentation":
            return Problem(
                path, f"changes no training, so only a recipe itself has it {got}; write it next to `epochs`"
            )
        return Problem(path, f"unknown key {got}; {nearest(path[-1], siblings)}")
    if kind == "missing":
        return Problem(path, f"missing; add it: {expected.get('description', 'it has no default')}")
    if kind.startswith("union_tag") and not isinstance(value, dict):
        return Problem(path, f"{_RULES['dict_type'].format()} {got}")
    if kind.startswith("union_tag"):
        return _tag_problem(path, expected, value)
    if kind == "literal_error":
        choices = expected.get("enum", [expected.get("const")])
        return Problem(path, f"must be {' or '.join(map(repr, choices))} {got}")
    if kind == "value_error":
        return Problem(path, str(context["error"]))
    if kind in _RULES:
        return Problem(path, f"{_RULES[kind].format(**context)} {got}{_hint(kind, value)}")
    return Problem(path, f"does not fit {got}; expected: {expected.get('description', 'another kind of value')}")


def _tag_problem(path: KeyPath, expected: dict, value: Any) -> Problem:
    """The key for the kind of entry (`architecture`, `source`) is missing, or its value is unknown."""
    key, kinds = expected["discriminator"]["propertyName"], expected["discriminator"]["mapping"]
    if key not in value:
        return Problem((*path, key), f"missing; one of {', '.join(kinds)}")
    if key == "architecture" and (there := in_libraries(str(value[key]))):
        return Problem((*path, key), f"unknown {key} (got {shown(value[key])}); did you mean {' or '.join(there)}?")
    return Problem((*path, key), unknown(key, value[key], kinds))


def _hint(kind: str, value: Any) -> str:
    if kind == "too_short" and not value:
        return "; add one"
    if kind in ("int_type", "float_type", "bool_type") and isinstance(value, str):
        return "; write it without quotes" if value.replace(".", "", 1).isdigit() or value in ("true", "false") else ""
    return "; put it in quotes" if kind == "string_type" and isinstance(value, bool | int | float) else ""


def _key_path(location: tuple, schema: dict) -> tuple[KeyPath, dict, list[str]]:
    """Translate pydantic's location of an error.

    Returns:
        the key path, without the marks that pydantic adds for the branches of a union and for keys; the schema of the
        value that is expected there, {} if there should be none; and all keys that are allowed in the same table.
    """
    path: list[str | int] = []
    node, siblings = schema, []
    for key in location:
        node = _resolve(node, schema)
        if key == "[key]":
            continue
        if "discriminator" in node:  # here pydantic names the kind of entry, which is not a key
            node = {"$ref": node["discriminator"]["mapping"][key]}
            continue
        if "oneOf" in node:  # of a grid; pydantic names the branch, "list" or "table", which is no key either
            node = next(branch for branch in node["oneOf"] if (branch.get("type") == "array") == (key == "list"))
            continue
        path.append(key)
        siblings = list(node.get("properties", {}))
        node = node.get("properties", {}).get(key) or _any_child(node)
    return tuple(path), _resolve(node, schema), siblings


def _any_child(node: dict) -> dict:
    """The common schema of the entries of a list, or of a table whose keys are names."""
    tables = [*node.get("patternProperties", {}).values(), node.get("additionalProperties"), node.get("items")]
    return next((table for table in tables if isinstance(table, dict)), {})


def _resolve(node: dict, schema: dict) -> dict:
    """Follow references, and drop `null` if it is the only alternative; keep the node's own description."""
    alternatives = [branch for branch in node.get("anyOf", []) if branch.get("type") != "null"]
    if len(alternatives) == 1:
        node = {**alternatives[0], **node}
    if "$ref" in node:
        target = schema["$defs"][node["$ref"].removeprefix("#/$defs/")]
        node = {**_resolve(target, schema), **{key: value for key, value in node.items() if key != "$ref"}}
    return node
