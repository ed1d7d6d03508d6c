"""Write the report of a study (Markdown and HTML), its table of all metrics, and a description of machine and versions.

python scripts/report.py report
python scripts/report.py report-sweep
"""

from deepnets.planning.job_files import job_parser, load_job
from deepnets.reporting.report import write_report
from deepnets.utils.command_line import run
from deepnets.utils.logging import log_to


def main(argv: list[str] | None = None) -> None:
    args = job_parser(__doc__, "report").parse_args(argv)
    log_to(args.log)
    job, names = load_job("report", args)
    write_report(job["spec"], args.root, names["suffix"])


if __name__ == "__main__":
    run(main)
