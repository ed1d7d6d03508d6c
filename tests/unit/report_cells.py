"""What a cell of a report's table should hold, and whether it does."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

_NUMBER = re.compile(r"[-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]\d+)?")
_TIME = re.compile(r"([\d.]+) (h|min|s)\b")
_SECONDS = {"h": 3600, "min": 60, "s": 1}


@dataclass(frozen=True)
class Near:
    """A number that was found by other draws or another search; `tolerance` comes on top of rounding."""

    value: float
    tolerance: float


@dataclass(frozen=True)
class Seconds:
    """A time, in the report with its units."""

    value: float


# What a cell holds: a text as it is (""), its numbers in their order, or a time.
Cell = str | Seconds | Sequence[float | Near]
Rows = dict[tuple[str, ...], dict[str, Cell]]


def compare_cell(text: str, expected: Cell | None, place: str) -> int:
    """Compare a cell; return how many numbers it has."""
    if isinstance(expected, str):
        assert text == expected, place
        return len(_NUMBER.findall(text))
    if isinstance(expected, Seconds):
        found = [(float(value), unit) for value, unit in _TIME.findall(text)]
        assert found, f"{place}: no time in {text!r}"
        last = found[-1][1]
        rounding = 0.05 if "." in text else _SECONDS[last] / 2
        seconds = sum(value * _SECONDS[unit] for value, unit in found)
        assert abs(seconds - expected.value) <= rounding * 1.001, f"{place}: {text}, not {expected.value} s"
        return 1
    numbers = _NUMBER.findall(text)
    assert expected is not None or not numbers, f"nobody recomputes {text!r} ({place})"
    assert len(numbers) == len(expected or []), f"{place}: {text}, not {expected}"
    for number, value in zip(numbers, expected or [], strict=True):
        near = value if isinstance(value, Near) else Near(float(value), 0.0)
        decimal = Decimal(number.replace("−", "-").replace(",", ""))
        rounding = 0.5 * 10.0 ** int(decimal.as_tuple().exponent)
        assert abs(float(decimal) - near.value) <= rounding * 1.001 + near.tolerance, f"{place}: {text}, not {expected}"
    return len(numbers)
