"""Write the report of the experiments that are finished: results/report.partial.md and report.partial.html.

    python scripts/report_now.py --study demo

It lists the experiments that are missing or have failed, with the commands that make them. Nothing is trained. It can
be called while Snakemake runs.
"""

from deepnets.planning.config_options import add_config_options, load_config_of
from deepnets.utils import paths
from deepnets.utils.command_line import argument_parser, run


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(__doc__, log=False)
    add_config_options(parser)
    args = parser.parse_args(argv)

    from deepnets.planning.jobs import Jobs  # here, so that `run` reports a mistake in a user's network
    from deepnets.planning.partial_report import write_partial_report

    finished, missing = write_partial_report(Jobs(load_config_of(args), paths.REPOSITORY, args.root))
    report, page = (args.root / path.format(suffix=paths.PARTIAL) for path in (paths.REPORT, paths.REPORT_PAGE))
    others = f"; it lists {missing} that are missing, with the commands that make them" if missing else ""
    print(f"{report}, {page}: the report of {finished} finished experiments{others}")


if __name__ == "__main__":
    run(main)
