"""Write what describes config.yaml, its JSON schema and docs/configuration.md, or check that both are up to date.

python scripts/schema.py
python scripts/schema.py --check
"""

import json
import sys
from pathlib import Path

from deepnets.utils.command_line import argument_parser, run
from deepnets.utils.files import write_text

ROOT = Path(__file__).resolve().parent.parent
SCHEMA, PAGE = "workflow/schemas/config.schema.json", "docs/configuration.md"
TEMPLATE = ROOT / "workflow/templates/configuration.md"


def main(argv: list[str] | None = None) -> None:
    """Write both files; with `--check`, end with exit code 1 if one differs from what config.yaml may say."""
    parser = argument_parser(__doc__, log=False)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is out of date")
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder of both files (default: the repository)")
    args = parser.parse_args(argv)

    # The import fails with a UserError if a custom architecture has a mistake; `run` must catch it.
    from deepnets.config.schema import json_schema, schema_with_units
    from deepnets.reporting.configuration_page import configuration_page

    page = configuration_page(TEMPLATE.read_text(encoding="utf-8"), schema_with_units())
    for name, text in {SCHEMA: json.dumps(json_schema(), indent=2) + "\n", PAGE: page}.items():
        file = args.root / name
        if not args.check:
            write_text(file, text)
        elif not file.exists() or file.read_text(encoding="utf-8") != text:
            sys.exit(f"{file}: differs from the options in scripts/deepnets; run: python scripts/schema.py")


if __name__ == "__main__":
    run(main)
