"""Names of classes: characters that cannot be seen, and two names that look the same."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from deepnets.utils.visible import IGNORABLE, JOINERS


def name_problems(folders: Iterable[tuple[str, str]], are_folders: bool = True) -> list[str]:
    """Return a line for each class folder with an invisible character, and for each two that look the same.

    In train and in test a class may be composed differently (é as one code point or as two): it is one class. Within a
    split these are two folders.

    Args:
        folders: (folder of the split, name of the class folder) of each.
        are_folders: False for the labels of a table: (name of the column, label) of each.
    """
    shown = "{}/{!a}" if are_folders else "{} {!a}"
    correct = "rename the folder" if are_folders else "correct it"
    merge = "rename one, or move its images into the other" if are_folders else "write one of them in all rows"
    ordered = sorted(set(folders), key=lambda folder: (folder[0] != "train", folder))
    alike: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for split, name in ordered:
        alike[_visible(name)].append((split, name))
    twins = [_twins(group) for group in alike.values()]
    return [
        *(
            f"{shown.format(split, name)} has {_code_point(hidden)} in its name, which cannot be seen; {correct}."
            for split, name in ordered
            if (hidden := _hidden_character(name))
        ),
        *(
            f"{shown.format(split, name)} and {shown.format(other_split, other)} look the"
            f" same{_difference(name, other)}; {merge}."
            for (split, name), (other_split, other) in filter(None, twins)
        ),
    ]


def case_twins(classes: Iterable[str]) -> list[tuple[str, str]]:
    """Return the pairs of classes that differ only in upper and lower case."""
    seen: dict[str, str] = {}
    return [(seen[key], name) for name in classes if seen.setdefault(key := name.lower(), name) != name]


def _twins(group: list[tuple[str, str]]) -> tuple[tuple[str, str], tuple[str, str]] | None:
    """The first two folders of equally looking names that are not one class."""
    for index, (split, name) in enumerate(group):
        for other_split, other in group[index + 1 :]:
            same_class = unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", other)
            if name != other and (split == other_split or not same_class):
                return (split, name), (other_split, other)
    return None


def _visible(name: str) -> str:
    """A name as a reader sees it: composed, without invisible characters, every kind of space as one space."""
    kept = (" " if character.isspace() else character for character in name if character not in IGNORABLE)
    return " ".join(unicodedata.normalize("NFC", "".join(kept)).split())


def _hidden_character(name: str) -> str | None:
    """The first format character (Unicode's Cf) that has no place in a name."""
    for index, character in enumerate(name):
        around = name[index - 1 : index] + name[index + 1 : index + 2]
        # In emoji, and in words of Persian and Indic scripts, joiners join or part two characters that can be seen.
        joins = character in JOINERS and len(around) == 2 and not any(map(str.isascii, around))
        if unicodedata.category(character) == "Cf" and not joins:
            return character
    return None


def _difference(first: str, second: str) -> str:
    different = sorted(set(first) ^ set(second))
    return f" ({', '.join(map(_code_point, different))})" if different else ""


def _code_point(character: str) -> str:
    return f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()
