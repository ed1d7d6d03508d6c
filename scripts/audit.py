"""Look the pinned packages up among the known vulnerabilities; a part of `make lint`.

    python scripts/audit.py

pip-audit does it (uv fetches it, outside .venv) and asks PyPI's advisories. A vulnerability is an error; where nothing
can be looked up, without internet for one, that is said and is none.
"""

import json
import subprocess
import sys
from collections.abc import Iterator

from deepnets.utils.command_line import run
from deepnets.utils.errors import UserError

PIP_AUDIT = (
    *(sys.executable, "-m", "uv", "tool", "run", "--quiet", "pip-audit==2.10.1"),
    *("--requirement", "requirements.txt", "--no-deps", "--disable-pip", "--progress-spinner", "off"),
    *("--format", "json"),
)


def main() -> None:
    try:
        done = subprocess.run(PIP_AUDIT, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        print("requirements.txt: not audited (no answer within two minutes)")
        return
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last_line = (done.stderr.strip() or "pip-audit said nothing").splitlines()[-1]
        print(f"requirements.txt: not audited ({last_line[:200]})")
        return
    found = list(vulnerabilities(packages))
    if found:
        raise UserError("\n".join(found))
    looked_up = sum("vulns" in package for package in packages)  # the others, PyPI does not know
    print(f"requirements.txt: {looked_up} of {len(packages)} packages looked up, no known vulnerability")


def vulnerabilities(packages: list[dict]) -> Iterator[str]:
    """A line for every vulnerability of pip-audit's list of packages, with the way out."""
    for package in packages:
        for found in package.get("vulns", ()):
            fixed = " or ".join(found["fix_versions"])
            way_out = (
                f"raise it to {fixed} in pyproject.toml, then make requirements" if fixed else "no version mends it"
            )
            yield f"requirements.txt: {package['name']} {package['version']}: {found['id']}; {way_out}"


if __name__ == "__main__":
    run(main)
