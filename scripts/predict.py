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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from deepnets.utils.command_line import argument_parser, number, run
from deepnets.utils.files import atomic_path
from deepnets.utils.logging import LOG, log_to
from deepnets.utils.machine import usable_cores

MAX_TOP = 10_000  # classes


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argument_parser(__doc__, log=False)
    parser.add_argument("experiment", metavar="EXPERIMENT", help="folder of a trained experiment, or a weights file")
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
    parser.add_argument(
        "--invert", action="store_true", help="the pictures are dark on bright, the training images bright on dark"
    )
    parser.add_argument(
        "--max-megapixels", type=number(float, 0, 1000), default=100, help="refuse larger pictures (default: 100)"
    )
    parser.add_argument("--threads", type=number(int, 1), help="CPU threads and processes (default: one for each core)")
    parser.add_argument(
        "--gpus", type=number(int, 0, 1), default=1, help="1: on a GPU; 0: on the CPU (default: 1, if there is one)"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    log_to(None)
    import torch  # here, so that a mistake in the command is reported at once, and an error of torch in one line

    from deepnets.data.pictures import Problem, find
    from deepnets.data.progress import progress_bar
    from deepnets.evaluation.predictor import check_committee, load, predict_places

    threads = min(args.threads or usable_cores(), usable_cores())
    torch.set_num_threads(threads)
    options = {"device": "auto" if args.gpus else "cpu", "temperature": args.temperature}
    members = [load(path, **options, max_megapixels=args.max_megapixels) for path in [args.experiment, *args.committee]]
    check_committee(members)
    places, problems = find(named(args.pictures))
    top = min(args.top, len(members[0].classes))
    with output_file(args.output) as file, progress_bar("predict", len(places), "pictures") as bar:
        write = json_writer(file, top) if args.json else csv_writer(file, top)
        for name, found in predict_places(members, places, threads, invert=args.invert):
            bar.update()
            if isinstance(found, Problem):
                problems.append(found.line)
                continue
            with bar.external_write_mode():
                write(name, found.top(top))
    for problem in problems:
        LOG.error("%s", problem)
    if problems:
        LOG.error("%d could not be predicted, and are reported above", len(problems))
        sys.exit(1)


def named(arguments: list[str]) -> Iterator[str]:
    """Yield the arguments, and for "-" the lines of standard input."""
    for argument in arguments:
        if argument == "-":
            lines = map(os.fsdecode, sys.stdin.buffer)  # names of files are bytes
            yield from filter(None, (line.rstrip("\r\n") for line in lines))
        else:
            yield argument


@contextlib.contextmanager
def output_file(path: Path | None) -> Iterator[TextIO]:
    if path is not None:
        with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file:
            yield file
        return
    try:
        with open(sys.stdout.fileno(), "w", encoding="utf-8", errors="surrogateescape", closefd=False) as file:
            yield file
    except BrokenPipeError:  # as of `| head`: nobody reads any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


Write = Callable[[str, list[tuple[str, float]]], None]


def csv_writer(file: TextIO, top: int) -> Write:
    writer = csv.writer(file, lineterminator="\n")
    more = [f"{column}_{rank}" for rank in range(2, top + 1) for column in ("class", "probability")]
    writer.writerow(["file", "class", "probability", *more])
    return lambda name, best: writer.writerow(
        [name, *(value for pair in best for value in (pair[0], f"{pair[1]:.6f}"))]
    )


def json_writer(file: TextIO, top: int) -> Write:
    def write(name: str, best: list[tuple[str, float]]) -> None:
        rows = [{"class": each, "probability": round(probability, 6)} for each, probability in best]
        print(json.dumps({"file": name, **rows[0], **({"top": rows} if top > 1 else {})}), file=file)

    return write


if __name__ == "__main__":
    run(main)
