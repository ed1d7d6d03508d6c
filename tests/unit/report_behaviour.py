"""The numbers of a report's tables of behaviour: calibration, when to trust an answer, and corrupted images."""

import json
import math
from collections.abc import Sequence
from statistics import fmean

import numpy as np
import pandas as pd
from recomputed import Group, Run, log_loss
from report_cells import Cell, Near
from scipy.stats import chi2, norm

_DRAWS = 20_000


def of_calibration(group: Group) -> dict[str, Cell]:
    """A row of the table of calibration; of several seeds the means, and the lowest and highest error.

    With folds, numbers are of a pass over them; each network has a temperature of its own.
    """
    runs = group.whole
    found = [_calibration_error(run.probabilities("test").max(1), run.right("test")) for run in runs]
    value, low, high, width = np.mean(found, axis=0)
    temperatures = [[_temperature(part) for part in run.parts] for run in runs]
    scaled = [
        np.concatenate([part.probabilities("test", each) for part, each in zip(run.parts, of_run, strict=True)])
        for run, of_run in zip(runs, temperatures, strict=True)
    ]
    after = [
        _calibration_error(probabilities.max(1), run.right("test"))[0]
        for run, probabilities in zip(runs, scaled, strict=True)
    ]
    losses = [log_loss(run.labels("test"), each) for run, each in zip(runs, scaled, strict=True)]
    temperature = float(np.mean(temperatures))
    risks = [_risks(run) for run in runs]
    sets = [_conformal(run) for run in runs]
    errors = [each[0] for each in found]
    bounds = [Near(bound, 0.1 * width) for bound in (low, high)] if len(runs) == 1 else [min(errors), max(errors)]
    return {
        "Log loss": [fmean(run.loss("test") for run in runs)],
        "Brier score": [fmean(map(_brier, runs))],
        "Calibration error (%)": [value, *bounds],
        "Temperature": [Near(temperature, 0.003 * temperature)],
        "Log loss after": [Near(fmean(losses), 0.0002)],
        "Calibration error after (%)": [Near(fmean(after), 0.06)],
        "Accuracy on the surest 90 % (%)": [100 * fmean(1 - float(each[round(0.9 * len(each)) - 1]) for each in risks)],
        "AURC (%)": [100 * fmean(float(each.mean()) for each in risks)],
        "Classes per set": [fmean(size for size, _ in sets)],
        "Sets with the true class (%)": [100 * fmean(coverage for _, coverage in sets)],
    }


def _calibration_error(confidence: np.ndarray, right: np.ndarray) -> list[float]:
    """The debiased calibration error over 15 bins of equal mass, its interval by other draws, and the width of that
    before it is cut at 0 and 100; in percent. It begins at 0 where 2.5 % of calibrated networks would have such gaps.
    """
    edges = np.unique(np.quantile(confidence, np.linspace(0, 1, 16)[1:-1]))
    place = pd.cut(confidence, [-np.inf, *edges, np.inf], labels=False)
    bins = pd.DataFrame({"gap": right - confidence}).groupby(place)["gap"].agg(["size", "mean", "std"])
    share, gap = (bins["size"] / len(right)).to_numpy(), bins["mean"].abs().to_numpy()
    error = (bins["std"].fillna(0.0) / np.sqrt(bins["size"])).to_numpy()
    scale = np.maximum(error, 1e-12)

    def debiased(gaps: np.ndarray) -> np.ndarray:
        ratio = gaps / scale
        absolute = 2 * scale * norm.pdf(ratio) + gaps * (norm.cdf(ratio) - norm.cdf(-ratio))  # mean, x normal
        return (2 * gaps - absolute) @ share

    value, random = float(debiased(gap)), np.random.default_rng(1)
    draws = debiased(np.abs(random.normal(gap, error, (_DRAWS, len(gap)))))
    low, high = np.quantile(draws - draws.mean(), [0.025, 0.975])
    bounds = np.clip([value - high, value - low], 0, 1).tolist()
    calibrated = np.abs(random.normal(0, error, (_DRAWS, len(gap)))) @ share
    bounds[0] *= float(gap @ share > np.quantile(calibrated, 0.975))
    return [100 * max(0.0, value), *(100 * bound for bound in bounds), 100 * float(high - low)]


def _temperature(run: Run) -> float:
    """The temperature with the least loss on the validation images, by ever finer steps.

    It is 1 if all are right, or if twice what it gains in log-likelihood is no more than chance has in 95 % of cases.
    """
    if run.right("validation").all():
        return 1.0
    low, high = -3.0, 3.0
    for _ in range(7):
        steps = np.linspace(low, high, 13)
        best = int(np.argmin([run.loss("validation", math.exp(step)) for step in steps]))
        low, high = steps[max(0, best - 1)], steps[min(12, best + 1)]
    best = math.exp((low + high) / 2)
    gained = run.loss("validation") - run.loss("validation", best)
    return best if chi2(1).sf(2 * gained * len(run.labels("validation"))) < 0.05 else 1.0


def _brier(run: Run) -> float:
    probabilities = run.probabilities("test")
    return float(((probabilities - np.eye(probabilities.shape[1])[run.labels("test")]) ** 2).sum(1).mean())


def _risks(run: Run) -> np.ndarray:
    """The share of errors among the k surest test images, for each k."""
    frame = pd.DataFrame({"sure": run.probabilities("test").max(1), "wrong": ~run.right("test")}).astype(float)
    frame["wrong"] = frame.groupby("sure")["wrong"].transform("mean")
    return frame.sort_values("sure", ascending=False)["wrong"].expanding().mean().to_numpy()


def _conformal(run: Run) -> tuple[float, float]:
    """Mean size and coverage of the sets that should hold the true class in 95 % of images."""
    sets = np.concatenate([_sets(part) for part in run.parts])
    return float(sets.sum(1).mean()), float(sets[np.arange(len(sets)), run.labels("test")].mean())


def _sets(run: Run) -> np.ndarray:
    of_true = run.probabilities("validation")[np.arange(len(run.labels("validation"))), run.labels("validation")]
    rank = math.ceil((len(of_true) + 1) * 0.95)
    least = np.sort(of_true)[::-1][rank - 1] if rank <= len(of_true) else 0.0
    return run.probabilities("test") >= least


def of_corruptions(group: Group) -> dict[str, Cell]:
    """A row of the table of corrupted images, with the spread over several seeds or passes over the folds."""
    found = pd.DataFrame([_corrupted(run) for run in group.whole])
    spread = {name: _with_spread(found[name]) for name in ("As they are", "Corrupted")}
    return {name: [100 * found[name].mean()] for name in found} | spread


def _corrupted(run: Run) -> pd.Series:
    """The accuracies of a run as fractions; with folds, of those of a pass together: a column of the table for each."""
    accuracies, images = [], []
    for part in run.parts:
        file = json.loads((part.folder / "robustness.json").read_text())
        kinds = pd.DataFrame(file["corruptions"]).rename(
            columns=lambda kind: "JPEG" if kind == "jpeg" else kind.title()
        )
        as_they_are = part.right("test").mean() if file["n"] == file["of"] else file["accuracy"]
        accuracies.append({"As they are": as_they_are, "Corrupted": kinds.to_numpy().mean(), **kinds.mean()})
        images.append(file["n"])
    return pd.DataFrame(accuracies).mul(images, axis=0).sum() / sum(images)


def _with_spread(shares: Sequence[float]) -> list[float]:
    """The mean in percent, and of several the standard deviation."""
    return [100 * float(np.mean(shares)), *([100 * float(np.std(shares, ddof=1))] if len(shares) > 1 else [])]
