"""Read YAML text into plain mappings; what they mean is checked elsewhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from deepnets.utils.errors import UserError


class ConfigFile(NamedTuple):
    """A YAML file's top-level mapping, and a message for each duplicate key (`content` has its last value)."""

    content: dict
    duplicate_keys: list[str]


def read(path: str | Path) -> ConfigFile:
    """Read a YAML mapping.

    Raises:
        UserError: the file is missing, unreadable, empty, not a mapping, or not YAML (with the line).
    """
    try:
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
        return loader.get_single_data(), loader.duplicate_keys
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
    except RecursionError:
        raise UserError(f"{path}: an anchor (&name) contains itself, or lists are nested too deeply") from None
    except ValueError as error:  # an impossible date, or a number of thousands of digits
        raise UserError(f"{path}: a value cannot be read ({error}); put it in quotes if it is text") from None


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader that also finds duplicate keys and reads every key as text.

    YAML 1.1 would read the keys `on` and `1` as true and one; here keys are names.
    """

    def __init__(self, text: str):
        super().__init__(text)
        self.duplicate_keys: list[str] = []

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # At this point the mapping is as written. Later, `<<` adds the merged keys, which may repeat others.
        node = super().compose_mapping_node(anchor)
        first_lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in first_lines:
                self.duplicate_keys.append(
                    f"line {line}: the key {key.value!r} is there twice, first in line {first_lines[key.value]};"
                    " delete one of them"
                )
            first_lines.setdefault(key.value, line)
            if key.tag != "tag:yaml.org,2002:merge":
                key.tag = "tag:yaml.org,2002:str"
        return node


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
