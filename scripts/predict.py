"""Predict pictures with a trained network: a line for each, with its class and probability.

    python scripts/predict.py results/digits/mobilenet_v2/quick/seed0 a.png folder/ b.zip
    find . -name '*.jpg' | python scripts/predict.py results/digits/mobilenet_v2/quick/seed0 - --top 3

Exit codes: 0; 1 if a picture is broken, which is reported at the end, after the others are done; 2 for a mistake.
"""

import argparse
import contextlib
import sys
from pathlib import Path

from deepnets.evaluation.predict_options import (
    IF_OUT_OF_MEMORY,
    add_experiment,
    add_network_options,
    add_picture_options,
    load_committee,
)
from deepnets.evaluation.weights_file import find_weights
from deepnets.utils.command_line import argument_parser, number, run
from deepnets.utils.errors import UserError
from deepnets.utils.logging import LOG, log_to
from deepnets.utils.machine import usable_cores

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
    from deepnets.data.pictures import count_bytes, list_pictures, read_names
    from deepnets.evaluation.prediction_lines import write_lines

    threads = min(args.threads or usable_cores(), usable_cores())
    arguments, problems = read_names(args.pictures)
    files, unfound = list_pictures(arguments, args.encoding)
    problems += unfound
    # They start while this process loads torch.
    with start_decoders(len(files), threads, lambda: count_bytes(files)) as decoders:
        members, workers = load_committee(args, threads)
        from deepnets.evaluation.predictor import predict_files  # here: it loads torch

        top = min(args.top, len(members[0].classes))
        batches = predict_files(members, files, decoders, workers, invert=args.invert, encoding=args.encoding)
        with contextlib.closing(batches):  # also after Ctrl-C: what waits is not predicted
            problems += write_lines(batches, args.output, len(files), top, args.json)
    for problem in problems:
        LOG.error("%s", problem)
    if problems:
        LOG.error("not predicted, as reported above: %d of the pictures, archives and folders", len(problems))
        sys.exit(1)


if __name__ == "__main__":
    run(main, continues=False, if_out_of_memory=IF_OUT_OF_MEMORY)
