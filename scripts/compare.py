"""Compare the study's models on one dataset: intervals, paired tests, ranking and calibration into statistics.json.

python scripts/compare.py digits/comparison
python scripts/compare.py digits/comparison-sweep, for the report of the study `sweep` by its name
"""

from deepnets.planning.job_files import job_parser, load_job
from deepnets.utils import paths
from deepnets.utils.command_line import importing, run
from deepnets.utils.logging import log_to


def main(argv: list[str] | None = None) -> None:
    args = job_parser(__doc__, "compare").parse_args(argv)
    log_to(args.log)
    with importing():
        from deepnets.comparison.statistics import write_statistics  # loads scipy.stats: here, an error is one line

    job, names = load_job("compare", args)
    write_statistics(job, args.root, args.root / paths.STATISTICS.format(**names))


if __name__ == "__main__":
    run(main)
