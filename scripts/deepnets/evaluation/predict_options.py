"""The options that the scripts which use a trained network have in common. Without torch."""

import argparse

from deepnets.data.decode_options import MOST_MEGAPIXELS
from deepnets.data.member_names import is_encoding
from deepnets.utils.command_line import number


def add_picture_options(parser: argparse.ArgumentParser) -> None:
    """Add `--invert` and `--encoding`, for pictures that are files."""
    parser.add_argument(
        "--invert", action="store_true", help="the pictures are dark on bright, the training images bright on dark"
    )
    parser.add_argument(
        "--encoding", type=_encoding, help="of names in archives that do not say theirs, such as cp437 or gbk"
    )


def add_network_options(parser: argparse.ArgumentParser, threads: str = "CPU threads") -> None:
    """Add `--max-megapixels`, `--threads`, which are so called in its help, and `--gpus`."""
    parser.add_argument(
        "--max-megapixels",
        type=number(float, 0, MOST_MEGAPIXELS),
        help="refuse larger pictures (default: as the dataset did, usually 100)",
    )
    parser.add_argument("--threads", type=number(int, 1), help=f"{threads} (default: one for each core)")
    parser.add_argument(
        "--gpus", type=number(int, 0, 1), default=1, help="1: on a GPU; 0: on the CPU (default: 1, if there is one)"
    )


def _encoding(name: str) -> str:
    if not is_encoding(name):
        raise argparse.ArgumentTypeError(f"must be an encoding that Python knows, such as cp437 (got {name[:60]!r})")
    return name
