"""Measure how fast small image files become arrays, by the number of processes; `make bench-scale` runs it.

    PYTHONPATH=scripts python benchmarks/prepare_speed.py --output results --images 20000

The images are JPEGs of 96x96 pixels, about 5 KB each, in ten classes, prepared at 64x64; each file is read from memory
after the first time. CPU time is that of all processes, memory the peak of the largest. Writes bench-prepare.json and
bench-prepare.md.
"""

import argparse
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from deepnets.data import sources as datasets
from deepnets.reporting import environment, markdown
from deepnets.utils.command_line import run
from deepnets.utils.files import write_json, write_text
from deepnets.utils.machine import usable_cores
from scale import ROOT, measure

NAME, CLASSES, SIDE, SIZE = "images", 10, 96, 64
TEST_SHARE = 0.2


def draw(folder: Path, images: int, cores: int) -> None:
    """Write `images` images into folder/{train,test}/<class>/, smooth like photographs, so that JPEG has work to do."""
    each = images // CLASSES
    with ProcessPoolExecutor(cores) as pool:
        list(pool.map(partial(_draw_class, folder, each), range(CLASSES)))


def _draw_class(folder: Path, count: int, label: int) -> None:
    rng = np.random.default_rng(label)
    for index in range(count):
        split = "test" if index < TEST_SHARE * count else "train"
        path = folder / split / f"class{label}" / f"{index:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(256, size=(12, 12, 3), dtype=np.uint8))
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path, quality=90)


def table(measured: pd.DataFrame) -> str:
    """Make a table with a row per command."""
    rows = [
        [
            row.command,
            row.processes,
            f"{row.images:,}",
            f"{row.wall_seconds:.1f}",
            f"{row.images / row.wall_seconds:,.0f}",
            f"{row.cpu_seconds:.1f}",
            f"{row.peak_memory_mb:,}",
        ]
        for row in measured.itertuples()
    ]
    header = ["command", "processes", "images", "wall time (s)", "images/s", "CPU time (s)", "memory (MB)"]
    return f"{markdown.table(header, rows, 1)}\n"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder for bench-prepare.json and .md")
    parser.add_argument("--images", type=int, default=20_000, help="number of image files (default: 20000)")
    args = parser.parse_args(argv)

    cores, measured = usable_cores(), []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        draw(folder / "images", args.images, cores)
        options = datasets.source("folder").Options(
            source="folder", path=str(folder / "images"), classes=CLASSES, size=SIZE
        )

        def take(command: str, processes: int, *arguments: str) -> None:
            script = [sys.executable, str(ROOT / f"scripts/{command}.py"), NAME, "--job", f"{command}.json"]
            took, _ = measure([*script, *arguments], folder)
            measured.append({"command": command, "processes": processes, "images": args.images, **took})
            print(measured[-1], flush=True)

        write_json(folder / "download.json", {"spec": options.raw_spec(), "state": None, "code": {}})
        write_json(folder / "prepare.json", {"spec": options.prepared_spec(), "code": {}})
        take("download", 1)
        for processes in sorted({1, max(1, cores // 2), cores}):
            take("prepare", processes, "--processes", str(processes))
    write_json(
        args.output / "bench-prepare.json", {"environment": environment.describe(ROOT), "measurements": measured}
    )
    write_text(args.output / "bench-prepare.md", table(pd.DataFrame(measured)))
    print((args.output / "bench-prepare.md").read_text())


if __name__ == "__main__":
    run(main)
