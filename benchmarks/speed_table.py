"""The benchmark's table: each variant's time for an image, the ratios, and their summary over all pairs."""

import pandas as pd
from scipy.stats import gmean

import peers_table
from deepnets.models import display_name
from deepnets.reporting import markdown
from peers_table import spread

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
    """Return the ratios of the variants within each round: a row per (dataset, model, round), in the order measured.

    Columns `plain`, `ours`, `ceiling` in ms per image; `speedup` = plain / ours; `share` = ceiling / ours.
    """
    keys = ["dataset", "model", "round"]
    wide = pairs.pivot_table(index=keys, columns="way", values="ms_per_image", sort=False)
    plain, ours, ceiling = wide["plain"], wide["ours"], wide["ceiling"]
    return wide.assign(speedup=plain / ours, share=ceiling / ours).reset_index()


def table(measurements: pd.DataFrame, environment: dict) -> str:
    """Both tables as Markdown, under each what it means. One row per pair: medians, in brackets least and most.

    environment: where it was measured, from `deepnets.reporting.environment.describe`.
    """
    pairs, compared = (measurements[measurements["kind"] == kind] for kind in ("pairs", "peers"))
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
                *(spread(rounds[way], "{:.2f}") for way in ("plain", "ours", "ceiling")),
                spread(rounds["speedup"], "{:.1f}"),
                spread(100 * rounds["share"], "{:.0f}") + " %",
                f"{memory['plain']:,.0f} to {memory['ours']:,.0f}",
            ]
        )
    medians = by_pair[["speedup", "share"]].median()
    rounds = pairs["round"].nunique()
    return (
        f"{markdown.table(HEADER, rows, 2)}\n\n"
        f"Over the pairs, ours is {gmean(medians['speedup']):.1f} times as fast as the plain loop (geometric mean;"
        f" least {medians['speedup'].min():.1f}), which computes in float32{_best_flags(compared)}. It"
        f" reaches {100 * medians['share'].min():.0f} to"
        f" {100 * medians['share'].max():.0f} % of its ceiling (what is over 100 % is noise). Medians of {rounds}"
        " rounds, in brackets the least and the most. Each variant is a process of its own with"
        f" {environment['cores']} threads ({environment['cpu']}), at full image size, on random images; in a round"
        " each has the machine to itself for some seconds, in turn. Plain loop: torchvision dataset in memory,"
        " per-image transforms, DataLoader with two workers, float32, PyTorch's default layout, torchvision's own"
        " forward pass. Ceiling: our step on one batch that stays the same, without any work on data. Memory:"
        " the peak of the training process alone.\n\n"
        f"{_cores(measurements)}{_precision(measurements)}\n{peers_table.table(compared)}"
    )


def _best_flags(compared: pd.DataFrame) -> str:
    """Return the end of a sentence about the plain loop at its best flags; "" if it was not measured.

    compared: the rows of kind "peers".
    """
    if compared.empty:
        return ""
    best = compared[(compared["peer"] == "plain") & (compared["threads"] == compared["threads"].max())]
    speedup = peers_table.ratios(best).query("way == 'plain_best'").groupby(["dataset", "model"])["speedup"].median()
    return (
        f", and {gmean(speedup):.1f} times as fast as the same loop at its best flags, channels_last and bfloat16"
        f" autocast (least {speedup.min():.1f})"
    )


def side_by_side(measurements: pd.DataFrame) -> pd.Series:
    """Speed-up of training runs side by side, a thread each, over one with all threads, by (dataset, model).

    Medians over the rounds of the ratio within a round; empty where there is one core.
    """
    keys = ["dataset", "model", "round"]
    copies = measurements.get("copies", pd.Series(1, measurements.index)).fillna(1)
    together = measurements[(measurements["kind"] == "threads") & (copies > 1)].set_index(keys)["ms_per_image"]
    alone = measurements.query("kind == 'pairs' and way == 'ours'").set_index(keys)["ms_per_image"]
    return (alone / together).dropna().groupby(level=["dataset", "model"], sort=False).median()


def _cores(measurements: pd.DataFrame) -> str:
    gain = side_by_side(measurements)
    if gain.empty:
        return ""
    return (
        "Training runs side by side, a thread each, take"
        f" {gain.min():.2f} to {gain.max():.2f} times as many images in a second as one with all threads"
        f" (geometric mean {gmean(gain):.2f}). "
    )


def _precision(measurements: pd.DataFrame) -> str:
    """Return a sentence about the gain of bfloat16; "" if it was not measured."""
    keys = ["dataset", "model"]
    fp32 = measurements.query("kind == 'precision'").groupby(keys, sort=False)["ms_per_image"].median()
    auto = measurements.query("kind == 'pairs' and way == 'ours'").groupby(keys, sort=False)["ms_per_image"].median()
    times = [
        f"{display_name(model)} on {dataset} {ratio:.1f}" for (dataset, model), ratio in (fp32 / auto).dropna().items()
    ]
    return f"In float32, ours would take longer, by these factors: {', '.join(times)}." if times else ""
