"""Find how accurate one trained experiment is on corrupted test images: robustness.json into its folder.

python scripts/robustness.py digits/resnet50/quick/seed0
"""

from deepnets.planning.job_files import job_parser, load_job
from deepnets.utils import paths
from deepnets.utils.command_line import add_gpus, add_threads, importing, run
from deepnets.utils.logging import log_to


def main(argv: list[str] | None = None) -> None:
    parser = job_parser(__doc__, "robustness")
    add_threads(parser)
    add_gpus(parser)
    args = parser.parse_args(argv)
    log_to(args.log)
    with importing():
        from deepnets.evaluation.robustness import evaluate_robustness  # loads torch: here, an error is one line

    job, names = load_job("robustness", args)
    data, folder = (args.root / path.format(**names) for path in (paths.DATASET_INFO, paths.EXPERIMENT))
    evaluate_robustness(job, data, folder, threads=args.threads, gpus=args.gpus)


if __name__ == "__main__":
    run(main)
