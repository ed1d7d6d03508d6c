"""The prepare stage: from raw files to {train,test}_{images,labels}.npy and, last of all, dataset.json."""

import contextlib
import math
from pathlib import Path

import numpy as np
from tqdm import tqdm

from deepnets.datasets import PARTS, parse_spec, source
from deepnets.datasets.fetch import Raw, remove_leftovers
from deepnets.datasets.images import Contents
from deepnets.errors import UserError
from deepnets.files import atomic_path, sha256_file, write_json

SCHEMA_VERSION = 1
_BLOCK = 1024  # images whose statistics are counted at once


def prepare(dataset: str, spec: dict, raw_manifest: str | Path, output: str | Path, threads: int = 1) -> None:
    """Write the arrays of a dataset beside `output`, then `output` (dataset.json).

    Args:
        dataset: its name in config.yaml.
        spec: what `prepared_spec()` of its options gave.
        raw_manifest: raw.json, as download.py wrote it.
        output: path of dataset.json.
        threads: for decoding image files.

    Raises:
        UserError: the raw files are missing, damaged or not what `spec` promises; nothing is left half-written.
    """
    output, options, raw = Path(output), parse_spec(spec), Raw.open(raw_manifest)
    remove_leftovers(output.parent)
    contents = source(spec["source"]).read(options, raw, threads)
    _check(dataset, contents, options.num_classes)
    with contextlib.ExitStack() as stack:
        names = [f"{part}_{kind}.npy" for part in PARTS for kind in ("images", "labels")]
        paths = {name: stack.enter_context(atomic_path(output.parent / name)) for name in names}
        _write_images(dataset, contents, options.input_shape, paths)
        for part in PARTS:
            np.save(paths[f"{part}_labels.npy"], contents.labels[part], allow_pickle=False)
        mean, std = _channel_statistics(np.load(paths["train_images.npy"], mmap_mode="r"))
        info = {
            "schema_version": SCHEMA_VERSION,
            "dataset": dataset,
            "spec": spec,
            "raw": raw.sha256,
            "arrays": {name: _describe(path) for name, path in paths.items()},
            "splits": {part: len(contents.labels[part]) for part in PARTS},
            "classes": contents.classes,
            "input_shape": list(options.input_shape),
            "mean": mean,
            "std": std,
        }
        output.unlink(missing_ok=True)  # an old dataset.json never stands beside new arrays
    write_json(output, info)


def _check(dataset: str, contents: Contents, num_classes: int) -> None:
    for part in PARTS:
        labels = contents.labels[part]
        if len(contents.classes) != num_classes or labels.min() < 0 or labels.max() >= num_classes:
            raise UserError(
                f"{dataset}: the {part} part does not have {num_classes} classes (labels {labels.min()} to"
                f" {labels.max()}, {len(contents.classes)} class names); these are not the raw files of this dataset."
            )


def _write_images(dataset: str, contents: Contents, input_shape: tuple[int, int, int], paths: dict[str, Path]) -> None:
    """Write the images at their places in .npy files, one by one: memory stays bounded, and a full disk is an error.

    (Writing through a memory map would end a process on a full disk by a signal, without a word.)
    """
    channels, height, width = input_shape
    bytes_per_image = channels * height * width
    total = sum(map(len, contents.labels.values()))
    with contextlib.ExitStack() as stack:
        files, starts = {}, {}
        for part in PARTS:
            file = files[part] = stack.enter_context(open(paths[f"{part}_images.npy"], "wb"))
            shape = (len(contents.labels[part]), height, width, channels)
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            starts[part] = file.tell()
        for part, index, image in tqdm(contents.images, desc=dataset, total=total, unit="image", disable=None):
            files[part].seek(starts[part] + index * bytes_per_image)
            files[part].write(image.tobytes())


def _channel_statistics(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and (population) standard deviation of each channel, as fractions of full intensity.

    Exact: the 256 intensities are counted, sums are Python integers, one rounding at the end. A channel that is the
    same everywhere has std 1, so that dividing by it changes nothing.

    Args:
        images: uint8 (N, H, W, C).
    """
    counts = np.zeros((images.shape[3], 256), np.int64)
    for start in range(0, len(images), _BLOCK):
        block = images[start : start + _BLOCK]
        for channel in range(images.shape[3]):
            counts[channel] += np.bincount(block[..., channel].ravel(), minlength=256)
    mean, std = [], []
    for channel in counts.tolist():
        n = sum(channel)
        total = sum(value * count for value, count in enumerate(channel))
        squares = sum(value**2 * count for value, count in enumerate(channel))
        mean.append(total / (n * 255))
        std.append(math.sqrt(n * squares - total**2) / (n * 255) or 1.0)
    return mean, std


def _describe(path: Path) -> dict:
    array = np.load(path, mmap_mode="r")
    return {"sha256": sha256_file(path), "shape": list(array.shape), "dtype": str(array.dtype)}
