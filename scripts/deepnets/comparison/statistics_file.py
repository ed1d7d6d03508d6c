"""The content of statistics.json, for those who read it; without scipy, which figures and the report do not need."""

from itertools import combinations
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, PositiveInt, model_validator

from deepnets.utils import paths
from deepnets.utils.checked_json import read_checked
from deepnets.utils.errors import UserError


class Candidate(BaseModel):
    """A model with a recipe, over its seeds; accuracies are fractions.

    Attributes:
        std: standard deviation of the test accuracy over the seeds; None for one.
        selected: of this model's recipes, it has the best validation accuracy.
        group: letters; two candidates that share one cannot be distinguished. None: not compared, too many.
    """

    model: str
    recipe: str
    seeds: list[int]
    accuracy: float
    ci95: tuple[float, float]
    std: float | None
    validation_accuracy: float
    selected: bool
    group: str | None


class Settle(BaseModel):
    """What would settle an open pair: see `comparison.settle.Settled`."""

    smallest_difference: float
    images: int | None
    seeds: int | None


class Pair(BaseModel):
    """Two candidates on the same images; `a` is the more accurate one on the test images."""

    a: tuple[str, str]
    b: tuple[str, str]
    seeds: PositiveInt
    difference: float
    ci95: tuple[float, float]
    p_holm: float
    verdict: Literal["a", "b", "equivalent", "open"]
    settle: Settle | None


class Statistics(BaseModel):
    """statistics.json, as far as the report and the figures read it."""

    schema_version: Literal[1]
    dataset: str
    spec: dict[str, Any]
    n: PositiveInt
    margin: float
    candidates: list[Candidate]
    pairs: list[Pair]

    @model_validator(mode="after")
    def _one_pair_for_any_two(self) -> Self:
        names = [(candidate.model, candidate.recipe) for candidate in self.compared]
        if [(pair.a, pair.b) for pair in self.pairs] != list(combinations(names, 2)):
            raise ValueError("pairs must be those of the candidates that have a group, in their order")
        return self

    @property
    def compared(self) -> list[Candidate]:
        """The candidates that are compared with each other, in the order of the file."""
        return [candidate for candidate in self.candidates if candidate.group is not None]

    def outcomes(self) -> dict[tuple[int, int], Pair]:
        """Return each pair by the indices of its two candidates in `compared`, the smaller index first."""
        return dict(zip(combinations(range(len(self.compared)), 2), self.pairs, strict=True))


def read_statistics(path: Path, experiments: list[str], specs: list[str] | None = None) -> Statistics:
    """Read statistics.json.

    Args:
        path: of the file.
        experiments: the folders of the experiments that it must be about.
        specs: the hashes of their specs; None: not compared.

    Raises:
        UserError: it is missing, damaged or about other experiments.
    """
    found = read_checked(path, Statistics)
    of_others = found.spec.get("experiments") != experiments
    if of_others or (specs is not None and found.spec.get("specs") != specs):
        raise UserError(
            f"{path}: about other experiments or settings, as of another study; start Snakemake, which makes it again,"
            f" or run: python scripts/compare.py {found.dataset}"
        )
    return found


def statistics_path(root: Path, dataset: str) -> Path:
    """Return the path of a dataset's statistics.json below the folder that holds results/."""
    return root / paths.STATISTICS.format(dataset=dataset)
