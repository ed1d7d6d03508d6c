"""Print where the report is, and its first sentence.

python scripts/show_report.py
"""

from pathlib import Path

from deepnets.reporting.report import first_sentence
from deepnets.utils import paths
from deepnets.utils.command_line import run


def main() -> None:
    print(f"{paths.REPORT}: {first_sentence(Path(paths.REPORT).read_text(encoding='utf-8'))}")


if __name__ == "__main__":
    run(main)
