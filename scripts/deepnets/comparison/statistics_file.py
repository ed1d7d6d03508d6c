"""The content of statistics.json, for those who read it; without scipy, which figures and the report do not need."""

from collections.abc import Sequence
from functools import cached_property
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt, model_validator

from deepnets.utils import paths
from deepnets.utils.checked_json import read_checked
from deepnets.utils.errors import UserError
from deepnets.utils.programs import program

MOST_SEEDS = 1000  # of each recipe, up to which is looked for how many would settle an open pair


class Answer(BaseModel):
    """A network's answer for one test image: the indices of image and classes, and the probability of `predicted`.

    `file`: the image's name; None if the dataset's images are no files.
    """

    index: int
    label: int
    predicted: int
    probability: float
    file: str | None = None

    @property
    def name(self) -> str:
        """The image's name, or its number; numbers start at 0."""
        return self.file or f"image {self.index}"


class Bin(BaseModel):
    """A bin of a reliability diagram: its images, and their mean confidence and accuracy."""

    n: int
    confidence: float
    accuracy: float


class Calibration(BaseModel):
    """How far probabilities can be believed: see `comparison.calibration`. Log loss is None if it is not finite."""

    log_loss: float | None
    brier: float
    ece: float
    ece_ci95: tuple[float, float]
    reliability: list[Bin]


class Conformal(BaseModel):
    """Prediction sets: the coverage that was asked for, that on the test images, and the mean number of classes."""

    target: float
    coverage: float
    mean_size: float


class Behaviour(Calibration):
    """What networks say about test images: see `comparison.networks.describe`."""

    temperature: float
    with_temperature: Calibration
    aurc: float
    selective_accuracy: dict[str, float]
    risk_coverage: list[tuple[float, float]]
    conformal: Conformal
    confident_mistakes: list[Answer]
    doubtful_hits: list[Answer]


class Network(Behaviour):
    """One trained network on its test images."""

    seed: int


class Pooled(Behaviour):
    """Networks of each fold on the images of all folds together, with each metric of `evaluation.metrics` by its name.

    Images are counted from the first one of the first fold.
    """

    test: dict[str, float | None]


class Candidate(BaseModel):
    """A model with a recipe, over its seeds; accuracies are fractions.

    Attributes:
        seeds: of the networks that its accuracy is of.
        std: standard deviation of the test accuracy over the seeds; None for one.
        selected: of this model's recipes, it has the best validation accuracy.
        group: letters; two candidates that share one cannot be distinguished. None: not compared, too many.
        networks: all, also those of folds that another candidate does not have, so that they do not count.
        pooled: with folds, for each pass over them; None without folds.
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
    networks: list[Network]
    pooled: list[Pooled] | None

    @property
    def passes(self) -> Sequence[Behaviour]:
        """What its networks say about all test images: each seed, or with folds each pass over them."""
        return self.pooled or self.networks


class Settle(BaseModel):
    """What would settle an open pair: see `comparison.settle.Settled`."""

    smallest_difference: float | None
    images: int | None
    seeds: int | None


class Pair(BaseModel):
    """Two candidates on the same images; `a` comes first in the order of the candidates.

    Attributes:
        n: test images that both have; 0 if they have no fold in common, so that nothing is known of the pair.
        folds: those that both have; 0 without folds.
        seeds: networks of each; 1 for a statement about these two trained networks.
        a_only, b_only: images that one alone has right; None if they were not counted, as over several seeds.
        probability_a_beats_b: None if one of them has a single run.
    """

    a: tuple[str, str]
    b: tuple[str, str]
    n: NonNegativeInt
    folds: NonNegativeInt
    seeds: NonNegativeInt
    a_only: NonNegativeInt | None
    b_only: NonNegativeInt | None
    difference: float
    ci95: tuple[float, float]
    p_holm: float
    probability_a_beats_b: float | None
    verdict: Literal["a", "b", "equivalent", "open"]
    settle: Settle | None

    @property
    def over(self) -> Literal["nothing", "networks", "seeds", "folds"]:
        """What it was compared over; "networks": one trained network each."""
        if not self.n:
            return "nothing"
        if self.folds > 1:
            return "folds"
        return "seeds" if self.seeds > 1 else "networks"


class Majority(BaseModel):
    """The answer that is always the same class."""

    label: int = Field(alias="class")
    accuracy: float


class Baselines(BaseModel):
    """The accuracies that need no network."""

    majority: Majority
    chance: float


class Committee(BaseModel):
    """All selected networks together, by the mean of their probabilities."""

    networks: int
    accuracy: float
    ci95: tuple[float, float]


class Sweep(BaseModel):
    """A model with several recipes: the expected best validation accuracy of 1, 2, ... of them."""

    model: str
    expected_best_validation: list[float]


class Images(BaseModel):
    """Test images of a kind: how many there are, and the first of them."""

    count: int
    images: list[Answer]


class Folds(BaseModel):
    """How many folds a dataset has, and those of which each candidate has a network."""

    number: PositiveInt
    shared: list[int]


class Statistics(BaseModel):
    """statistics.json, as far as the report and the figures read it."""

    schema_version: Literal[1]
    dataset: str
    spec: dict[str, Any]
    n: PositiveInt
    folds: Folds | None
    margin: float
    candidates: list[Candidate]
    pairs: list[Pair]
    baselines: Baselines
    committee: Committee | None
    missed_by_all: Images
    suspicious_labels: Images
    sweeps: list[Sweep]

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

    def network(self, model: str, recipe: str, seed: int) -> Network:
        """Return one trained network.

        Raises:
            KeyError: the statistics are about other experiments, which `read_statistics` refuses.
        """
        return self._networks[model, recipe, seed]

    @cached_property
    def _networks(self) -> dict[tuple[str, str, int], Network]:
        return {
            (candidate.model, candidate.recipe, network.seed): network
            for candidate in self.candidates
            for network in candidate.networks
        }

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
            f"{path}: about other experiments or settings, as of another study; start Snakemake, which rebuilds it,"
            f" or run: {program('python')} scripts/compare.py {'/'.join(path.parent.parts[-2:])}"
        )
    return found


def statistics_of_study(spec: dict[str, Any], root: Path, suffix: str) -> dict[str, Statistics]:
    """Read the statistics of each dataset of a study.

    Args:
        spec: of the report: `experiments`, their folders, and, unless a test leaves them out, `specs`, their hashes.
        root: below which these folders are.
        suffix: of the study's paths.

    Raises:
        UserError: as for `read_statistics`.
    """
    found = {}
    for name in dict.fromkeys(PurePosixPath(folder).parts[-4] for folder in spec["experiments"]):
        rows = [row for row, folder in enumerate(spec["experiments"]) if PurePosixPath(folder).parts[-4] == name]
        specs = [spec["specs"][row] for row in rows] if "specs" in spec else None
        file = root / paths.STATISTICS.format(dataset=name, suffix=suffix)
        found[name] = read_statistics(file, [spec["experiments"][row] for row in rows], specs)
    return found
