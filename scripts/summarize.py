"""Count the parameters, operations and memory of a network; no data is needed.

python scripts/summarize.py --json summary.json --text summary.txt --job \
    '{"spec": {"model": {"architecture": "resnet50"}, "input_shape": [1, 28, 28], "num_classes": 10}}'
"""

import argparse
import json
from pathlib import Path

from deepnets.evaluation.network_summary import write_summary
from deepnets.utils.command_line import run


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the values of the command line, with `job` decoded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", type=json.loads, required=True, help="JSON: spec {model, input_shape, num_classes}")
    parser.add_argument("--json", required=True, type=Path, metavar="PATH", help="file for the counts")
    parser.add_argument("--text", required=True, type=Path, metavar="PATH", help="file for torchinfo's table")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Write the counts and the table of the network that the job names."""
    args = parse_args(argv)
    write_summary(args.job["spec"], args.json, args.text)


if __name__ == "__main__":
    run(main)
