"""Look up the known vulnerabilities of the pinned packages; `make lint` runs it.

    python scripts/vulnerabilities.py

It runs pip-audit (uv downloads it, outside .venv), which asks PyPI's advisories. A vulnerability is an error. If
nothing can be looked up, for example without internet, the script prints that and ends without an error.
"""

import json
import subprocess
import sys
from collections.abc import Iterator

from deepnets.utils.command_line import argument_parser, run
from deepnets.utils.errors import UserError

PIP_AUDIT = (
    *(sys.executable, "-m", "uv", "tool", "run", "--quiet", "pip-audit==2.10.1"),
    *("--requirement", "requirements.txt", "--no-deps", "--disable-pip", "--progress-spinner", "off"),
    *("--format", "json"),
)


def main(argv: list[str] | None = None) -> None:
    argument_parser(__doc__, log=False).parse_args(argv)
    try:
        done = subprocess.run(PIP_AUDIT, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        print("requirements.txt: not audited (no answer within two minutes)")
        return
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last_line = (done.stderr.strip() or "pip-audit printed nothing").splitlines()[-1]
        print(f"requirements.txt: not audited ({last_line[:200]})")
        return
    found = list(vulnerabilities(packages))
    if found:
        raise UserError("\n".join(found))
    looked_up = sum("vulns" in package for package in packages)  # PyPI does not know the others
    print(f"requirements.txt: {looked_up} of {len(packages)} packages looked up, no known vulnerability")


def vulnerabilities(packages: list[dict]) -> Iterator[str]:
    """Yield a line for every vulnerability in pip-audit's list of packages: what it is and what to do."""
    for package in packages:
        for found in package.get("vulns", ()):
            fixed = " or ".join(found["fix_versions"])
            hint = f"raise it to {fixed} in pyproject.toml, then make requirements" if fixed else "no version fixes it"
            yield f"requirements.txt: {package['name']} {package['version']}: {found['id']}; {hint}"


if __name__ == "__main__":
    run(main)
