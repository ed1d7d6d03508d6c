"""Training runs that differ only in their number of epochs; without heavy imports, as the Snakefile asks for them."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

from deepnets.utils.files import canonical_json


class HasModelAndSpec(Protocol):
    """An Experiment or a SeedGroup."""

    @property
    def model(self) -> str: ...
    @property
    def spec(self) -> Mapping[str, Any]: ...


Run = TypeVar("Run", bound=HasModelAndSpec)


def budget_lines(runs: Iterable[Run]) -> list[list[Run]]:
    """Find the runs of one dataset that differ only in `epochs`: the same model, recipes equal in all other options.

    Returns:
        A line for each model and recipe with two or more numbers of epochs, the fewest epochs first.
    """
    lines: dict[tuple[str, str], list[Run]] = {}
    for run in sorted(runs, key=_epochs):
        # The recipe's values, not its name, which has those that a study gives it, the epochs too.
        others = {name: value for name, value in run.spec["recipe"].items() if name != "epochs"}
        lines.setdefault((run.model, canonical_json(others)), []).append(run)
    return [line for line in lines.values() if _epochs(line[0]) < _epochs(line[-1])]


def _epochs(run: HasModelAndSpec) -> float:
    return run.spec["recipe"]["epochs"]
