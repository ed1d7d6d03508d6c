"""Download the raw files of one dataset.

    python scripts/download.py --dataset mnist --job '{"spec": {"source": "torchvision", "name": "MNIST"}}' \
        --output data/mnist/raw.json

Raw files go to raw/ next to the output; raw.json, which lists them with their hashes, is written last. The environment
variable DEEPNETS_MIRROR names a folder that has the files as <dataset>/<file>, for machines without internet.
"""

import argparse
import json
from pathlib import Path

from deepnets.data.download import download
from deepnets.utils.command_line import run
from deepnets.utils.logging import log_to


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Download the raw files of one dataset.")
    parser.add_argument("--dataset", required=True, help="name of the dataset in config.yaml")
    parser.add_argument("--job", required=True, type=json.loads, help='JSON with "spec", the identity of the raw files')
    parser.add_argument("--mirror", help="folder or https:// address that has the files")
    parser.add_argument("--output", required=True, type=Path, help="raw.json to write")
    parser.add_argument("--log", help="file that the terminal's lines are appended to")
    args = parser.parse_args(argv)
    log_to(args.log)
    download(args.dataset, args.job["spec"], args.mirror, args.output, args.job.get("state"))


if __name__ == "__main__":
    run(main)
