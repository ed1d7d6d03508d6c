"""The prepare stage: from raw files to {train,test}_{images,labels}.npy and, last of all, dataset.json."""

import contextlib
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL
from filelock import FileLock, Timeout

from deepnets.data.array_writer import BadImagesError, write_images
from deepnets.data.decode import ImageSource
from deepnets.data.download import remove_leftovers
from deepnets.data.raw_files import Raw
from deepnets.data.sources import SPLITS, parse_spec, source
from deepnets.utils.errors import UserError
from deepnets.utils.files import canonical_json, flush, sha256_file, sha256_text, write_json
from deepnets.utils.logging import LOG

SCHEMA_VERSION = 1


def prepare(
    dataset: str, spec: dict, raw_manifest: str | Path, output: str | Path, processes: int = 1, code: object = None
) -> None:
    """Write the arrays of a dataset beside `output`, then `output` (dataset.json).

    Until they are whole they are in the folder .unfinished, from which a run that was killed goes on.

    Args:
        dataset: its name in config.yaml.
        spec: what `prepared_spec()` of its options gave.
        raw_manifest: raw.json, as download.py wrote it.
        output: path of dataset.json.
        processes: that decode image files.
        code: what identifies the code, JSON-able; images of other code are made anew.

    Raises:
        UserError: the raw files are missing, damaged or not what `spec` promises; nothing has its final name then.
    """
    output, options, raw = Path(output), parse_spec(spec), Raw.open(raw_manifest)
    remove_leftovers(output.parent)
    contents = source(spec["source"]).read(options, raw)
    _check(dataset, contents, options.num_classes)
    splits = {part: len(contents.labels[part]) for part in SPLITS}
    made_by = canonical_json({"spec": spec, "code": code, "pillow": PIL.__version__, "splits": splits})
    with _unfinished(output.with_name(".unfinished"), sha256_text(made_by)[:16]) as folder:
        try:
            intensities = write_images(dataset, contents, options.input_shape, folder, processes)
        except BadImagesError as error:
            raise UserError(f"{error}\nThen delete {raw.manifest} and run the same command again.") from None
        for part in SPLITS:
            np.save(folder / f"{part}_labels.npy", contents.labels[part], allow_pickle=False)
        mean, std = _channel_statistics(intensities)
        files = [folder / f"{part}_{kind}.npy" for part in SPLITS for kind in ("images", "labels")]
        info = {
            "schema_version": SCHEMA_VERSION,
            "dataset": dataset,
            "spec": spec,
            "raw": raw.sha256,
            "arrays": {file.name: _describe(file) for file in files},
            "splits": splits,
            "classes": contents.classes,
            "input_shape": list(options.input_shape),
            "mean": mean,
            "std": std,
        }
        for file in files:
            flush(file)  # takes long; a kill between two renames would cost what has been moved
        output.unlink(missing_ok=True)  # an old dataset.json never stands beside new arrays
        for file in files:
            file.replace(output.with_name(file.name))
    write_json(output, info)


@contextlib.contextmanager
def _unfinished(place: Path, key: str) -> Iterator[Path]:
    """The folder below `place` for work of this key, removed when it is done; those of other keys are removed first.

    One process at a time: what a killed Snakemake has left at work here ends first.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place.with_name(".prepare.lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        LOG.warning("%s: waiting for another process, which prepares the same dataset", place.parent)
        lock.acquire()
    try:
        place.mkdir(exist_ok=True)
        for other in place.iterdir():
            if other.name != key:
                shutil.rmtree(other)
        yield place / key
        shutil.rmtree(place)
    finally:
        lock.release()


def _check(dataset: str, contents: ImageSource, num_classes: int) -> None:
    for part in SPLITS:
        labels = contents.labels[part]
        if len(contents.classes) != num_classes or labels.min() < 0 or labels.max() >= num_classes:
            raise UserError(
                f"{dataset}: the {part} part does not have {num_classes} classes (labels {labels.min()} to"
                f" {labels.max()}, {len(contents.classes)} class names); these are not the raw files of this dataset."
            )


def _channel_statistics(intensities: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and (population) standard deviation of each channel, as fractions of full intensity.

    Exact: sums are Python integers, with one rounding at the end. A channel that is the same everywhere has std 1, so
    that dividing by it changes nothing.

    Args:
        intensities: how often each intensity occurs in each channel, int64 (C, 256).
    """
    mean, std = [], []
    for channel in intensities.tolist():
        n = sum(channel)
        total = sum(value * count for value, count in enumerate(channel))
        squares = sum(value**2 * count for value, count in enumerate(channel))
        mean.append(total / (n * 255))
        std.append(math.sqrt(n * squares - total**2) / (n * 255) or 1.0)
    return mean, std


def _describe(path: Path) -> dict:
    array = np.load(path, mmap_mode="r")
    return {"sha256": sha256_file(path), "shape": list(array.shape), "dtype": str(array.dtype)}
