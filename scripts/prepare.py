"""Turn the raw files of one dataset into arrays that training maps into memory.

    python scripts/prepare.py --dataset mnist --raw data/mnist/raw.json --output data/mnist/dataset.json \
        --job '{"spec": {"source": "torchvision", "name": "MNIST", "size": 28, "channels": 1}}'

The arrays go next to the output; dataset.json, which describes them, is written last. After a kill the same command
resumes.
"""

import argparse
import json
from pathlib import Path

from deepnets.data.prepare import prepare
from deepnets.utils.command_line import run
from deepnets.utils.logging import log_to


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Turn the raw files of one dataset into arrays.")
    parser.add_argument("--dataset", required=True, help="name of the dataset in config.yaml")
    parser.add_argument("--job", required=True, type=json.loads, help='JSON with "spec", the identity of the arrays')
    parser.add_argument("--raw", required=True, type=Path, help="raw.json that download.py wrote")
    parser.add_argument("--output", required=True, type=Path, help="dataset.json to write")
    parser.add_argument("--processes", type=int, default=1, help="that decode images (default: 1)")
    parser.add_argument("--log", help="file that the terminal's lines are appended to")
    args = parser.parse_args(argv)
    log_to(args.log)
    prepare(args.dataset, args.job["spec"], args.raw, args.output, args.processes, args.job.get("code"))


if __name__ == "__main__":
    run(main)
