"""The benchmark's figures: what an image costs by pair, threads, batch size and number of images."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepnets.figures.style import applied, model_style, save
from deepnets.models import display_name
from peers import BEST, PEERS
from peers_table import ratios

VARIANTS = {
    "plain": ("plain loop", "#888888"),
    "ours": ("ours", "#CC3311"),
    "ceiling": ("ceiling: no data work", "#004488"),
}
MS = "Time for an image (ms)"


@applied()
def draw_all(measurements: pd.DataFrame, folder: Path) -> None:
    """Write bench_pairs.png, bench_peers.png, bench_threads.png, bench_batch.png and bench_images.png into a folder.

    Those that nothing was measured for are left out.
    """
    kinds = dict(iter(measurements.groupby("kind")))
    kinds["threads"] = pd.concat([kinds["threads"], kinds["pairs"].query("way == 'ours'")])
    for draw in (pairs, peers, threads, batch, images):
        if draw.__name__ in kinds:
            save(draw(kinds[draw.__name__]), folder / f"bench_{draw.__name__}.png")


def pairs(measured: pd.DataFrame) -> Figure:
    """Draw the three variants of each pair, with the least and the most of the rounds."""
    figure, axes = _figure(1, (7.2, 3.4))
    places = _name_pairs(axes[0], measured)
    for way, (label, color) in VARIANTS.items():
        rounds = measured[measured["way"] == way].groupby(["dataset", "model"], sort=False)["ms_per_image"]
        middle = rounds.median()
        errors = [middle - rounds.min(), rounds.max() - middle]
        heights = [places[pair] for pair in middle.index]
        marker = "|" if way == "ceiling" else "o"
        axes[0].errorbar(
            middle, heights, xerr=errors, fmt=marker, markersize=9 if way == "ceiling" else 5, color=color, label=label
        )
    axes[0].set_xscale("log")
    axes[0].xaxis.set_major_formatter("{x:g}")
    axes[0].set_xlabel(f"{MS}, log scale")
    axes[0].set_title("What an image costs in training")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def peers(measured: pd.DataFrame) -> Figure:
    """Draw how often as fast as each peer ours is, by pair: hollow at the peer's defaults, filled at its best."""
    compared = ratios(measured)
    numbers = sorted(compared["threads"].unique())
    figure, axes = _figure(len(numbers), (7.6, 3.8))
    for number, panel in zip(numbers, axes, strict=True):
        chosen = compared[compared["threads"] == number]
        places = _name_pairs(panel, chosen)
        for place, (key, peer) in enumerate(PEERS.items()):
            for way, fill in ((key, "none"), (key + BEST, peer.color)):
                middle = chosen[chosen["way"] == way].groupby(["dataset", "model"], sort=False)["speedup"].median()
                heights = [places[pair] + 0.16 * (place - 1.5) for pair in middle.index]
                label = peer.name if fill != "none" and len(middle) and number == numbers[0] else None
                panel.plot(middle, heights, "o", markersize=5, mfc=fill, mec=peer.color, label=label)
        panel.axvline(1, color="#CC3311", linewidth=1)
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter("{x:g}")
        panel.set_xlabel("Ours, as a multiple of the peer's speed")
        panel.set_title("1 thread" if number == 1 else f"{number} threads")
    for panel in axes[1:]:
        panel.set_yticklabels([])
    figure.suptitle("Training speed; hollow: the peer's defaults, filled: its best flags")
    figure.legend(loc="outside lower center", ncols=len(PEERS))
    return figure


def threads(measured: pd.DataFrame) -> Figure:
    """Per pair: one thread alone, all threads on one training run, and as many one-thread runs side by side."""
    figure, axes = _figure(1, (7.2, 3.8))
    places = _name_pairs(axes[0], measured)
    variants = measured.fillna({"copies": 1}).groupby(["copies", "threads"])
    for offset, ((copies, number), chosen) in enumerate(variants):
        middle = chosen.groupby(["dataset", "model"], sort=False)["ms_per_image"].median()
        label = f"{int(copies)} training runs, 1 thread each" if copies > 1 else f"1 training run, threads: {number}"
        heights = [places[pair] + 0.27 * (offset - 1) for pair in middle.index]
        axes[0].barh(heights, middle, height=0.25, label=label, color=("#BBBBBB", "#E69F00", "#009E73")[offset])
    axes[0].set_xlabel(f"{MS}; of training runs side by side, of all together")
    axes[0].set_title("What to do with the cores")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def batch(measured: pd.DataFrame) -> Figure:
    """Time and memory against the batch size, a line per network."""
    figure, axes = _figure(2, (7.6, 3.4))
    for (_, model), rows in measured.groupby(["dataset", "model"], sort=False):
        style = model_style(model, 0)
        middle = rows.groupby("batch_size")[["ms_per_image", "peak_memory_mb"]].median()
        for panel, column in zip(axes, middle, strict=True):
            panel.plot(
                middle.index, middle[column], style.marker, ls=style.linestyle, color=style.color, label=style.label
            )
    sizes = sorted(measured["batch_size"].astype(int).unique())
    for panel, title, axis in zip(axes, ("Time", "Peak memory"), (MS, "MB"), strict=True):
        panel.set_xscale("log", base=2)
        panel.set_xticks(sizes, sizes)
        panel.set_xlabel("Batch size")
        panel.set_ylabel(axis)
        panel.set_ylim(0)
        panel.set_title(title)
    axes[0].legend()
    return figure


def images(measured: pd.DataFrame) -> Figure:
    """Seconds of an epoch against the number of training images, a line per variant."""
    figure, axes = _figure(1, (4.6, 3.4))
    for way, rows in measured.groupby("way", sort=False):
        label, color = VARIANTS[way]
        middle = rows.groupby("images")["ms_per_image"].median()
        seconds = middle * middle.index / 1e3
        axes[0].plot(seconds.index, seconds, "o-", color=color, label=label)
    counts = sorted(measured["images"].astype(int).unique())
    axes[0].set_xscale("log", base=2)
    axes[0].set_yscale("log")
    axes[0].yaxis.set_major_formatter("{x:g}")
    axes[0].set_xticks(counts, [f"{count:,}" for count in counts])
    axes[0].set_xlabel("Training images")
    axes[0].set_ylabel("First epoch (s), start-up of workers included")
    axes[0].set_title(f"{display_name(measured['model'].iloc[0])}, {measured['dataset'].iloc[0]}")
    axes[0].legend()
    return figure


def _name_pairs(axes: Axes, measured: pd.DataFrame) -> dict[tuple[str, str], int]:
    """Name the pairs down the y-axis; the place of each."""
    pairs = list(dict.fromkeys(zip(measured["dataset"], measured["model"], strict=True)))
    axes.set_yticks(range(len(pairs)), [f"{display_name(model)}, {dataset}" for dataset, model in pairs])
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    return {pair: place for place, pair in enumerate(pairs)}


def _figure(columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    figure = Figure(size, layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])
