"""Draw the learning curves of one experiment as PNG and SVG.

    python scripts/plot_learning_curves.py --job '{"experiment": {...}, "spec": {"models": {"resnet50": 0}}}' \\
        --history history.csv --png learning_curves.png --svg learning_curves.svg
"""

import argparse
import json
from pathlib import Path

from deepnets.evaluation.results import read_history
from deepnets.figures.learning_curves import learning_curves
from deepnets.figures.style import look, save, title
from deepnets.utils.checksums import record_checksums
from deepnets.utils.command_line import run


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--job",
        type=json.loads,
        required=True,
        help="JSON: experiment (its names) and spec.models (model: number that picks its colour)",
    )
    parser.add_argument("--history", required=True, help="the experiment's history.csv")
    parser.add_argument("--png", required=True, type=Path, help="figure to write")
    parser.add_argument("--svg", required=True, type=Path, help="the same figure to write, as vectors")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    names = args.job["experiment"]
    color = args.job["spec"]["models"][names["model"]]
    figure = learning_curves(read_history(args.history), look(names["model"], color), title(names))
    with record_checksums("learning_curves", args.png, args.svg):
        save(figure, args.png)
        save(figure, args.svg)


if __name__ == "__main__":
    run(main)
