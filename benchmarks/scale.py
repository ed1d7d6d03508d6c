"""Measure the cost of the workflow itself, from 10 to 1,500 experiments, when nothing is trained: `make bench-scale`.

    PYTHONPATH=scripts python benchmarks/scale.py --output results --sizes 10 100 1000 1500

Snakemake plans, runs and looks after a study of each size in a folder of its own, with a stand-in for every job's
python (stand_in.py); then the report and its figures are made by the real scripts. CPU time is that of a command and
all its processes, memory the peak of its largest process. Writes bench-scale.json and bench-scale.md.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

import scale_study
from deepnets.config.loader import load_config
from deepnets.planning.job import NAMES
from deepnets.planning.job_files import job_file, write_job_file
from deepnets.planning.jobs import Jobs
from deepnets.reporting import environment, markdown
from deepnets.reporting.tables import MISSING
from deepnets.utils.command_line import run
from deepnets.utils.errors import UserError
from deepnets.utils.files import write_json, write_text

BENCHMARKS = Path(__file__).resolve().parent
ROOT = BENCHMARKS.parent
SIZES = (10, 100, 1000, 1500)  # the last has 4,500 jobs
TOTAL = re.compile(r"^total +(\d+)$", re.MULTILINE)

STAND_IN = str(BENCHMARKS / "stand_in.py")
# Snakemake, whose rules call the Python that runs it, with another Python for them: its first argument.
WITH_PYTHON = """
import sys
from snakemake.cli import main
sys.executable = sys.argv.pop(1)
main()
"""

DRY, ALL, NOTHING, WHY = "dry run, nothing built", "every job, by stand-ins", "run with nothing to do", "make why"


def measure(command: list[str], folder: Path, **variables: str) -> tuple[dict, str]:
    """Run a command in a folder; return what it took, and what it printed.

    Raises:
        UserError: it failed.
    """
    with open(folder / "output.txt", "w+") as output:
        start = time.monotonic()
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **variables}, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - start
        output.seek(0)
        printed = output.read()
    if process.returncode:
        raise UserError(f"{shlex.join(command)[:200]} failed in {folder}:\n{printed[-2000:]}")
    took = {
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "wall_seconds": round(wall, 2),
        "peak_memory_mb": round(usage.ru_maxrss * 1024 / 1e6),
    }
    return took, printed


def scale(experiments: int, folder: Path, cores: int) -> list[dict]:
    """Measure everything for a study of n experiments; a dict for each command, in order."""
    scale_study.checkout(ROOT, folder)
    scale_study.configure(folder / "config.yaml", experiments)
    jobs = Jobs(load_config(folder / "config.yaml"), folder, folder)
    scale_study.make_ready(jobs, ROOT, folder / "ready")
    stand_in = folder / "python"
    write_text(stand_in, f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -S {shlex.quote(STAND_IN)} "$@"\n')
    stand_in.chmod(0o755)

    targets = ["results/report.md", "all", "--cores", str(cores)]
    snakemake = [sys.executable, "-m", "snakemake", *targets]
    measured = []

    def take(what: str, command: list[str], **variables: str) -> str:
        took, printed = measure(command, folder, **variables)
        measured.append({"experiments": experiments, "what": what, **took})
        print("{experiments} experiments, {what}: {cpu_seconds} s CPU, {wall_seconds} s,"
              " {peak_memory_mb} MB".format(**measured[-1]), flush=True)  # fmt: skip
        return printed

    count = int(TOTAL.search(take(DRY, [*snakemake, "--dry-run"]))[1])
    take(ALL, [sys.executable, "-c", WITH_PYTHON, str(stand_in), *targets], READY=str(folder / "ready"))
    if TOTAL.search(take(NOTHING, snakemake)):
        raise UserError(f"{folder}: a second run had something to do")
    take(WHY, [sys.executable, "scripts/why.py"])
    for what, command in drawing(jobs, folder):
        take(what, [sys.executable, *command])
    return [{"jobs": count, **each} for each in measured]


def drawing(jobs: Jobs, root: Path) -> list[tuple[str, list[str]]]:
    """Return the commands of comparisons, figures and report, as their rules have them; write their jobs' files."""
    report = [("report", "report", {"suffix": ""})]
    compared = [("compare", "compare", {"dataset": "digits", "suffix": ""})]
    figures = [(f"figure {names['figure']}", "plot_comparison", names) for names in jobs.comparisons()]
    commands = []
    for what, stage, wildcards in compared + report + figures:
        name = NAMES[stage].format(**wildcards)
        fingerprint = jobs.fingerprint(stage, wildcards)
        write_job_file(root / job_file(stage, fingerprint), fingerprint)
        commands.append((what, [f"scripts/{stage}.py", name, "--job", job_file(stage, fingerprint)]))
    return commands


def table(measured: pd.DataFrame) -> str:
    """A row per command, CPU seconds by size, and under it what a further job costs and the memory."""
    jobs = measured.groupby("experiments")["jobs"].first()
    rows = []
    for what, of_command in measured.groupby("what", sort=False):
        # Not a number where a study has no such command: ten experiments have one learning rate, and no figure of it.
        cpu = of_command.set_index("experiments")["cpu_seconds"].reindex(jobs.index)
        last = of_command.iloc[-1]
        rows.append(
            [
                what,
                *(_one_decimal(cpu[size]) for size in jobs.index),
                *(_per_job(cpu, jobs, low, high) for low, high in _steps(jobs)),
                f"{last['wall_seconds']:.1f}",
                f"{last['peak_memory_mb']:,}",
            ]
        )
    sizes = [f"{size:,} experiments ({jobs[size]:,} jobs)" for size in jobs.index]
    steps = [f"ms a further job, {low:,} to {high:,}" for low, high in _steps(jobs)]
    header = ["command", *sizes, *steps, "wall time of the largest (s)", "memory of the largest (MB)"]
    return (
        f"{markdown.table(header, rows, 1)}\n\nCPU seconds of a command with all its processes. A cost is linear where"
        " a further job costs the same at every size.\n"
    )


def _steps(jobs: pd.Series) -> list[tuple[int, int]]:
    return list(zip(jobs.index[:-1], jobs.index[1:], strict=True))


def _per_job(cpu: pd.Series, jobs: pd.Series, low: int, high: int) -> str:
    return _one_decimal(1000 * (cpu[high] - cpu[low]) / (jobs[high] - jobs[low]))


def _one_decimal(value: float) -> str:
    return MISSING if pd.isna(value) else f"{value:.1f}"


def tens(text: str) -> int:
    """A multiple of ten, from the command line."""
    number = int(text)
    if number < 10 or number % 10:
        raise argparse.ArgumentTypeError(f"{text} is no multiple of ten")
    return number


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder for bench-scale.json and .md")
    parser.add_argument("--sizes", type=tens, nargs="+", default=SIZES, help="experiments; multiples of ten")
    parser.add_argument("--cores", type=int, default=2, help="that Snakemake may use (default 2)")
    parser.add_argument("--keep", type=Path, help="folder to work in and leave; default: one that is removed")
    args = parser.parse_args(argv)

    sizes = sorted(set(args.sizes))
    for folder in [args.keep / str(size) for size in sizes] if args.keep else []:
        if folder.exists():
            raise UserError(f"--keep: {folder} is there already; remove it, or name another folder.")
    measured = []
    with tempfile.TemporaryDirectory() as temporary:
        for size in sizes:
            folder = (args.keep or Path(temporary)).resolve() / str(size)
            folder.mkdir(parents=True)
            measured += scale(size, folder, args.cores)
            # after every size: who stops early keeps what is measured
            content = {"environment": environment.describe(ROOT), "measurements": measured}
            write_json(args.output / "bench-scale.json", content)
            write_text(args.output / "bench-scale.md", table(pd.DataFrame(measured)))
    print((args.output / "bench-scale.md").read_text())


if __name__ == "__main__":
    run(main)
