"""The options that the scripts which use a trained network have in common, and the networks that they name.

torch is loaded only with the network: a mistake in a command is reported at once.
"""

import argparse
from typing import TYPE_CHECKING, Any

from deepnets.data.decode_options import LARGEST_MEGAPIXELS
from deepnets.data.member_names import is_encoding
from deepnets.evaluation.weights_file import find_weights
from deepnets.utils.command_line import number
from deepnets.utils.machine import usable_cores

if TYPE_CHECKING:
    from deepnets.evaluation.predictor import Model

IF_OUT_OF_MEMORY = "give fewer --threads, or refuse large pictures with --max-megapixels"


def add_experiment(parser: argparse.ArgumentParser) -> None:
    """Add `EXPERIMENT`, the trained network; `load_model` loads it."""
    parser.add_argument("experiment", metavar="EXPERIMENT", help="folder of a trained experiment, or a weights file")


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
        type=number(float, 0, LARGEST_MEGAPIXELS),
        help="refuse larger pictures (default: as the dataset did, usually 100)",
    )
    parser.add_argument("--threads", type=number(int, 1), help=f"{threads} (default: one for each core)")
    parser.add_argument(
        "--gpus", type=number(int, 0, 1), default=1, help="1: on a GPU; 0: on the CPU (default: 1, if there is one)"
    )


def load_model(args: argparse.Namespace) -> "Model":
    """Load the network of a command, and give torch its threads.

    Raises:
        UserError: as of `deepnets.evaluation.predictor.load`; a wrong path is reported before torch is loaded.
    """
    find_weights(args.experiment)
    import torch  # here, so that an error of torch is one line, too

    from deepnets.evaluation.predictor import load
    from deepnets.training.device import disable_malloc_trim

    disable_malloc_trim()
    torch.set_num_threads(min(args.threads or usable_cores(), usable_cores()))
    return load(args.experiment, device="auto" if args.gpus else "cpu", max_megapixels=args.max_megapixels)


def load_committee(args: argparse.Namespace, threads: int) -> tuple[list["Model"], int]:
    """Load the network of a command and those of its `--committee`, and divide the threads.

    Args:
        args: with `experiment`, `committee`, `temperature`, `max_megapixels` and `gpus`.
        threads: CPU threads in all.

    Returns:
        the networks, and how many batches to predict at once; torch has the threads of one batch.

    Raises:
        UserError: as of `deepnets.evaluation.predictor.load`; or the networks have not the same classes.
    """
    import torch  # here, so that an error of torch is one line

    from deepnets.evaluation.predictor import check_committee, count_workers, load
    from deepnets.training.device import disable_malloc_trim

    disable_malloc_trim()
    torch.set_num_threads(1)  # to load networks, several would wait longer than they work
    options: dict[str, Any] = {"device": "auto" if args.gpus else "cpu", "temperature": args.temperature}
    members = [load(path, **options, max_megapixels=args.max_megapixels) for path in [args.experiment, *args.committee]]
    check_committee(members)
    workers = count_workers(members, threads)
    torch.set_num_threads(max(1, threads // workers))
    return members, workers


def _encoding(name: str) -> str:
    if not is_encoding(name):
        raise argparse.ArgumentTypeError(f"must be an encoding that Python knows, such as cp437 (got {name[:60]!r})")
    return name
