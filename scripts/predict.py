"""Predict pictures with a trained network: a line for each, with its class and probability.

    python scripts/predict.py results/digits/mobilenet_v2/quick/seed0 a.png folder/ b.zip
    find . -name '*.jpg' | python scripts/predict.py results/digits/mobilenet_v2/quick/seed0 - --top 3

Exit codes: 0; 1 if a picture is broken, which is reported at the end, after the others are done; 2 for a mistake.
"""

import argparse
import contextlib
import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from deepnets.evaluation.predict_options import (
    IF_OUT_OF_MEMORY,
    add_experiment,
    add_network_options,
    add_picture_options,
)
from deepnets.evaluation.weights_file import find_weights
from deepnets.utils.command_line import argument_parser, number, run
from deepnets.utils.errors import UserError
from deepnets.utils.files import atomic_path, error_names
from deepnets.utils.logging import LOG, log_to
from deepnets.utils.machine import usable_cores

if TYPE_CHECKING:
    from deepnets.data.decoders import Decoders
    from deepnets.data.pictures import PictureFile

MAX_TOP = 10_000  # classes


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argument_parser(__doc__, log=False)
    add_experiment(parser)
    parser.add_argument(
        "pictures",
        nargs="+",
        metavar="PICTURE",
        help="file, folder, archive or pattern in quotes, such as 'pictures/*.png'; -: a list on standard input",
    )
    parser.add_argument("--top", type=number(int, 1, MAX_TOP), default=1, help="how many classes (default: 1)")
    parser.add_argument("--json", action="store_true", help="a JSON object on each line instead of CSV")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write here (default: standard output)")
    parser.add_argument(
        "--committee", nargs="+", action="extend", default=[], metavar="EXPERIMENT", help="average with these networks"
    )
    parser.add_argument(
        "--temperature",
        type=number(float, 0.01, 100),
        help="divide the logits by this (default: the experiment's own, fitted on its validation images)",
    )
    add_picture_options(parser)
    add_network_options(parser, "CPU threads and processes")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    log_to(None)
    if args.output is not None and args.output.is_dir():
        raise UserError(f"--output: {args.output} is a folder; name a file.")
    for experiment in [args.experiment, *args.committee]:
        find_weights(experiment)
    from deepnets.data.decoders import start_decoders  # here, so that a mistake in the command is reported at once
    from deepnets.data.pictures import count_bytes, list_pictures

    threads = min(args.threads or usable_cores(), usable_cores())
    arguments, problems = named(args.pictures)
    files, unfound = list_pictures(arguments, args.encoding)
    problems += unfound
    # They start while this process loads torch.
    with start_decoders(len(files), threads, count_bytes(files)) as decoders:
        problems += predict(args, files, decoders, threads)
    for problem in problems:
        LOG.error("%s", problem)
    if problems:
        LOG.error("not predicted, as reported above: %d of the pictures, archives and folders", len(problems))
        sys.exit(1)


def predict(
    args: argparse.Namespace, files: "list[PictureFile]", decoders: "Decoders | None", threads: int
) -> list[str]:
    """Write the predictions; return a line for each broken picture."""
    import torch  # here, so that an error of torch is one line

    from deepnets.data.pictures import dim_line
    from deepnets.data.progress import progress_bar
    from deepnets.evaluation.predictor import check_committee, count_workers, load, predict_files
    from deepnets.training.device import disable_malloc_trim

    disable_malloc_trim()
    torch.set_num_threads(1)  # to load networks, several would wait longer than they work
    options: dict[str, Any] = {"device": "auto" if args.gpus else "cpu", "temperature": args.temperature}
    members = [load(path, **options, max_megapixels=args.max_megapixels) for path in [args.experiment, *args.committee]]
    check_committee(members)
    workers = count_workers(members, threads)
    torch.set_num_threads(max(1, threads // workers))
    top, problems, dim = min(args.top, len(members[0].classes)), list[str](), list[str]()
    with output_file(args.output) as file, progress_bar("predict", len(files), "pictures") as bar:
        write = json_writer(file, top) if args.json else csv_writer(file, top)
        reading = {"invert": args.invert, "encoding": args.encoding}
        for batch in predict_files(members, files, decoders, workers, **reading):
            # Where both are on one terminal, the bar steps aside.
            with bar.external_write_mode() if file.isatty() else contextlib.nullcontext():
                write(batch.top(top))
                file.flush()
            bar.update(len(batch.names) + len(batch.problems))
            problems += batch.problems
            dim += batch.dim
    if dim:
        LOG.warning("%s", dim_line(dim))
    return problems


def named(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return the arguments, for "-" the lines of standard input, and a line if it is empty."""
    names, problems = list[str](), list[str]()
    for argument in arguments:
        if argument != "-":
            names.append(argument)
            continue
        lines = map(os.fsdecode, sys.stdin.buffer)  # names of files are bytes
        listed = list(filter(None, (line.rstrip("\r\n") for line in lines)))
        names += listed
        if not listed:
            problems.append("-: the list on standard input is empty; write the name of a picture on each line.")
    return names, problems


@contextlib.contextmanager
def output_file(path: Path | None) -> Iterator[TextIO]:
    """Open a file that is written whole or not at all; or standard output, or what else is no regular file, as it is.

    A link stays one: what it leads to is written.
    """
    options: dict[str, Any] = {"mode": "w", "encoding": "utf-8", "errors": "surrogateescape"}
    if path is not None and (path.is_file() or not path.exists()):
        with atomic_path(path.resolve()) as temporary, open(temporary, **options) as file:
            yield file
        return
    target = sys.stdout.fileno() if path is None else path
    with error_names(path or "standard output"), open(target, closefd=path is not None, **options) as file:
        yield file


Rows = Iterable[tuple[str, list[tuple[str, float]]]]  # the name of a picture, its best classes with probabilities


def csv_writer(file: TextIO, top: int) -> Callable[[Rows], None]:
    writer = csv.writer(file, lineterminator="\n")
    more = [f"{column}_{rank}" for rank in range(2, top + 1) for column in ("class", "probability")]
    writer.writerow(["file", "class", "probability", *more])

    def write(rows: Rows) -> None:
        for name, best in rows:
            writer.writerow([name, *(value for each, probability in best for value in (each, f"{probability:.6f}"))])

    return write


def json_writer(file: TextIO, top: int) -> Callable[[Rows], None]:
    def write(rows: Rows) -> None:
        for name, best in rows:
            found = [{"class": each, "probability": round(probability, 6)} for each, probability in best]
            print(json.dumps({"file": name, **found[0], **({"top": found} if top > 1 else {})}), file=file)

    return write


if __name__ == "__main__":
    run(main, continues=False, if_out_of_memory=IF_OUT_OF_MEMORY)
