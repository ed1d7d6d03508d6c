"""Names of classes, models and recipes in figures: drawable, short, and different where the names are."""

import functools
import itertools
import textwrap
from collections.abc import Iterator, Sequence

from matplotlib import font_manager

from deepnets.utils.visible import visible

# DejaVu Sans comes with matplotlib; the others, if installed, have the characters that it lacks.
_FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "Microsoft YaHei",
    "Hiragino Sans",
    "Arial Unicode MS",
)

INSTALLED_FONTS = [font for font in _FONTS if font in font_manager.fontManager.get_font_names()]

_TITLE_CHARACTERS = 60  # on a line of the narrowest figure
_ROUNDS = 10  # of cutting names again that look the same; each shows a later difference


def legible(text: str, instead: str | None = None) -> str:
    """A text on one line without hidden characters; `instead` if no installed font can draw it."""
    text = " ".join(visible(text).split())
    if any(ord(character) not in _drawable() for character in text):
        text = instead or "".join(character if ord(character) in _drawable() else "?" for character in text)
    return text


@functools.cache
def _drawable() -> frozenset[int]:
    """Code points that some font of the style can draw."""
    fonts = (font_manager.get_font(font_manager.findfont(family)) for family in INSTALLED_FONTS)
    return frozenset(point for font in fonts for point in font.get_charmap())


def title(text: str) -> str:
    """The title of a figure, on as many lines as it needs: names in it are not cut."""
    return "\n".join(textwrap.wrap(legible(text), _TITLE_CHARACTERS, break_on_hyphens=False))


def short_names(names: Sequence[str], limit: int, instead: Sequence[str] | None = None) -> list[str]:
    """Names that stand together in a figure: legible, of `limit` characters at most, no two the same.

    A long name is cut at its end. Names that would then look the same are cut before the first character in which
    they differ, and numbered if that does not help.

    Args:
        instead: for each name, the text in its place if no installed font can draw it.
    """
    whole = list(map(legible, names, instead or itertools.repeat(None)))
    short = [_cut(name, limit, 0) for name in whole]
    for _ in range(_ROUNDS):
        for alike in list(_alike(short)):
            columns = zip(*(whole[index] for index in alike), strict=False)
            difference = len(list(itertools.takewhile(lambda letters: len(set(letters)) == 1, columns)))
            for index in alike:
                short[index] = _cut(whole[index], limit, difference)
    for alike in list(_alike(short)):
        same, marks = short[alike[0]], map(" ({})".format, itertools.count(1))
        numbered = (f"{same[: limit - len(mark)]}{mark}" for mark in marks)
        unused = (name for name in numbered if name not in short)
        for index in alike:
            short[index] = next(unused)
    return short


def _alike(names: list[str]) -> Iterator[list[int]]:
    """Yield the indices of each group of equal names."""
    by_name: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        by_name.setdefault(name, []).append(index)
    return (indices for indices in by_name.values() if len(indices) > 1)


def _cut(name: str, limit: int, difference: int) -> str:
    """Cut a name to `limit` characters, so that the one at the index `difference` stays."""
    if len(name) <= limit or difference < limit - 1:
        return name if len(name) <= limit else f"{name[: limit - 1]}…"
    head = name[: limit // 3]
    room = limit - len(head) - 1
    if len(name) - difference <= room:
        return f"{head}…{name[-room:]}"
    return f"{head}…{name[difference : difference + room - 1]}…"
