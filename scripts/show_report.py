"""Print where the report and its page are, and the first sentence.

python scripts/show_report.py
"""

import sys
from pathlib import Path

from deepnets.reporting.report import first_sentence
from deepnets.utils import paths
from deepnets.utils.command_line import USER_ERROR_EXIT_CODE, argument_parser, run
from deepnets.utils.logging import LOG


def main(argv: list[str] | None = None) -> None:
    argument_parser(__doc__, log=False).parse_args(argv)
    report, page = (path.format(suffix="") for path in (paths.REPORT, paths.REPORT_PAGE))
    try:
        text = Path(report).read_text(encoding="utf-8")
    except FileNotFoundError:
        LOG.error("error: %s: the file is missing; write it with: make report", report)
        sys.exit(USER_ERROR_EXIT_CODE)
    print(f"{report}, {page}: {first_sentence(text)}")


if __name__ == "__main__":
    run(main)
