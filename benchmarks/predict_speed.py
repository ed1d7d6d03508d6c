"""How fast are many small pictures predicted, next to reading and decoding them with Pillow alone?

    python benchmarks/predict_speed.py

Draws the pictures, and saves a network with initial weights: its speed does not depend on them.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from deepnets import models  # noqa: E402
from deepnets.config.experiment import spec_sha256  # noqa: E402
from deepnets.config.recipe import Recipe  # noqa: E402
from deepnets.training.experiment_dir import preprocessing  # noqa: E402
from deepnets.utils.tensors import save_tensors  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000, help="how many (default: 10,000)")
    parser.add_argument("--size", type=int, default=28, help="side in pixels (default: 28)")
    parser.add_argument("--architecture", default="mobilenet_v2", help="of the network (default: mobilenet_v2)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, weights = Path(temporary, "pictures"), Path(temporary, "model.safetensors")
        save_network(weights, args.architecture, args.size)
        for kind in ("jpg", "png"):
            files = draw(folder / kind, args.images, args.size, kind)
            seconds = {"Pillow alone, one process": decode_plainly(files, args.size)}
            for images in (1, args.images):  # the first call measures the start: torch alone takes seconds
                seconds[f"predict.py, {images:,}"] = predict(weights, files[:images])
            start = seconds["predict.py, 1"]
            print(f"{args.images:,} {kind} of {args.size} px, {args.architecture}")
            print(f"    Pillow alone, one process: {args.images / seconds['Pillow alone, one process']:,.0f} images/s")
            all_of_it = seconds[f"predict.py, {args.images:,}"]
            print(f"    predict.py: {args.images / (all_of_it - start):,.0f} images/s, and {start:.1f} s to start")


def save_network(path: Path, architecture: str, size: int) -> None:
    spec = {
        "dataset": {"source": "drawn"},
        "model": {"architecture": architecture},
        "recipe": Recipe(epochs=1, batch_size=16).model_dump(),
        "seed": 0,
    }
    network = models.build(spec["model"], 10, 1, (size, size))
    metadata = {"classes": list("0123456789"), "input_shape": [1, size, size], "mean": [0.5], "std": [0.25]}
    how = preprocessing(spec["dataset"])
    texts = {"spec": spec, "spec_sha256": spec_sha256(spec), **metadata, "preprocessing": how}
    save_tensors(path, dict(network.state_dict()), texts)


def draw(folder: Path, count: int, size: int, kind: str) -> list[Path]:
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    files = [folder / f"{index}.{kind}" for index in range(count)]
    for file in files:
        Image.fromarray(rng.integers(256, size=(size, size), dtype=np.uint8)).save(file)
    return files


def decode_plainly(files: Sequence[Path], size: int) -> float:
    """Seconds that a plain loop takes to read, decode and resize all images."""
    start = time.perf_counter()
    for file in files:
        with Image.open(file) as image:
            np.asarray(image.convert("L").resize((size, size), Image.Resampling.BILINEAR))
    return time.perf_counter() - start


def predict(weights: Path, files: Sequence[Path]) -> float:
    """Seconds that scripts/predict.py takes, with its start."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, SCRIPTS / "predict.py", weights, "-", "--output", weights.with_suffix(".csv")],
        input="\n".join(map(str, files)),
        text=True,
        check=True,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
