"""Read YAML text into plain mappings; what they mean is checked elsewhere."""

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from deepnets.utils.errors import UserError

# A configuration of a thousand recipes has less. The limits keep a file that is no configuration from taking minutes.
_MAX_BYTES = 256 * 1024
_MAX_VALUES = 100_000  # keys and values, those of an alias (*name) counted wherever it stands
_TOO_MANY = (
    f"more than {_MAX_VALUES:,} keys and values, or an anchor (&name) that contains itself; an alias (*name) counts as"
    " all that it stands for; write less"
)
_MAX_DEPTH = 50  # lists and mappings inside each other
_MAX_DIGITS = 1000  # Python refuses to print numbers of more than 4300


class ConfigFile(NamedTuple):
    """A YAML file's top-level mapping, and a message for each duplicate key (`content` has its last value)."""

    content: dict
    duplicate_keys: list[str]


def read(path: str | Path) -> ConfigFile:
    """Read a YAML mapping.

    Raises:
        UserError: the file is missing, unreadable, too large, empty, not a mapping, or not YAML (with the line).
    """
    try:
        if not Path(path).is_file() and Path(path).exists():
            raise UserError(f"{path}: not a file; put a configuration there")
        if (size := os.path.getsize(path)) > _MAX_BYTES:
            raise UserError(
                f"{path}: too large for a configuration ({size / 1e6:.1f} MB; at most {_MAX_BYTES // 1024} KB are read)"
                "; is it another file?"
            )
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; run the command in the folder that holds {Path(path).name}, or restore the file"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    content, duplicate_keys = _parse(text, path)
    if content is None:
        raise UserError(
            f"{path}: the file is empty; it must have the keys study, datasets, models, recipes and studies"
        )
    if not isinstance(content, dict):
        raise UserError(f"{path}: the top level must be keys with values, like `study: demo` (got {content!r:.60})")
    return ConfigFile(content, duplicate_keys)


def _parse(text: str, path: str | Path) -> tuple[Any, list[str]]:
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, []
        if _count_values(node, {}) > _MAX_VALUES:
            raise UserError(f"{path}: {_TOO_MANY}")
        return loader.construct_document(node), loader.duplicate_keys
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        reason = ", ".join(text for text in (error.context, error.problem) if text)
        raise UserError(f"{path}: {where}broken YAML: {reason}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(
            f"{path}: line {line}: broken YAML: it contains the control character U+{error.character:04X}"
        ) from None
    except (ValueError, OverflowError) as error:  # an impossible date
        raise UserError(f"{path}: a value cannot be read ({error}); put it in quotes if it is text") from None


def _count_values(node: yaml.Node, counts: dict[yaml.Node, int]) -> int:
    """Count a node with all below it; what several aliases share is counted for each, but visited once.

    Raises:
        MarkedYAMLError: a value that no option can take and no message can show.
    """
    if node in counts:
        return counts[node]
    if isinstance(node, yaml.ScalarNode):
        _check_scalar(node)
        return 1
    counts[node] = _MAX_VALUES + 1  # until it is counted: a node that contains itself has no end
    children = itertools.chain(*node.value) if isinstance(node, yaml.MappingNode) else node.value
    counts[node] = 1 + sum(_count_values(child, counts) for child in children)
    return counts[node]


def _check_scalar(node: yaml.ScalarNode) -> None:
    if node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float") and len(node.value) > _MAX_DIGITS:
        problem = f"a number of {len(node.value):,} characters"
    elif hidden := next((each for each in node.value if each == "\0" or "\ud800" <= each <= "\udfff"), None):
        problem = f"the character U+{ord(hidden):04X}, which is not text"
    else:
        return
    raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader that also finds duplicate keys and reads every key as text.

    YAML 1.1 would read the keys `on` and `1` as true and one; here keys are names.
    """

    def __init__(self, text: str):
        super().__init__(text)
        self.duplicate_keys: list[str] = []
        self.depth = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, "nested too deeply", self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # At this point the mapping is as written. Later, `<<` adds the merged keys, which may repeat others.
        node = super().compose_mapping_node(anchor)
        first_lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in first_lines:
                one = isinstance(value, yaml.ScalarNode)
                hint = "delete one of them" if one else "put all its entries below the first"
                self.duplicate_keys.append(
                    f"line {line}: the key {key.value!r} is there twice, first in line {first_lines[key.value]}; {hint}"
                )
            first_lines.setdefault(key.value, line)
            if key.tag != "tag:yaml.org,2002:merge":
                key.tag = "tag:yaml.org,2002:str"
        return node


def read_scalar(text: str) -> Any:
    """Return the number, flag or null that text without quotes is in YAML; other text as it is."""
    loader = yaml.SafeLoader("")
    tag = loader.resolve(yaml.ScalarNode, text, (True, False))
    if tag.rpartition(":")[2] not in ("int", "float", "bool", "null") or len(text) > _MAX_DIGITS:
        return text
    try:
        return loader.construct_object(yaml.ScalarNode(tag, text))
    except (ValueError, OverflowError):
        return text


def check_size(value: Any, shown_as: str) -> None:
    """Refuse a value of another YAML reader that is as large as no configuration; aliases make it so in a few lines.

    Raises:
        UserError: it has too many keys and values, or contains itself.
    """
    if _count_objects(value, {}) > _MAX_VALUES:
        raise UserError(f"{shown_as}: {_TOO_MANY}")


def _count_objects(value: Any, counts: dict[int, int]) -> int:
    """As `_count_values`, of Python objects; equal ones that are no object of their own are counted one by one."""
    if not isinstance(value, Mapping | list | tuple):
        return 1
    if id(value) not in counts:
        counts[id(value)] = _MAX_VALUES + 1
        children = itertools.chain(*value.items()) if isinstance(value, Mapping) else value
        counts[id(value)] = 1 + sum(_count_objects(child, counts) for child in children)
    return counts[id(value)]


def with_nulls(value: Any) -> Any:
    """Return a copy in which text that YAML reads as null, such as `~`, is None, at every level."""
    if isinstance(value, Mapping):
        return {key: with_nulls(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_nulls(item) for item in value]
    return None if isinstance(value, str) and read_scalar(value) is None else value


def with_text_keys(value: Any) -> Any:
    """Return a copy with all keys as text, for mappings from another YAML 1.1 reader, which reads `on` as true."""
    if isinstance(value, Mapping):
        return {"on" if key is True else str(key): with_text_keys(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [with_text_keys(item) for item in value]
    return value


def merge(base: Mapping, changes: Mapping) -> dict:
    """Return `base` with `changes`: mappings are merged at every level, all other values (lists too) are replaced."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged
