"""Find how accurate one trained experiment is on corrupted test images: robustness.json into its folder.

python scripts/robustness.py digits/resnet50/quick/seed0
"""

from deepnets.planning.job_files import job_parser, load_job
from deepnets.utils import paths
from deepnets.utils.command_line import number, run
from deepnets.utils.logging import log_to


def main(argv: list[str] | None = None) -> None:
    parser = job_parser(__doc__, "robustness")
    parser.add_argument("--threads", type=number(int, 1), default=1, help="CPU threads (default: 1)")
    parser.add_argument(
        "--gpus", type=number(int, 0), default=1, help="1: on a GPU; 0: on the CPU (default: 1, if there is one)"
    )
    args = parser.parse_args(argv)
    log_to(args.log)
    from deepnets.evaluation.robustness import evaluate_robustness  # loads torch: here, an error is one line

    job, names = load_job("robustness", args)
    data, folder = (args.root / path.format(**names) for path in (paths.DATASET_INFO, paths.EXPERIMENT))
    evaluate_robustness(job, data, folder, threads=args.threads, gpus=args.gpus)


if __name__ == "__main__":
    run(main)
