"""The numbers of a study, computed again from the files of its experiments by code that the report does not use.

Of the library nothing is imported. What no file of predictions or times can give is read where training or another
stage wrote it: the metrics of training images, the size of the network, latency, accuracy on corrupted images.
"""

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, combinations
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
import pandas as pd
from safetensors.numpy import load_file
from scipy.stats import binom, f, norm, t
from sklearn import metrics
from statsmodels.api import OLS
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

NAMES = {"vgg16": "VGG-16", "inception_v3": "Inception V3", "resnet50": "ResNet50", "mobilenet_v2": "MobileNetV2"}


def name_of(model: str) -> str:
    return NAMES.get(model, model)


def title_of(recipe: str) -> str:
    return recipe.replace(",", ", ").replace("=", " ")


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    return metrics.log_loss(labels, probabilities, labels=np.arange(probabilities.shape[1]))


class Run:
    """One experiment, by the folder of its results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        self.timing = json.loads((folder / "timing.json").read_text(encoding="utf-8"))
        self.dataset, self.model, self.recipe, seed = folder.parts[-4:]
        self.seed = int(seed.removeprefix("seed"))
        self.history = pd.read_csv(folder / "history.csv")
        self.epochs = self.history["epoch"].iloc[-1]
        self.architecture = self.metrics["spec"]["model"]["architecture"]
        self.fold = self.metrics["spec"]["dataset"].get("fold")
        self.parts: Sequence[Run] = (self,)  # the trained networks that together predict each test image once

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        return load_file(self.folder / "predictions.safetensors")

    def labels(self, split: str) -> np.ndarray:
        return self.arrays[f"{split}_labels"]

    def predicted(self, split: str) -> np.ndarray:
        return self.arrays[f"{split}_logits"].argmax(1)

    def right(self, split: str) -> np.ndarray:
        return self.predicted(split) == self.labels(split)

    def probabilities(self, split: str, temperature: float = 1.0) -> np.ndarray:
        logits = self.arrays[f"{split}_logits"].astype(np.float64) / temperature
        powers = np.exp(logits - logits.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)

    def loss(self, split: str, temperature: float = 1.0) -> float:
        return log_loss(self.labels(split), self.probabilities(split, temperature))

    def scores(self) -> tuple[np.ndarray, ...]:
        """Precision, recall, F1 and number of images of each class."""
        classes = np.arange(len(self.metrics["classes"]))
        arguments = {"labels": classes, "average": None, "zero_division": 0.0}
        return metrics.precision_recall_fscore_support(self.labels("test"), self.predicted("test"), **arguments)

    def balanced_accuracy(self) -> float:
        return metrics.balanced_accuracy_score(self.labels("test"), self.predicted("test"))


class Together(Run):
    """One run of each fold: their test images together; validation images are of each part alone."""

    def __init__(self, parts: Sequence[Run]) -> None:
        super().__init__(parts[0].folder)
        self.parts = parts

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        names = ("test_logits", "test_labels")
        return {name: np.concatenate([part.arrays[name] for part in self.parts]) for name in names}


@dataclass(frozen=True)
class Group:
    """The runs that differ in their seed only, and in the fold that it chooses.

    Those that count in its numbers have all folds as often. Where folds are not finished, more were trained.
    """

    runs: tuple[Run, ...]
    trained: tuple[Run, ...]

    def on(self, folds: Collection[int | None]) -> "Group":
        """With the runs that count where only these folds do: the first ones of each, as many as all of them have."""
        of_folds = [[run for run in self.trained if run.fold == fold] for fold in folds]
        counted = [run for each in of_folds for run in each[: min(map(len, of_folds))]]
        return Group(tuple(run for run in self.trained if run in counted), self.trained)

    @property
    def first(self) -> Run:
        return self.runs[0]

    @cached_property
    def folds(self) -> list[int]:
        """The folds in order; [] without folds, and for a single one, whose runs are as those without."""
        folds = sorted({run.fold for run in self.runs} - {None})
        return folds if len(folds) > 1 else []

    @cached_property
    def whole(self) -> list[Run]:
        """The runs; with folds, those of each pass over the folds together."""
        of_folds = [[run for run in self.runs if run.fold == fold] for fold in self.folds]
        return [*map(Together, zip(*of_folds, strict=True))] if of_folds else [*self.runs]

    @property
    def named(self) -> str:
        """How many runs, in words; "" for one."""
        if self.folds:
            return f"{len(self.folds)} folds" + (f", {len(self.whole)} times" if len(self.whole) > 1 else "")
        return f"{len(self.runs)} seeds" if len(self.runs) > 1 else ""

    @cached_property
    def right(self) -> np.ndarray:
        """(S, n): which test images each run has right, or each pass over the folds."""
        return np.stack([run.right("test") for run in self.whole])

    @property
    def fold_of_image(self) -> np.ndarray:
        """(n,)"""
        return np.concatenate([np.full(len(part.labels("test")), part.fold) for part in self.whole[0].parts])

    @cached_property
    def validation(self) -> float:
        return fmean(run.right("validation").mean() for run in self.runs)

    def mean(self, value) -> float:
        return fmean(float(value(run)) for run in self.runs)

    def mean_on_test(self, value) -> float:
        return fmean(float(value(run)) for run in self.whole)


def grouped(runs: Sequence[Run]) -> list[Group]:
    """The groups of the runs on a dataset; all runs count."""
    found: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        found.setdefault((run.model, run.recipe), []).append(run)
    return [Group(tuple(each), tuple(each)) for each in found.values()]


def counted(groups: Sequence[Group]) -> list[Group]:
    """The groups on the folds that all have; each on its own ones if no fold has all groups."""
    folds = [{run.fold for run in group.trained} for group in groups]
    shared = set.intersection(*folds)
    return [group.on(shared or own) for group, own in zip(groups, folds, strict=True)]


def best_first(groups: Sequence[Group]) -> list[Group]:
    """The groups in the order of validation accuracy; equal ones keep their order."""
    return sorted(groups, key=lambda group: -group.validation)


def chosen(groups: Sequence[Group]) -> list[Group]:
    """Of each model the group with the best validation accuracy, the first of equal ones."""
    models = dict.fromkeys(group.first.model for group in groups)
    of_models = ([group for group in groups if group.first.model == model] for model in models)
    return [max(each, key=lambda group: group.validation) for each in of_models]


def in_order(groups: Sequence[Group]) -> list[Group]:
    """The chosen groups first, and the best on validation first."""
    first = chosen(groups)
    return sorted(groups, key=lambda group: (group not in first, -group.validation))


# -- accuracies: intervals and pairs ----------------------------------------------------------------------------------


class Spread(NamedTuple):
    """A variance with its degrees of freedom."""

    variance: float
    freedom: float


def variance_of(groups: Sequence[Group]) -> tuple[Spread, Spread]:
    """Variance of the accuracy of one group, or of the difference of two: of tests, and of an interval of a difference.

    By the mean squares of an analysis of variance with two crossed factors, seeds and images; with folds, by that of a
    mean whose values are correlated within each fold.
    """
    tables = [group.right.astype(float) for group in groups]
    images = tables[0].shape[1]
    if folds := groups[0].folds:
        values = tables[0].mean(0) - (tables[1].mean(0) if len(tables) > 1 else 0.0)
        clusters = {"groups": groups[0].fold_of_image}
        by_folds = float(OLS(values, np.ones(images)).fit(cov_type="cluster", cov_kwds=clusters).cov_params()[0, 0])
        least = max(values.var() / images, 2 / images**2 if len(tables) > 1 else 0.0)
        variance = max(by_folds, least)
        return Spread(variance, len(folds) - 1), Spread(variance, len(folds) - 1 if by_folds > least else images - 1)
    by_seeds = noise = squares = degrees = 0.0
    for table in tables:
        seeds, free = len(table), (len(table) - 1) * (images - 1)
        residuals = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
        residual, between = (residuals**2).sum() / free / (seeds * images), table.mean(1).var(ddof=1) / seeds
        by_seeds, noise, degrees = by_seeds + between, noise + residual, degrees + seeds - 1
        squares += between**2 / (seeds - 1) + residual**2 / free
    means = tables[0].mean(0) - (tables[1].mean(0) if len(tables) > 1 else 0.0)
    by_images = means.var(ddof=1) / images
    squares += by_images**2 / (images - 1)
    least = max(by_images, 2 / images**2 if len(tables) > 1 else 0.0)
    variance = max(by_seeds + by_images - noise, least)
    of_test = Spread(variance, float(np.clip(variance**2 / squares, 1, images - 1)) if squares else images - 1)
    # Seeds count for the interval where a preliminary test finds them at the 30 % level.
    found = f.sf(by_seeds / noise, degrees, degrees * (images - 1)) < 0.3 if noise else by_seeds > 0
    return of_test, of_test if found else Spread(least, images - 1)


def accuracy_with_interval(group: Group) -> list[float]:
    """Test accuracy, its standard deviation over several seeds or passes, and its 95 % interval, in percent."""
    right, images = group.right.astype(float), group.right.shape[1]
    accuracy = right.mean()
    if len(group.runs) == 1:
        bounds = proportion_confint(int(right.sum()), images, method="wilson")
    else:
        of_test, of_interval = variance_of([group])
        variance, freedom = of_interval if group.folds else of_test
        effective = (accuracy * (1 - accuracy) / variance if variance else 0.0) or images
        tail = 2 * norm.sf(t.ppf(0.975, freedom))
        bounds = proportion_confint(accuracy * effective, effective, alpha=tail, method="wilson")
    spread = [100 * right.mean(1).std(ddof=1)] if len(right) > 1 else []
    return [100 * accuracy, *spread, *(100 * bound for bound in bounds)]


def probability_of_equals(a: Group, b: Group) -> float:
    """The p of the paired test: exact McNemar's of two runs, or a t test over seeds and images, or folds."""
    if min(len(a.runs), len(b.runs)) > 1:
        variance, freedom = variance_of([a, b])[0]
        return float(2 * t.sf(abs(a.right.mean() - b.right.mean()) / math.sqrt(variance), freedom))
    first, second = _same_seed(a, b)
    counts = [[(first & second).sum(), (first & ~second).sum()], [(~first & second).sum(), (~first & ~second).sum()]]
    return float(mcnemar(np.array(counts), exact=True).pvalue)


def _same_seed(a: Group, b: Group) -> tuple[np.ndarray, np.ndarray]:
    """Which images two runs have right: those of the first seed that both groups have, else their first ones."""
    seeds = {run.seed: row for row, run in enumerate(b.runs)}
    for row, run in enumerate(a.runs):
        if run.seed in seeds:
            return a.right[row], b.right[seeds[run.seed]]
    return a.right[0], b.right[0]


def difference(a: Group, b: Group, level: float = 0.95) -> list[float]:
    """The accuracy of A minus that of B with its interval, in percentage points.

    Only the 95 % one is for readers; one of another level decides, as a test does.
    """
    if min(len(a.runs), len(b.runs)) > 1:
        value = a.right.mean() - b.right.mean()
        of_test, of_interval = variance_of([a, b])
        variance, freedom = of_interval if level == 0.95 else of_test
        half = t.ppf((1 + level) / 2, freedom) * math.sqrt(variance)
        return [100 * value, 100 * max(-1.0, value - half), 100 * min(1.0, value + half)]
    first, second = _same_seed(a, b)
    counts, images = ((first & ~second).sum(), (~first & second).sum()), len(first)
    return [100 * (counts[0] - counts[1]) / images, *(100 * bound for bound in _bootstrapped(*counts, images, level))]


def right_alone(a: Group, b: Group) -> list[int] | None:
    """The test images that A alone has right, and B alone; None over several seeds or folds."""
    if min(len(a.runs), len(b.runs)) > 1:
        return None
    first, second = _same_seed(a, b)
    return [int((first > second).sum()), int((first < second).sum())]


def _bootstrapped(a_only: int, b_only: int, images: int, level: float) -> list[float]:
    """The quantiles of the difference in samples with replacement: of D discordant images, A has a binomial number."""
    p, q = (a_only + 0.5) / (images + 2), (b_only + 0.5) / (images + 2)
    discordant, differences = np.arange(images + 1), np.arange(-images, images + 1)
    of_a = (discordant + differences[:, None]) // 2
    below = binom.cdf(of_a, discordant, p / (p + q)) @ binom.pmf(discordant, images, p + q)
    return [float(differences[np.argmax(below >= share)] / images) for share in ((1 - level) / 2, (1 + level) / 2)]


def verdict(a: Group, b: Group, p: float, margin: float) -> str:
    """What a pair shows, in words: which is better, or whether both are within the margin (a fraction) of each other.

    Two one-sided tests at 5 % each: the 90 % interval lies inside the margin.
    """
    value, low, high = difference(a, b, 0.9)
    if p < 0.05:
        return "A is better" if value > 0 else "B is better"
    return "equivalent" if -100 * margin < low and high < 100 * margin else "open"


def ahead(a: Group, b: Group) -> float | None:
    """The share of pairs of runs in which A's has more images right, half of the ties included; None of single runs."""
    if min(len(a.whole), len(b.whole)) == 1:
        return None
    wins = [(x > y) + (x == y) / 2 for x in a.right.sum(1).tolist() for y in b.right.sum(1).tolist()]
    return fmean(wins)


class Pair(NamedTuple):
    """Two groups on the folds that both have, and their p after Holm's correction."""

    a: Group
    b: Group
    p: float


def pairs(groups: Sequence[Group], most: int) -> dict[tuple[int, int], Pair]:
    """The pairs of the `most` first groups in their order, by their indices: those with the best one first.

    Groups without a common fold are not compared.
    """
    best = groups.index(best_first(chosen(groups))[0])
    places = list(combinations(map(groups.index, in_order(groups)[:most]), 2))
    found: dict[tuple[int, int], tuple[Group, Group]] = {}
    for place in sorted(places, key=lambda place: best not in place):
        a, b = (groups[each] for each in place)
        if common := {run.fold for run in a.trained} & {run.fold for run in b.trained}:
            found[place] = a.on(common), b.on(common)
    tested = [probability_of_equals(a, b) for a, b in found.values()]
    corrected = multipletests(tested, method="holm")[1] if tested else []
    return {place: Pair(*both, p) for (place, both), p in zip(found.items(), corrected, strict=True)}


def letters(groups: Sequence[Group], most: int) -> list[str]:
    """The letters of the groups of a dataset: two share one unless they differ after Holm's correction.

    Those that are not among the `most` first have a dash.
    """
    ranked = in_order(groups)[:most]
    differ = {place for place, pair in pairs(ranked, most).items() if pair.p < 0.05}
    subsets = chain.from_iterable(combinations(range(len(ranked)), size) for size in range(len(ranked), 0, -1))
    largest: list[set[int]] = []
    for subset in subsets:
        if not differ.intersection(combinations(subset, 2)) and not any({*subset} <= one for one in largest):
            largest.append({*subset})
    named = list(zip("abcdefgh", sorted(map(sorted, largest)), strict=False))
    of_rank = {id(group): "".join(name for name, one in named if rank in one) for rank, group in enumerate(ranked)}
    return [of_rank.get(id(group), "–") for group in groups]


def committee(groups: Sequence[Group]) -> tuple[int, list[float]] | None:
    """How many runs the chosen groups have, and the accuracy of their mean probabilities, in percent; None of one.

    With folds, those of a pass over them count as one; None of groups on unlike folds.
    """
    if len({frozenset(run.fold for run in group.runs) for group in groups}) > 1:
        return None
    runs = [run for group in chosen(groups) for run in group.whole]
    if len(runs) == 1:
        return None
    mean = np.mean([run.probabilities("test") for run in runs], axis=0)
    right = int((mean.argmax(1) == runs[0].labels("test")).sum())
    return len(runs), [100 * share for share in with_interval(right, len(mean)) or []]


def with_interval(count: int, of: int) -> list[float] | None:
    """A share with Wilson's interval, fractions; None of nothing."""
    return [count / of, *proportion_confint(count, of, method="wilson")] if of else None
