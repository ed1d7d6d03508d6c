"""Draw one figure of one experiment as PNG and SVG.

    python scripts/plot_experiment.py --figure learning_curves --input history.csv \\
        --job '{"experiment": {...}, "spec": {"models": {"resnet50": 0}}}' \\
        --png learning_curves.png --svg learning_curves.svg
"""

import argparse
import json
from pathlib import Path

from deepnets.evaluation.results import read_history, read_metrics
from deepnets.figures import EXPERIMENT_FIGURES, load
from deepnets.figures.style import model_style, save
from deepnets.utils.checksums import record_checksums
from deepnets.utils.command_line import run

READERS = {"history.csv": read_history, "metrics.json": read_metrics}


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--job",
        type=json.loads,
        required=True,
        help="JSON: experiment (its names) and spec.models (model: number that chooses its colour)",
    )
    parser.add_argument("--figure", choices=EXPERIMENT_FIGURES, required=True)
    parser.add_argument("--input", required=True, help="the experiment's file that the figure reads")
    parser.add_argument("--png", required=True, type=Path, help="image to write")
    parser.add_argument("--svg", required=True, type=Path, help="the same image to write, as vectors")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    names = args.job["experiment"]
    style = model_style(names["model"], args.job["spec"]["models"][names["model"]])
    data = READERS[EXPERIMENT_FIGURES[args.figure].reads](args.input)
    figure = load(args.figure).draw(data, names, style)
    with record_checksums(args.figure, args.png, args.svg):
        save(figure, args.png)
        save(figure, args.svg)


if __name__ == "__main__":
    run(main)
