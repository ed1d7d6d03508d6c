"""Draw the confusion matrix of one experiment's test part as PNG and SVG.

    python scripts/plot_confusion_matrix.py --job '{"experiment": {...}}' \\
        --metrics metrics.json --png confusion_matrix.png --svg confusion_matrix.svg
"""

import argparse
import json
from pathlib import Path

from deepnets.evaluation.results import read_metrics
from deepnets.figures.confusion_matrix import confusion_matrix
from deepnets.figures.style import save, title
from deepnets.utils.checksums import record_checksums
from deepnets.utils.command_line import run


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", type=json.loads, required=True, help="JSON: the experiment's names")
    parser.add_argument("--metrics", required=True, help="the experiment's metrics.json")
    parser.add_argument("--png", required=True, type=Path, help="figure to write")
    parser.add_argument("--svg", required=True, type=Path, help="the same figure to write, as vectors")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    metrics = read_metrics(args.metrics)
    test = metrics.test
    low, high = test.accuracy_ci95
    interval = f"95 % interval {100 * low:.2f} to {100 * high:.2f}"
    found = f"test accuracy {100 * test.accuracy:.2f} % ({interval}, {test.n:,} images)"
    figure = confusion_matrix(test.confusion_matrix, metrics.classes, title(args.job["experiment"], found))
    with record_checksums("confusion_matrix", args.png, args.svg):
        save(figure, args.png)
        save(figure, args.svg)


if __name__ == "__main__":
    run(main)
