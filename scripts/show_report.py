"""Print where the report is, and its first sentence.

python scripts/show_report.py
"""

from deepnets.reporting.report import first_sentence
from deepnets.utils import paths
from deepnets.utils.command_line import run
from deepnets.utils.files import read_text


def main() -> None:
    print(f"{paths.REPORT}: {first_sentence(read_text(paths.REPORT))}")


if __name__ == "__main__":
    run(main)
