"""Measure how fast random batches of images are read from a disk, in four variants: a part of `make bench-scale`.

    PYTHONPATH=scripts python benchmarks/read_speed.py --output results --gigabytes 3

The images are 64x64 pixels in colour, read in batches of 128 like those of a training run, without any computation.
The file is in --output; before each measurement but the last, nothing of it is in memory. Writes bench-read.json and
bench-read.md.
"""

import argparse
import os
import re
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from deepnets.data.arrays import read_ahead, read_at_random
from deepnets.reporting import environment, markdown
from deepnets.utils.command_line import run
from deepnets.utils.files import write_json, write_text
from scale import ROOT

SIDE, BATCH, BATCHES = 64, 128, 60
FAULTS = "by the system's default, which reads around each image"
ALONE = "each page alone, when the batch needs it"
AHEAD = "prefetched a batch ahead, as in training"
MEMORY = "from memory, a second time"


def draw(path: Path, gigabytes: float) -> None:
    """Write a .npy file of n gigabytes of images."""
    block = np.random.default_rng(0).integers(256, size=(500, SIDE, SIDE, 3), dtype=np.uint8)
    blocks = max(BATCH * BATCHES // len(block) + 1, round(gigabytes * 1e9 / block.nbytes))
    with open(path, "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (blocks * len(block), *block.shape[1:])}
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(blocks):
            file.write(block.tobytes())
        os.fsync(file.fileno())


def forget(path: Path) -> None:
    """Have the system drop what it has of a file in memory."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read(path: Path, way: str) -> dict:
    """Copy random batches out of the mapped file; what each image took, on average."""
    if way != MEMORY:
        forget(path)
    images = np.load(path, mmap_mode="r")
    if way in (ALONE, AHEAD):
        read_at_random(images)
    batches = np.random.default_rng(1).permutation(len(images))[: BATCH * BATCHES].reshape(BATCHES, BATCH)
    before, start = bytes_read(), time.perf_counter()
    for place, rows in enumerate(batches):
        if way == AHEAD:
            read_ahead(images, batches[place : place + 2].ravel())
        images[rows].sum()
    return {
        "way": way,
        "us_per_image": 1e6 * (time.perf_counter() - start) / batches.size,
        "kb_per_image": (bytes_read() - before) / 1e3 / batches.size,
    }


def bytes_read() -> int:
    """Bytes that this process had read from disks so far; 0 where the system does not say."""
    counts = Path("/proc/self/io")
    return int(re.search(r"^read_bytes: (\d+)", counts.read_text(), re.MULTILINE)[1]) if counts.exists() else 0


def table(measured: pd.DataFrame) -> str:
    """Return the table, a row per variant."""
    rows = [
        [row.way, f"{row.us_per_image:,.0f}", f"{1e6 / row.us_per_image:,.0f}", f"{row.kb_per_image:,.0f}"]
        for row in measured.itertuples()
    ]
    header = ["images of 12 KB", "us an image", "images/s", "KB read from the disk for each"]
    return f"{markdown.table(header, rows, 1)}\n"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder for bench-read.json and .md")
    parser.add_argument("--gigabytes", type=float, default=3, help="size of the file (default 3)")
    args = parser.parse_args(argv)

    args.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.output) as folder:
        path = Path(folder, "images.npy")
        draw(path, args.gigabytes)
        measured = [read(path, way) for way in (FAULTS, ALONE, AHEAD, MEMORY)]
    write_json(args.output / "bench-read.json", {"environment": environment.describe(ROOT), "measurements": measured})
    write_text(args.output / "bench-read.md", table(pd.DataFrame(measured)))
    print((args.output / "bench-read.md").read_text())


if __name__ == "__main__":
    run(main)
