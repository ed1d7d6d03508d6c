"""Draw where one trained experiment found its surest mistakes: figures/saliency.png in its folder (Grad-CAM).

python scripts/saliency.py digits/resnet50/quick/seed0
"""

from deepnets.planning.job_files import job_parser, load_job
from deepnets.utils import paths
from deepnets.utils.command_line import add_threads, importing, run
from deepnets.utils.logging import log_to


def main(argv: list[str] | None = None) -> None:
    parser = job_parser(__doc__, "saliency")
    add_threads(parser)
    args = parser.parse_args(argv)
    log_to(args.log)
    with importing():
        from deepnets.figures.saliency import write_saliency  # loads torch: here, an error is one line

    job, names = load_job("saliency", args)
    write_saliency(job, args.root / paths.EXPERIMENT.format(**names), threads=args.threads)


if __name__ == "__main__":
    run(main)
