"""Compare our training with other libraries, with a plain loop, and with its own ceiling: `make bench`.

    PYTHONPATH=scripts python benchmarks/speed.py --output results --rounds 6
    PYTHONPATH=scripts python benchmarks/speed.py --output results --quick

Each variant runs in its own process (measure.py). The processes of a group live at the same time (for VGG-16, 16 GB in
all on two cores, and 3 GB for each further core) and take turns: in a round each has some seconds alone on the
machine, in another order than in the round before. So other load on the machine affects all variants equally; ratios
are taken within a round, then their median. A group is a pair's plain loop, ours and ceiling, or one of the folder
peers/ at its defaults and at its best, and ours. Peers that are not installed are left out. The plots of batch size
and number of images are measured once. Writes bench.json, bench.md and bench_*.png. The same command continues a run
that was stopped, with the first group that is not whole in bench.json, unless code, machine or versions have changed;
to measure again, delete that file. --quick shows in a minute that all of it works: one pair, one round, into the folder
quick/ below; its numbers mean little.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import accumulate, product
from pathlib import Path

import pandas as pd

import speed_plots
from deepnets.config.experiment import Experiment
from deepnets.config.loader import load_config
from deepnets.reporting import environment
from deepnets.utils.command_line import run
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json, write_json, write_text
from deepnets.utils.machine import usable_cores
from peers import BEST, installed_peers
from speed_table import table

BENCHMARKS = Path(__file__).resolve().parent
ROOT = BENCHMARKS.parent

SMALL = ("mnist", "mobilenet_v2")  # the pair of the curve over images: the data work weighs most in it
BATCH_PAIRS = (SMALL, ("mnist", "resnet50"))
BATCH_SIZES = (16, 32, 64, 128, 256)
IMAGES = (1024, 4096, 16384)


def pairs_of(experiments: list[Experiment]) -> list[tuple[str, str]]:
    """Dataset and model of each experiment, once however many seeds it has."""
    return list(dict.fromkeys((experiment.dataset, experiment.model) for experiment in experiments))


def plan(
    pairs: list[tuple[str, str]], cores: int, rounds: int, peers: list[str], explore: bool = True
) -> list[tuple[list[dict], int]]:
    """Jobs that take turns, and for how many rounds; a job's `kind` names its table or figure."""
    groups = [group for pair in pairs for group in (compared(*pair, cores), *with_peers(*pair, cores, peers))]
    once = explored(pairs, cores) if explore else []
    return [*((jobs, rounds) for jobs in groups), *(([job], 1) for job in once)]


def compared(dataset: str, model: str, cores: int) -> list[dict]:
    """Return the three variants of a pair, and one-thread copies of ours, one for each core."""
    job = {"dataset": dataset, "model": model}
    variants = [{"kind": "pairs", **job, "way": way, "threads": cores} for way in ("plain", "ours", "ceiling")]
    return [*variants, {"kind": "threads", **job, "way": "ours", "threads": 1, "copies": cores}]


def with_peers(dataset: str, model: str, cores: int, peers: list[str]) -> Iterator[list[dict]]:
    """Groups of a peer at its defaults and at its best, and ours: with all cores, and with one for everything."""
    for number, peer in product(sorted({cores, 1}, reverse=True), peers):
        job = {"kind": "peers", "peer": peer, "dataset": dataset, "model": model, "threads": number, "cores": number}
        yield [{**job, "way": way} for way in (peer, peer + BEST, "ours")]


def explored(pairs: list[tuple[str, str]], cores: int) -> list[dict]:
    """Jobs measured in addition to the pairs: one thread alone, float32, batch sizes, number of images."""
    jobs = [
        {"kind": kind, "dataset": dataset, "model": model, "way": "ours", **change}
        for kind, change in (("threads", {"threads": 1}), ("precision", {"threads": cores, "precision": "fp32"}))
        for dataset, model in pairs
    ]
    jobs += [
        {"kind": "batch", "dataset": d, "model": m, "way": "ours", "threads": cores, "batch_size": size}
        for (d, m), size in product(BATCH_PAIRS, BATCH_SIZES)
        if (d, m) in pairs
    ]
    if SMALL in pairs:
        jobs += [
            {"kind": "images", "dataset": SMALL[0], "model": SMALL[1], "way": way, "threads": cores}
            | {"images": images, "epoch": True}
            for images, way in product(IMAGES, ("plain", "ours"))
        ]
    return jobs


class Measurement:
    """A job's processes of measure.py, as many `copies` as it asks for, which wait until they are given a window."""

    def __init__(self, job: dict):
        self.job = job
        arguments = {key: value for key, value in job.items() if key not in ("kind", "copies", "peer")}
        command = [sys.executable, str(BENCHMARKS / "measure.py"), json.dumps(arguments)]
        # A pipe would be full when a library warns a lot.
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by __exit__)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors, "text": True}
        self.processes = [subprocess.Popen(command, cwd=ROOT, **pipes) for _ in range(job.get("copies", 1))]

    def __enter__(self) -> "Measurement":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()
        self.errors.close()

    def window(self, seconds: float) -> dict:
        """Return measure.py's result for a window; ms_per_image and memory are those of all copies together.

        Raises:
            UserError: a process has failed; the message has its own.
        """
        for process in self.processes:
            with suppress(BrokenPipeError):  # it has ended, and its output says why
                process.stdin.write(f"{seconds}\n")
                process.stdin.flush()
        results = [self._result(process) for process in self.processes]
        copies = len(results)
        return results[0] | {
            "ms_per_image": sum(result["ms_per_image"] for result in results) / copies**2,
            "peak_memory_mb": sum(result["peak_memory_mb"] for result in results),
        }

    def _result(self, process: subprocess.Popen) -> dict:
        line = process.stdout.readline()
        if not line:
            killed = process.wait() == -signal.SIGKILL
            self.errors.seek(0)
            said = "killed, usually because memory ran out" if killed else self.errors.read().strip()
            raise UserError(f"benchmarks/measure.py failed on {json.dumps(self.job)}:\n{said}")
        return json.loads(line)


def take_turns(jobs: list[dict], rounds: int, seconds: float) -> Iterator[tuple[dict, dict]]:
    """Measure jobs side by side, round by round: yield a job and its result, with its `round`, counted from 0."""
    with ExitStack() as stack:
        running = [stack.enter_context(Measurement(job)) for job in jobs]
        for measurement in running:
            if not measurement.job.get("epoch"):  # its start is what it measures
                measurement.window(0)  # chooses kernels, touches memory for the first time, waits for workers
        for round_ in range(rounds):
            first = round_ % len(running)
            for measurement in running[first:] + running[:first]:
                yield measurement.job, {"round": round_, **measurement.window(seconds)}


def measure_all(plan: list[tuple[list[dict], int]], seconds: float, file: Path) -> None:
    """Take every measurement and write them all to `file`, after each one.

    If it has some of the same plan, on the same machine and with the same versions, the first group that it lacks is
    the next one; if it has all, nothing is measured.
    """
    asked = {"plan": [[jobs, rounds] for jobs, rounds in plan], "seconds": seconds}
    sizes = [len(jobs) * rounds for jobs, rounds in plan]
    described, found = environment.describe(ROOT), read_json(file) if file.exists() else {}
    now = {"generated": described["generated"]}  # that alone may differ
    is_same = asked.items() <= found.items() and found["environment"] | now == described
    taken = found["measurements"] if is_same else []
    done = whole_groups(sizes, len(taken))
    measurements, number = taken[: sum(sizes[:done])], sum(sizes)
    for jobs, rounds in plan[done:]:
        for job, result in take_turns(jobs, rounds, seconds):
            measurements.append(job | result)
            what = " ".join(f"{value}" for key, value in job.items() if key not in ("epoch", "cores"))
            print(f"{len(measurements)}/{number}, round {result['round'] + 1}: {what}: ", end="")
            print(f"{result['ms_per_image']:.2f} ms an image, {result['peak_memory_mb']} MB", flush=True)
            write_json(file, {"environment": described, **asked, "measurements": measurements})


def whole_groups(sizes: list[int], measured: int) -> int:
    """Return how many groups of these sizes are among the first `measured` measurements, whole."""
    return sum(end <= measured for end in accumulate(sizes))


def write_results(folder: Path) -> None:
    """Write bench.md and the figures from a folder's bench.json."""
    measured = read_json(folder / "bench.json")
    frame = pd.DataFrame(measured["measurements"])
    write_text(folder / "bench.md", table(frame, measured["environment"]))
    speed_plots.draw_all(frame, folder)
    print((folder / "bench.md").read_text())


def positive(text: str) -> int:
    """A whole number of 1 or more, for argparse; ValueError for anything else."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder for bench.json and the rest")
    parser.add_argument("--rounds", type=positive, default=6, help="how often the pairs are measured (default 6)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a window, at least (default 4)")
    parser.add_argument("--quick", action="store_true", help="one pair, one round, windows of two steps, into quick/")
    parser.add_argument("--measured", action="store_true", help="only write table and figures again, from bench.json")
    args = parser.parse_args(argv)

    folder = args.output / "quick" if args.quick else args.output  # hours of measurements must not be overwritten
    if not args.measured:
        pairs = [SMALL] if args.quick else pairs_of(load_config(ROOT / "config.yaml").experiments("paper"))
        jobs = plan(pairs, usable_cores(), args.rounds, installed_peers(), explore=not args.quick)
        if args.quick:
            jobs = [([job | {"batch_size": min(BATCH_SIZES)} for job in group], 1) for group, _ in jobs]
        measure_all(jobs, 0.0 if args.quick else args.seconds, folder / "bench.json")
    write_results(folder)


if __name__ == "__main__":
    run(main)
