"""Train one experiment: weights, history and timing into the experiment's folder.

    python scripts/train.py digits/resnet50/quick/seed0

A TERM, INT or HUP saves at the next step and exits with 75; the same command then resumes. For several GPUs or
processes the script starts itself once for each, under torchrun; the main one writes and logs.
"""

import sys
from argparse import Namespace
from pathlib import Path

from deepnets.config.weights import local_file, start_file
from deepnets.planning.job_files import job_parser, load_job, load_working_config
from deepnets.planning.study_time import StudyTime
from deepnets.utils import paths
from deepnets.utils.command_line import importing, number, run
from deepnets.utils.logging import log_to


def main(argv: list[str] | None = None) -> None:
    parser = job_parser(__doc__, "train")
    parser.add_argument(
        "--threads", type=number(int, 1), default=1, help="CPU threads, of all processes together (default: 1)"
    )
    parser.add_argument(
        "--gpus", type=number(int, 0), default=1, help="GPUs, a process each; 0: the CPU (default: 1, if there is one)"
    )
    parser.add_argument(
        "--processes", type=number(int, 1), default=1, help="that share the work on the CPU (default: 1)"
    )
    parser.add_argument(
        "--parent",
        type=number(int, 1, 2**31),
        help="process id of the process that started this one: save and stop when it has ended",
    )
    parser.add_argument("--weights", type=Path, metavar="FILE", help="the user's file of weights, wherever it is now")
    parser.add_argument("--tensorboard", action="store_true", help="write event files for TensorBoard, in logs/")
    args = parser.parse_args(argv)
    log_to(args.log)
    with importing():
        from deepnets.training.experiment import TrainingRun, train_experiment  # loads torch: an error is one line

    job, names = load_job("train", args)
    folder = paths.EXPERIMENT.format(**names)
    training = TrainingRun(
        job,
        args.root / paths.DATASET_INFO.format(**names),
        args.root / folder,
        threads=args.threads,
        gpus=args.gpus,
        processes=args.processes,
        log=args.log,
        parent=args.parent,
        extra=StudyTime(args.root, folder).text,
        weights=_weights(job["spec"].get("weights"), names["model"], args),
        tensorboard=args.root / paths.TENSORBOARD.format(**names) if args.tensorboard else None,
    )
    train_experiment(training, command=[__file__, *(sys.argv[1:] if argv is None else argv)])


def _weights(spec: dict[str, str] | None, model: str, args: Namespace) -> Path | None:
    """The file of the weights that the experiment starts from; None: from random ones."""
    if spec is None:
        return None
    if place := start_file(spec):
        return args.root / place
    return args.weights or local_file(load_working_config().models[model].weights or "")


if __name__ == "__main__":
    run(main)
