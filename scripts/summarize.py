"""Count a network's parameters, work and memory; needs no data.

python scripts/summarize.py --json summary.json --text summary.txt --job \
    '{"spec": {"model": {"architecture": "resnet50"}, "input_shape": [1, 28, 28], "num_classes": 10}}'
"""

import argparse
import json
from pathlib import Path

from deepnets.evaluation.network_summary import summarize
from deepnets.utils.checksums import record_checksums
from deepnets.utils.command_line import run
from deepnets.utils.files import write_json, write_text


def parse_args(argv=None) -> argparse.Namespace:
    """The command line's values, `job` decoded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", type=json.loads, required=True, help="JSON: spec {model, input_shape, num_classes}")
    parser.add_argument("--json", required=True, type=Path, metavar="PATH", help="where the figures go")
    parser.add_argument("--text", required=True, type=Path, metavar="PATH", help="where torchinfo's table goes")
    return parser.parse_args(argv)


def main(argv=None) -> None:
    """Write the figures and the table of the network that the job names."""
    args = parse_args(argv)
    spec = args.job["spec"]
    figures, table = summarize(spec["model"], spec["input_shape"], spec["num_classes"])
    with record_checksums("summarize", args.text, args.json):
        write_text(args.text, table)
        write_json(args.json, figures)


if __name__ == "__main__":
    run(main)
