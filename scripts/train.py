"""Train one experiment: weights, history and timing into the experiment's folder.

    python scripts/train.py --job JSON --data data/digits/dataset.json --output results/digits/resnet50/quick/seed0

The workflow writes the job; to train by hand: `snakemake --cores 2 results/digits/resnet50/quick/seed0/history.csv`.
A TERM, INT or HUP saves at the next step and exits with 75; the same command then continues from there. For several
GPUs or processes the script starts itself once for each, under torchrun; the first of them writes and reports.
"""

import argparse
import json
import sys
from pathlib import Path

from deepnets.training.experiment import train_experiment
from deepnets.utils.command_line import run


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", type=json.loads, required=True, help="JSON with the experiment's names, spec and code")
    parser.add_argument("--data", required=True, help="dataset.json of the prepared dataset")
    parser.add_argument("--output", type=Path, required=True, help="the experiment's folder")
    parser.add_argument("--log", help="file to which the terminal's lines are appended")
    parser.add_argument(
        "--parent", type=int, help="process id of the process that started this one: save and stop when it has ended"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads, of all processes together (default 1)")
    parser.add_argument(
        "--gpus", type=int, default=1, help="GPUs, a process each; 0: the CPU (default 1, if there is one)"
    )
    parser.add_argument("--processes", type=int, default=1, help="processes that share the work on the CPU (default 1)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    train_experiment(**vars(parse_args(argv)), command=[__file__, *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    run(main)
