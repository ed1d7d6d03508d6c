"""How fast are many pictures predicted, and does anything cost time but decoding them and the forward pass?

    python benchmarks/predict_speed.py

Draws the pictures, and saves networks with initial weights: their speed does not depend on them. The speed of
scripts/predict.py is that of half of its pictures, without its start: the difference between all and half of them. It
is compared with what decoding and the forward pass allow: decoding measured in one process, times the number
of cores, and the forward pass in as many threads at once as scripts/predict.py has.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import torch  # noqa: E402

from deepnets import load, models  # noqa: E402
from deepnets.config.experiment import spec_sha256  # noqa: E402
from deepnets.config.recipe import Recipe  # noqa: E402
from deepnets.data.pictures import Form, PictureFile, decode_block, read_blocks  # noqa: E402
from deepnets.evaluation.predictor import Model, batch_length, count_workers  # noqa: E402
from deepnets.training.device import disable_malloc_trim  # noqa: E402
from deepnets.training.experiment_dir import preprocessing  # noqa: E402
from deepnets.utils.machine import usable_cores  # noqa: E402
from deepnets.utils.tensors import save_tensors  # noqa: E402

LEAST_SECONDS = 3.0  # of a measurement of the forward pass


class Case(NamedTuple):
    """Pictures of a kind and a size (width, height), for a network that takes images of `size` pixels."""

    kind: str
    picture: tuple[int, int]
    model: dict
    size: int

    @property
    def title(self) -> str:
        """What the measurement is called."""
        name = self.model["architecture"].rpartition(":")[2]
        options = "".join(f", {key} {value}" for key, value in self.model.items() if key != "architecture")
        return f"{self.kind} of {self.picture[0]} x {self.picture[1]} px, {name}{options} of {self.size} px"


def cases(size: int) -> list[Case]:
    mobilenet = {"architecture": "mobilenet_v2"}
    small = {"architecture": "workflow/networks/resnet9.py:ResNet9", "width": 8}
    return [
        Case("jpg", (size, size), mobilenet, size),
        Case("png", (size, size), mobilenet, size),
        Case("jpg", (size, size), small, size),
        Case("jpg", (1000, 750), mobilenet, 64),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000, help="small pictures (default: 10,000)")
    parser.add_argument("--photos", type=int, default=1000, help="pictures of 1000 x 750 pixels (default: 1,000)")
    parser.add_argument("--size", type=int, default=28, help="side of small pictures in pixels (default: 28)")
    args = parser.parse_args()
    os.chdir(ROOT)  # the file of a network is looked up there
    disable_malloc_trim()
    torch.set_num_threads(1)
    for case in cases(args.size):
        count = args.images if case.picture[0] == args.size else args.photos
        with tempfile.TemporaryDirectory() as temporary:
            files = draw(Path(temporary, "pictures"), 2 * count, case)
            weights = save_network(Path(temporary, "model.safetensors"), case)
            print(f"{count:,} {case.title}")
            measure(case, files, weights)


def measure(case: Case, files: Sequence[Path], weights: Path) -> None:
    """Print images per second of each way to use half of the files."""
    count, cores = len(files) // 2, usable_cores()
    pillow = count / seconds_of(lambda: decode_plainly(files[:count], case.size))
    decoding = cores * count / seconds_of(lambda: decode_alone(files[:count], case.size))
    forward = forward_alone(weights, case.size)
    half, whole = (seconds_of(lambda some=some: predict(weights, some)) for some in (files[:count], files))
    rate = count / max(whole - half, 1e-9)
    of_decoding, of_forward = 1 / decoding, 1 / forward
    bound = "the forward pass" if of_forward > of_decoding else "decoding"
    possible = 1 / (of_decoding + of_forward)
    print(f"    Pillow alone, one process: {pillow:,.0f} images/s")
    print(f"    decoding alone, {cores} times one process: {decoding:,.0f} images/s")
    print(f"    forward pass alone, all threads: {forward:,.0f} images/s")
    print(f"    predict.py, {cores} cores: {rate:,.0f} images/s, and {max(0.0, half - count / rate):.1f} s to start")
    share = max(of_decoding, of_forward) / (of_decoding + of_forward)
    both = f"that both allow on {cores} cores"
    print(f"    {rate / possible:.0%} of the {possible:,.0f} {both}: {share:.0%} of their time is {bound}", flush=True)


def save_network(path: Path, case: Case) -> Path:
    spec = {
        "dataset": {"source": "drawn"},
        "model": case.model,
        "recipe": Recipe(epochs=1, batch_size=16).model_dump(),
        "seed": 0,
    }
    network = models.build(spec["model"], 10, 1, (case.size, case.size))
    metadata = {"classes": list("0123456789"), "input_shape": [1, case.size, case.size], "mean": [0.5], "std": [0.25]}
    how = preprocessing(spec["dataset"])
    texts = {"spec": spec, "spec_sha256": spec_sha256(spec), **metadata, "preprocessing": how}
    save_tensors(path, dict(network.state_dict()), texts)
    return path


def draw(folder: Path, count: int, case: Case) -> list[Path]:
    """Draw small pictures of noise, or copies of a large one whose noise is a photo's: smooth over a few pixels."""
    rng, (width, height) = np.random.default_rng(0), case.picture
    folder.mkdir(parents=True)
    files = [folder / f"{index}.{case.kind}" for index in range(count)]
    if width > case.size:
        noise = Image.fromarray(rng.integers(256, size=(height // 8, width // 8, 3), dtype=np.uint8))
        noise.resize(case.picture, Image.Resampling.BICUBIC).save(files[0])
        for file in files[1:]:
            shutil.copyfile(files[0], file)
        return files
    for file in files:
        Image.fromarray(rng.integers(256, size=(height, width), dtype=np.uint8)).save(file)
    return files


def seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def decode_plainly(files: Sequence[Path], size: int) -> None:
    """Read, decode and resize images in a plain loop."""
    for file in files:
        with Image.open(file) as image:
            np.asarray(image.convert("L").resize((size, size), Image.Resampling.BILINEAR))


def decode_alone(files: Sequence[Path], size: int) -> None:
    """Decode as scripts/predict.py does, in this process."""
    for block in read_blocks([PictureFile(str(file)) for file in files]):
        decode_block(block, [Form(size, 1)])


def forward_alone(weights: Path, size: int) -> float:
    """Images per second of the network, in as many threads and batches of the length as in scripts/predict.py."""
    model = load(weights, device="cpu", temperature=1)
    workers = count_workers([model], usable_cores())
    length = batch_length([model], sys.maxsize, workers)
    images = np.random.default_rng(0).integers(256, size=(length, size, size, 1), dtype=np.uint8)
    model.probabilities(images)
    with ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(lambda _: rate_of(model, images), range(workers)))


def rate_of(model: Model, images: np.ndarray) -> float:
    """Images per second of a batch that is predicted again and again."""
    done, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < LEAST_SECONDS:
        model.probabilities(images)
        done += len(images)
    return done / passed


def predict(weights: Path, files: Sequence[Path]) -> None:
    """Call scripts/predict.py."""
    command = [sys.executable, ROOT / "scripts/predict.py", weights, "-", "--gpus", "0"]
    command += ["--output", weights.with_suffix(".csv"), "--temperature", "1"]
    subprocess.run(command, input="\n".join(map(str, files)), text=True, check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
