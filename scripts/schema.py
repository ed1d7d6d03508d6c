"""Write the JSON schema of config.yaml, or check that the written one is up to date.

python scripts/schema.py
python scripts/schema.py --check
"""

import argparse
import json
import sys
from pathlib import Path

from deepnets.utils.command_line import run
from deepnets.utils.files import write_text

SCHEMA = Path(__file__).parent.parent / "workflow" / "schemas" / "config.schema.json"


def main(argv: list[str] | None = None) -> None:
    """Write the schema, or end with exit code 1 where `--check` finds that it is not the one of config.py."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file is out of date")
    parser.add_argument("--output", type=Path, default=SCHEMA, help="the schema file (default: %(default)s)")
    args = parser.parse_args(argv)

    from deepnets.config.schema import (
        json_schema,  # here, so that `run` words what is wrong with a network of one's own
    )

    text = json.dumps(json_schema(), indent=2) + "\n"
    if not args.check:
        write_text(args.output, text)
    elif not args.output.exists() or args.output.read_text(encoding="utf-8") != text:
        sys.exit(f"{args.output}: not the schema of scripts/deepnets/config; run: python scripts/schema.py")


if __name__ == "__main__":
    run(main)
