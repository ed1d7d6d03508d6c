"""Evaluate one trained experiment: predictions.safetensors and metrics.json into its folder.

    python scripts/evaluate.py --job JSON --data data/digits/dataset.json \\
        --summary results/digits/resnet50/summary.json --output results/digits/resnet50/quick/seed0
"""

import argparse
import json
from pathlib import Path

from deepnets.evaluation.evaluate import evaluate_experiment
from deepnets.utils.command_line import run


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", type=json.loads, required=True, help="JSON with the experiment's names, spec and code")
    parser.add_argument("--data", required=True, help="dataset.json of the prepared dataset")
    parser.add_argument("--summary", required=True, help="summary.json of the network")
    parser.add_argument("--output", type=Path, required=True, help="the experiment's folder")
    parser.add_argument("--log", help="file to which the terminal's lines are appended")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--gpus", type=int, default=1, help="1: on a GPU; 0: on the CPU (default 1, if there is one)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    evaluate_experiment(**vars(parse_args(argv)))


if __name__ == "__main__":
    run(main)
