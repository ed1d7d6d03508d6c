"""Our training beside the loop that most people write, and beside its own ceiling: `make bench`.

    PYTHONPATH=scripts python benchmarks/speed.py --output results --rounds 3

Every measurement is a process of its own (measure.py). A round takes the three ways of every pair, one after the other,
so that whatever else the machine does falls on all alike; ratios are taken within a round, then their median. The
first round also measures what the plots of threads, batch size and images show. Writes bench.json, bench.md and
bench_*.png.
"""

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, product
from pathlib import Path

import pandas as pd

import speed_plots
from deepnets.config import load_config
from deepnets.errors import UserError, run
from deepnets.experiment import Experiment
from deepnets.files import read_json, write_json, write_text
from deepnets.machine import usable_cores
from deepnets.reporting import environment
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


def plan(pairs: list[tuple[str, str]], cores: int, rounds: int) -> list[dict]:
    """All measurements in order; `kind` says for which table or figure, `round` counts from 0."""
    first, *others = ([{"round": round_, **job} for job in compared(pairs, cores)] for round_ in range(rounds))
    curves = [{"round": 0, **job} for job in explored(pairs, cores)]
    return [*first, *curves, *chain.from_iterable(others)]


def compared(pairs: list[tuple[str, str]], cores: int) -> list[dict]:
    """The three ways of every pair, side by side."""
    return [
        {"kind": "pairs", "dataset": dataset, "model": model, "way": way, "threads": cores}
        for (dataset, model), way in product(pairs, ("plain", "ours", "ceiling"))
    ]


def explored(pairs: list[tuple[str, str]], cores: int) -> list[dict]:
    """What the plots show beside the pairs: threads, batch sizes, number of images."""
    jobs = []
    for threads, copies in sorted({(1, 1), (1, cores)}):
        jobs += [
            {"kind": "threads", "dataset": d, "model": m, "way": "ours", "threads": threads, "copies": copies}
            for d, m in pairs
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


def take(job: dict, seconds: float) -> dict:
    """Run a measurement, as many `copies` side by side as it asks for; ms_per_image is then that of all together."""
    copies = job.get("copies", 1)
    arguments = {key: value for key, value in job.items() if key not in ("kind", "round", "copies")}
    arguments["seconds"] = seconds
    command = [sys.executable, str(BENCHMARKS / "measure.py"), json.dumps(arguments)]

    def one(_copy: int) -> dict:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise UserError(f"benchmarks/measure.py failed on {json.dumps(job)}:\n{done.stderr.strip()}")
        return json.loads(done.stdout.splitlines()[-1])

    with ThreadPoolExecutor(copies) as pool:
        results = list(pool.map(one, range(copies)))
    together = {
        "ms_per_image": sum(result["ms_per_image"] for result in results) / copies**2,
        "peak_memory_mb": sum(result["peak_memory_mb"] for result in results),
    }
    return {**results[0], **together}


def measure_all(jobs: list[dict], seconds: float, file: Path) -> None:
    """Take every measurement and write them all to `file`, after each one: who stops early keeps what is measured."""
    measurements = []
    for number, job in enumerate(jobs):
        result = take(job, seconds)
        measurements.append({**job, **result})
        what = " ".join(f"{value}" for key, value in job.items() if key not in ("round", "epoch"))
        print(f"{number + 1}/{len(jobs)}, round {job['round'] + 1}: {what}: ", end="")
        print(f"{result['ms_per_image']:.2f} ms an image, {result['peak_memory_mb']} MB", flush=True)
        write_json(file, {"environment": environment.describe(ROOT), "measurements": measurements})


def write_results(folder: Path) -> None:
    """Write bench.md and the figures from a folder's bench.json."""
    measured = read_json(folder / "bench.json")
    frame = pd.DataFrame(measured["measurements"])
    write_text(folder / "bench.md", table(frame, measured["environment"]))
    speed_plots.draw_all(frame, folder)
    print((folder / "bench.md").read_text())


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder for bench.json and the rest")
    parser.add_argument("--rounds", type=positive, default=3, help="how often the pairs are measured (default 3)")
    parser.add_argument("--seconds", type=float, default=8.0, help="per measurement, after the warm-up (default 8)")
    parser.add_argument("--measured", action="store_true", help="only write table and figures anew from bench.json")
    args = parser.parse_args(argv)

    if not args.measured:
        pairs = pairs_of(load_config(ROOT / "config.yaml").experiments("paper"))
        measure_all(plan(pairs, usable_cores(), args.rounds), args.seconds, args.output / "bench.json")
    write_results(args.output)


if __name__ == "__main__":
    run(main)
