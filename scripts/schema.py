"""Write the JSON schema of config.yaml, or check that the file is up to date.

python scripts/schema.py
python scripts/schema.py --check
"""

import json
import sys
from pathlib import Path

from deepnets.utils.command_line import argument_parser, run
from deepnets.utils.files import write_text

SCHEMA = Path(__file__).parent.parent / "workflow" / "schemas" / "config.schema.json"


def main(argv: list[str] | None = None) -> None:
    """Write the schema; with `--check`, end with exit code 1 if the file differs from the schema of config.yaml."""
    parser = argument_parser(__doc__, log=False)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the file is out of date")
    parser.add_argument("--output", type=Path, default=SCHEMA, help="the schema file (default: %(default)s)")
    args = parser.parse_args(argv)

    # The import fails with a UserError if a custom architecture has a mistake; `run` must catch it.
    from deepnets.config.schema import json_schema

    text = json.dumps(json_schema(), indent=2) + "\n"
    if not args.check:
        write_text(args.output, text)
    elif not args.output.exists() or args.output.read_text(encoding="utf-8") != text:
        sys.exit(f"{args.output}: differs from the schema of scripts/deepnets/config; run: python scripts/schema.py")


if __name__ == "__main__":
    run(main)
