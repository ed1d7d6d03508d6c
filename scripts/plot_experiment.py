"""Draw the figures of one experiment as PNG and SVG.

python scripts/plot_experiment.py digits/resnet50/quick/seed0
"""

from deepnets.planning.job_files import job_parser, load_job
from deepnets.utils import paths
from deepnets.utils.command_line import importing, run
from deepnets.utils.logging import log_to


def main(argv: list[str] | None = None) -> None:
    args = job_parser(__doc__, "plot_experiment").parse_args(argv)
    log_to(args.log)
    with importing():
        from deepnets.figures.experiment_files import write_experiment_figures  # loads matplotlib

    job, names = load_job("plot_experiment", args)
    write_experiment_figures(job, args.root / paths.EXPERIMENT.format(**names))


if __name__ == "__main__":
    run(main)
