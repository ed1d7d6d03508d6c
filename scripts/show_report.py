"""Print where the report is, and its first sentence.

python scripts/show_report.py
"""

from pathlib import Path

from deepnets.reporting.report import first_sentence
from deepnets.utils import paths
from deepnets.utils.command_line import argument_parser, run
from deepnets.utils.errors import UserError


def main(argv: list[str] | None = None) -> None:
    argument_parser(__doc__, log=False).parse_args(argv)
    try:
        text = Path(paths.REPORT).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{paths.REPORT}: the file is missing; write it with: make report") from None
    print(f"{paths.REPORT}: {first_sentence(text)}")


if __name__ == "__main__":
    run(main)
