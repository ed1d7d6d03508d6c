"""Draw one figure that compares the study's models on one dataset.

python scripts/plot_comparison.py digits/comparison/accuracy
"""

from deepnets.planning.job_files import job_parser, load_job
from deepnets.utils import paths
from deepnets.utils.command_line import importing, run
from deepnets.utils.logging import log_to


def main(argv: list[str] | None = None) -> None:
    args = job_parser(__doc__, "plot_comparison").parse_args(argv)
    log_to(args.log)
    with importing():
        from deepnets.figures.comparison_files import write_comparison_figure  # loads matplotlib

    job, names = load_job("plot_comparison", args)
    output = args.root / paths.COMPARISON_FIGURE.format(**names)
    write_comparison_figure(names["figure"], job, args.root, paths.REPOSITORY / paths.PUBLISHED, output)


if __name__ == "__main__":
    run(main)
