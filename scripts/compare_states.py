"""Compare two states of a study: what differs, which metrics moved beyond their noise, which test images flipped.

    python scripts/compare_states.py old/results results
    python scripts/compare_states.py HEAD~3:docs/runs/demo docs/runs/demo/metrics.csv

A state is a folder of results, a metrics.csv, or a git revision that holds one of these.
"""

from deepnets.reporting.state_changes import compare_states
from deepnets.reporting.states import open_state
from deepnets.utils.command_line import argument_parser, run


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(__doc__, log=False)
    parser.add_argument("before", metavar="A", help="the earlier state")
    parser.add_argument("after", metavar="B", help="the later state")
    args = parser.parse_args(argv)
    with open_state(args.before) as before, open_state(args.after) as after:
        print(compare_states(before, after), end="")


if __name__ == "__main__":
    run(main, continues=False)
