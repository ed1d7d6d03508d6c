"""Download the raw files of one dataset.

    python scripts/download.py --dataset mnist --job '{"spec": {"source": "torchvision", "name": "MNIST"}}' \
        --output data/mnist/raw.json

Raw files go to raw/ beside the output; raw.json, which lists them with their hashes, is written last. The environment
variable DEEPNETS_MIRROR names a folder that has the files as <dataset>/<file>, for machines without internet.
"""

import argparse
import json
from pathlib import Path

from deepnets.data.download import remove_leftovers
from deepnets.data.sources import source
from deepnets.utils.checksums import record_checksums
from deepnets.utils.command_line import run
from deepnets.utils.files import write_json
from deepnets.utils.logging import log_to


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Download the raw files of one dataset.")
    parser.add_argument("--dataset", required=True, help="name of the dataset in config.yaml")
    parser.add_argument("--job", required=True, type=json.loads, help='JSON with "spec", what identifies the raw files')
    parser.add_argument("--mirror", help="folder or https:// address that has the files")
    parser.add_argument("--output", required=True, type=Path, help="raw.json to write")
    parser.add_argument("--log", help="file that the terminal's lines are appended to")
    args = parser.parse_args(argv)
    log_to(args.log)

    spec, folder = args.job["spec"], args.output.parent / "raw"
    remove_leftovers(folder)
    args.output.unlink(missing_ok=True)  # an old list never stands beside new files
    raw = source(spec["source"]).download(spec, args.dataset, args.mirror, folder)
    with record_checksums("download", args.output):
        write_json(args.output, {**raw, "state": args.job.get("state")})


if __name__ == "__main__":
    run(main)
