"""The benchmark's second table: ours next to the peers of the folder peers/, each at its defaults and at its best."""

import pandas as pd
from scipy.stats import gmean

from deepnets.models import display_name
from deepnets.reporting import markdown
from peers import BEST, PEERS, peer_of

OF_RUN = ["threads", "dataset", "model"]

FLAGS = (
    "Images a second, medians, in brackets the least and the most of the rounds. All train the same network by SGD on"
    " the same random images, in the same batches, with the same crops and flips; a peer has its library's own loop,"
    " loader and optimizer, and two worker processes. A run has as many cores as threads, and its workers share them."
    " Best: channels_last, and bfloat16 autocast where the processor multiplies it natively; ours has both by default."
    " A peer and ours take turns, so that their ratio is taken within a round."
)


def name_of(way: str) -> str:
    """A variant's name for readers: "timm", "timm, best", "ours"."""
    peer = peer_of(way)
    return "ours" if peer is None else peer.name + (", best" if way.endswith(BEST) else "")


def ratios(measured: pd.DataFrame) -> pd.DataFrame:
    """Return how often as fast as each peer ours is, within each round.

    measured: the rows of kind "peers". The result has a row per (threads, dataset, model, way, round), and the columns
    `images_per_second` of the peer and `speedup`; in the order measured.
    """
    keys = [*OF_RUN, "peer", "round"]
    ours = measured[measured["way"] == "ours"].set_index(keys)["ms_per_image"].rename("ours")
    peers = measured[measured["way"] != "ours"].join(ours, on=keys)
    speedup = peers["ms_per_image"] / peers["ours"]
    return peers.assign(images_per_second=1e3 / peers["ms_per_image"], speedup=speedup)


def table(measured: pd.DataFrame) -> str:
    """The table as Markdown, from an empty line on, under it what it means; "" if no peer was measured.

    measured: the rows of kind "peers". One row per pair and number of threads.
    """
    if measured.empty:
        return ""
    compared = ratios(measured)
    ways = list(dict.fromkeys(compared["way"]))
    rows = []
    for (threads, dataset, model), chosen in compared.groupby(OF_RUN, sort=False):
        ours = measured[(measured[OF_RUN] == [threads, dataset, model]).all(axis=1) & (measured["way"] == "ours")]
        by_way = dict(iter(chosen.groupby("way", sort=False)))
        fastest = min(by_way, key=lambda way: by_way[way]["speedup"].median())
        rows.append(
            [
                dataset,
                display_name(model),
                str(threads),
                *(spread(by_way[way]["images_per_second"], "{:,.0f}") for way in ways),
                spread(1e3 / ours["ms_per_image"], "{:,.0f}"),
                f"{spread(by_way[fastest]['speedup'], '{:.2f}')} {name_of(fastest)}",
            ]
        )
    header = ["dataset", "network", "threads", *map(name_of, ways), "ours", "ours, as a multiple of the fastest peer"]
    return f"\n{markdown.table(header, rows, 2)}\n\n{FLAGS}{_absent(ways)}\n\n{_summary(compared)}\n"


def _absent(ways: list[str]) -> str:
    names = [peer.name for key, peer in PEERS.items() if key not in ways]
    return f" Not installed, so not measured: {', '.join(names)}." if names else ""


def _summary(compared: pd.DataFrame) -> str:
    """Return a paragraph per number of threads: means over the pairs, and where a peer is faster."""
    medians = compared.groupby([*OF_RUN, "way"], sort=False)["speedup"].median()
    paragraphs = []
    for threads, chosen in medians.groupby(level="threads", sort=False):
        means = [
            f"{name_of(way)} {gmean(values):.2f} ({values.min():.2f})"
            for way, values in chosen.groupby(level="way", sort=False)
        ]
        slower = [
            f"{display_name(model)} on {dataset} ({value:.2f} of {name_of(way)})"
            for (_, dataset, model, way), value in chosen.items()
            if round(value, 2) < 1
        ]
        number = "one thread" if threads == 1 else f"{threads} threads"
        means, slower = "; ".join(means), ", ".join(slower) or "no pair"
        paragraphs.append(
            f"With {number}, the speed of ours as a multiple of each peer's, geometric mean over the pairs and in"
            f" brackets the least: {means}. Ours is slower on {slower}."
        )
    return "\n\n".join(paragraphs)


def spread(values: pd.Series, form: str) -> str:
    """Median, and in brackets least and most where there are several."""
    middle, low, high = (form.format(value) for value in (values.median(), values.min(), values.max()))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"
