"""Show the state of each experiment of the study: running, failed, waiting or done; and the time left.

    python scripts/status.py --study demo
    python scripts/status.py --watch

It only reads files, so it can be called on any machine that sees this folder, whatever runs the jobs.
"""

import contextlib
import sys

from deepnets.planning.config_options import add_config_options, load_config_of
from deepnets.utils import paths
from deepnets.utils.command_line import argument_parser, number, run


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(__doc__, log=False)
    add_config_options(parser)
    parser.add_argument(
        "--watch",
        type=number(float, 0.1, 3600),
        nargs="?",
        const=5.0,
        metavar="SECONDS",
        help="show it again every 5 seconds, or this many, until all experiments are done or have failed",
    )
    args = parser.parse_args(argv)

    from deepnets.planning.jobs import Jobs  # here, so that `run` reports a mistake in a user's network
    from deepnets.planning.status import failed_measurements, outdated_results, seconds_left, study_status
    from deepnets.planning.status_lines import status_lines, watch

    jobs = Jobs(load_config_of(args), paths.REPOSITORY, args.root)

    def read() -> tuple[list[str], bool]:
        statuses = study_status(jobs)
        ended = all(status.state in ("failed", "done") for status in statuses)
        left, outdated = seconds_left(statuses, jobs), outdated_results(statuses, jobs)
        return status_lines(jobs.config.study, statuses, left, failed_measurements(jobs), outdated), ended

    if args.watch is None:
        print("\n".join(read()[0]))
        return
    with contextlib.suppress(KeyboardInterrupt):  # the usual end of watching
        watch(read, args.watch, sys.stdout)


if __name__ == "__main__":
    run(main, continues=False)
