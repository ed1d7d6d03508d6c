"""What Snakemake would do, without doing it."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

JOB = re.compile(r"^Job \d+: (.*)$", re.MULTILINE)


class DryRun(NamedTuple):
    """What a dry run says, and how it ends."""

    output: str
    returncode: int

    @property
    def jobs(self) -> set[str]:
        """The messages of the planned jobs."""
        assert self.returncode == 0, self.output
        return set(JOB.findall(self.output))


@pytest.fixture(scope="session")
def dry_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., DryRun]]:
    """`snakemake --dry-run` in a folder: `dry_run(folder, *arguments, cores=1)`.

    `usable_cores`, `memory_gb`: as on a machine with so many and so much, whatever this one has.
    """
    output = tmp_path_factory.mktemp("dry_run") / "output"
    command = [sys.executable, Path(__file__).with_name("fork_snakemake.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:

        def run(
            folder: Path,
            *arguments: str,
            cores: int = 1,
            usable_cores: int | None = None,
            memory_gb: int | None = None,
        ) -> DryRun:
            request = {
                "folder": str(folder),
                "arguments": ["--dry-run", *arguments, "--cores", str(cores)],
                "output": str(output),
                "usable_cores": usable_cores,
                "memory_gb": memory_gb,
            }
            print(json.dumps(request), file=server.stdin, flush=True)
            return DryRun(returncode=int(server.stdout.readline()), output=output.read_text())

        yield run
        server.stdin.close()
