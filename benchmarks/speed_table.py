"""The benchmark's table: each way's time for an image, the ratios, and what they come to over all pairs."""

import pandas as pd
from scipy.stats import gmean

from deepnets.reporting import markdown
from deepnets.results import display_name

HEADER = (
    "dataset",
    "network",
    "batch",
    "plain loop (ms an image)",
    "ours (ms an image)",
    "ceiling (ms an image)",
    "times as fast as the plain loop",
    "share of the ceiling",
    "memory, plain to ours (MB)",
)


def ratios(pairs: pd.DataFrame) -> pd.DataFrame:
    """How ours compares within each round: a row per (dataset, model, round), in the order measured.

    Columns `plain`, `ours`, `ceiling` in ms per image; `speedup` = plain / ours; `share` = ceiling / ours.
    """
    keys = ["dataset", "model", "round"]
    wide = pairs.pivot_table(index=keys, columns="way", values="ms_per_image", sort=False)
    return wide.assign(speedup=wide["plain"] / wide["ours"], share=wide["ceiling"] / wide["ours"]).reset_index()


def table(measurements: pd.DataFrame, cores: int) -> str:
    """The table as Markdown, under it what it means. One row per pair: medians, in brackets least and most."""
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
                *(_spread(rounds[way], "{:.2f}") for way in ("plain", "ours", "ceiling")),
                _spread(rounds["speedup"], "{:.1f}"),
                _spread(100 * rounds["share"], "{:.0f}") + " %",
                f"{memory['plain']:,.0f} to {memory['ours']:,.0f}",
            ]
        )
    medians = by_pair[["speedup", "share"]].median()
    rounds = measurements["round"].nunique()
    return (
        f"{markdown.table(HEADER, rows, 2)}\n\n"
        f"Over the pairs, ours is {gmean(medians['speedup']):.1f} times as fast as the plain loop (geometric mean;"
        f" least {medians['speedup'].min():.1f}) and reaches {100 * medians['share'].min():.0f} to"
        f" {100 * medians['share'].max():.0f} % of its ceiling. Medians of {rounds} rounds, in brackets the least and"
        f" the most; each measurement is a process of its own with {cores} threads, at full image size, on random"
        " images. Plain loop: torchvision dataset in memory, per-image transforms, DataLoader with two workers,"
        " float32, PyTorch's default layout, torchvision's own forward pass. Ceiling: our step on one batch that stays"
        " the same, without any work on data. Memory: the peak of the training process alone.\n"
    )


def _spread(values: pd.Series, form: str) -> str:
    """Median, and in brackets least and most where there are several."""
    middle, low, high = (form.format(value) for value in (values.median(), values.min(), values.max()))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"
