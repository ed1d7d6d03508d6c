"""The benchmark's table: each way's time for an image, the ratios, and what they come to over all pairs."""

import pandas as pd
from scipy.stats import gmean

from deepnets.reporting import markdown
from deepnets.results import display_name

# What ours aims at: times as fast as the plain loop, in the geometric mean over all pairs and in each; share of the
# ceiling, in each.
MEAN_SPEEDUP, LEAST_SPEEDUP, LEAST_SHARE = 4.0, 2.5, 0.95

HEADER = (
    "dataset",
    "network",
    "batch",
    "our precision",
    "plain loop (ms an image)",
    "ours (ms an image)",
    "ceiling (ms an image)",
    "times as fast as the plain loop",
    "share of the ceiling",
    "memory, plain to ours (MB)",
)


def ratios(pairs: pd.DataFrame) -> pd.DataFrame:
    """How ours compares within each round: a row per (dataset, model, round), in the order measured.

    Columns `plain`, `ours`, `ceiling` in ms per image; `speedup` = plain / ours; `share` = ceiling / ours; `most` =
    plain / ceiling, the speed-up without any work on data.
    """
    keys = ["dataset", "model", "round"]
    wide = pairs.pivot_table(index=keys, columns="way", values="ms_per_image", sort=False)
    plain, ours, ceiling = wide["plain"], wide["ours"], wide["ceiling"]
    return wide.assign(speedup=plain / ours, share=ceiling / ours, most=plain / ceiling).reset_index()


def table(measurements: pd.DataFrame, environment: dict) -> str:
    """The table as Markdown, under it what it means. One row per pair: medians, in brackets least and most.

    environment: where it was measured, from `deepnets.reporting.environment.describe`.
    """
    pairs = measurements[measurements["kind"] == "pairs"]
    by_pair = ratios(pairs).groupby(["dataset", "model"], sort=False)
    rows = []
    for (dataset, model), rounds in by_pair:
        of_pair = pairs[(pairs["dataset"] == dataset) & (pairs["model"] == model)]
        memory = of_pair.groupby("way")["peak_memory_mb"].median()
        rows.append(
            [
                dataset,
                display_name(model),
                str(int(of_pair["batch"].iloc[0])),
                of_pair[of_pair["way"] == "ours"]["precision"].iloc[0],
                *(_spread(rounds[way], "{:.2f}") for way in ("plain", "ours", "ceiling")),
                _spread(rounds["speedup"], "{:.1f}"),
                _spread(100 * rounds["share"], "{:.0f}") + " %",
                f"{memory['plain']:,.0f} to {memory['ours']:,.0f}",
            ]
        )
    medians = by_pair[["speedup", "share", "most"]].median()
    rounds = measurements["round"].nunique()
    return (
        f"{markdown.table(HEADER, rows, 2)}\n\n"
        f"Over the pairs, ours is {gmean(medians['speedup']):.1f} times as fast as the plain loop (geometric mean;"
        f" least {medians['speedup'].min():.1f}) and reaches {100 * medians['share'].min():.0f} to"
        f" {100 * medians['share'].max():.0f} % of its ceiling. Medians of {rounds} rounds, in brackets the least and"
        f" the most; each measurement is a process of its own with {environment['cores']} threads"
        f" ({environment['cpu']}), at full image size, on random"
        " images. Plain loop: torchvision dataset in memory, per-image transforms, DataLoader with two workers,"
        " float32, PyTorch's default layout, torchvision's own forward pass. Ceiling: our step on one batch that stays"
        " the same, without any work on data. Memory: the peak of the training process alone.\n\n"
        f"{_aims(medians)}\n"
    )


def _aims(medians: pd.DataFrame) -> str:
    """Whether ours reaches what it aims at, where not and why; printed digits decide.

    medians: a row per (dataset, model), columns `speedup`, `share` and `most`.
    """
    missed, arithmetic = [], []
    mean = round(gmean(medians["speedup"]), 2)
    if mean < MEAN_SPEEDUP:
        missed.append(f"{mean:.2f} times the plain loop in the geometric mean")
    for (dataset, model), row in medians.round({"speedup": 2, "share": 3, "most": 2}).iterrows():
        if row["speedup"] < LEAST_SPEEDUP:
            missed.append(f"{display_name(model)} on {dataset} {row['speedup']:.2f} times the plain loop")
            if row["most"] < LEAST_SPEEDUP:
                arithmetic.append(f"{display_name(model)} on {dataset} {row['most']:.2f}")
        if row["share"] < LEAST_SHARE:
            missed.append(f"{display_name(model)} on {dataset} {100 * row['share']:.1f} % of the ceiling")
    outcome = f"missed: {', '.join(missed)}" if missed else "met"
    why = (
        " Not for its work on data: without any, the step is no more than these times as fast as the plain loop:"
        f" {', '.join(arithmetic)}. The rest is the network's arithmetic."
    )
    return (
        f"The aims, {MEAN_SPEEDUP:g} times the plain loop in the geometric mean, {LEAST_SPEEDUP:g} times in each and"
        f" {100 * LEAST_SHARE:g} % of the ceiling in each, are {outcome}.{why if arithmetic else ''}"
    )


def _spread(values: pd.Series, form: str) -> str:
    """Median, and in brackets least and most where there are several."""
    middle, low, high = (form.format(value) for value in (values.median(), values.min(), values.max()))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"
