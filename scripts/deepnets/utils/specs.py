"""Specs in files: what a file was made by, compared with what is asked for."""

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deepnets.utils.errors import UserError
from deepnets.utils.files import canonical_json, sha256_text
from deepnets.utils.text import first_few, one_line

UNKNOWN = "unknown settings, as in a file of version 0.1.0"
_HEAD_BYTES = 2**20  # of a file: specs come first; lists of classes may precede them, lists of files may not
_WEIGHTS_HEAD_BYTES = 100_000_000  # the longest header that safetensors reads; it has the names of classes and tensors
# Between the keys and values of a JSON object.
_START, _COLON, _END = re.compile(r"\s*\{\s*"), re.compile(r"\s*:\s*"), re.compile(r"\s*[,}]\s*")


def check_made_by(file: str | Path, found: Any, expected: Any) -> None:
    """Compare the spec in a file with the expected one. None is the spec of a file that has none.

    Raises:
        UserError: they differ; the message has the values that do.
    """
    if found != expected:
        reasons = [UNKNOWN] if found is None else differences(found, expected)
        raise UserError(
            f"{file}: made with other settings ({'; '.join(reasons)}); start Snakemake, which rebuilds it, or"
            " delete it."
        )


def differences(old: Any, new: Any) -> list[str]:
    """Return a phrase for each value that differs between two specs: "size was 32, is 48"."""
    before, after = dict(leaves(old)), dict(leaves(new))
    return [change(".".join(key) or "it", key, before, after) for key in changed_keys(before, after)]


def changed_keys(before: dict, after: dict) -> list[tuple[str, ...]]:
    """Return the keys of two results of `leaves` whose values differ, or that one of them has not."""
    return [key for key in dict.fromkeys([*before, *after]) if _text(before, key) != _text(after, key)]


def change(name: str, key: tuple[str, ...], before: dict, after: dict) -> str:
    """Describe how the value of a key changed, under the name that a reader knows; of a list, what is new and gone."""
    old, new = before.get(key), after.get(key)
    if not (isinstance(old, list) and isinstance(new, list) and all(isinstance(each, str) for each in [*old, *new])):
        return one_line(f"{name} was {_text(before, key)}, is {_text(after, key)}")
    changes = {"new": [each for each in new if each not in old], "gone": [each for each in old if each not in new]}
    words = [f"{len(names)} {state} ({first_few(names)})" for state, names in changes.items() if names]
    return one_line(f"{name}: {', '.join(words) or 'in another order'}")


def leaves(value: object, key: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """Yield the values of nested dictionaries, each with the keys that lead to it."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, (*key, str(name)))
    else:
        yield key, value


def _text(values: dict, key: tuple[str, ...]) -> str:
    return json.dumps(values[key], ensure_ascii=False) if key in values else "not there"


def settings_sha256(job: dict[str, Any]) -> str:
    """Return the hexadecimal SHA-256 of all that a job depends on besides code, for files without room for it."""
    return sha256_text(canonical_json({key: value for key, value in job.items() if key != "code"}))


def read_head(path: Path, *keys: str) -> dict[str, Any]:
    """Return keys of a JSON object, of a .safetensors file's metadata or of a PNG's texts, without reading all of it.

    Returns:
        Those of the keys that stand in the first megabyte, of a .safetensors file in its header; none if the file is
        missing or something else.
    """
    try:
        if path.suffix == ".png":
            return _texts_of_png(path, keys)
        with open(path, "rb") as file:
            if path.suffix != ".safetensors":
                return _leading_values(file.read(_HEAD_BYTES), keys)
            length = int.from_bytes(file.read(8), "little")
            if length > _WEIGHTS_HEAD_BYTES:
                return {}
            texts = _leading_values(file.read(length), ["__metadata__"])["__metadata__"]
            return {key: json.loads(texts[key]) for key in keys if key in texts}
    except (OSError, KeyError, TypeError, ValueError):
        return {}


def _texts_of_png(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    from PIL import Image  # takes a while to load, and most jobs need no figure

    with Image.open(path, formats=["PNG"]) as image:  # reads up to the first pixels
        return {key: image.info[key] for key in keys if key in image.info}


def _leading_values(content: bytes, keys: Sequence[str]) -> dict[str, Any]:
    text, decoder = content.decode("utf-8", "replace"), json.JSONDecoder()
    found: dict[str, Any] = {}
    with contextlib.suppress(ValueError, RecursionError):  # the object's end, or that of the content; or too deep
        position = _after(_START, text, 0)
        while len(found) < len(keys):
            key, position = decoder.raw_decode(text, position)
            value, position = decoder.raw_decode(text, _after(_COLON, text, position))
            position = _after(_END, text, position)
            if key in keys:
                found[key] = value
    return found


def _after(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    if match is None:
        raise ValueError
    return match.end()
