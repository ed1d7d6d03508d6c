"""The prepare stage: from raw files to {train,test}_{images,labels}.npy and, at the end, dataset.json."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL

from deepnets.data.array_writer import write_array, write_images
from deepnets.data.image_source import ImageSource
from deepnets.data.intensities import channel_statistics
from deepnets.data.raw_files import Raw
from deepnets.data.sources import parse_spec, source
from deepnets.utils.checksums import record_checksums
from deepnets.utils.errors import UserError
from deepnets.utils.files import canonical_json, flush, remove_leftovers, sha256_file, sha256_text, write_json
from deepnets.utils.locks import hold_lock
from deepnets.utils.logging import LOG
from deepnets.utils.paths import IMAGES, LABELS, SPLITS
from deepnets.utils.specs import check_made_by

SCHEMA_VERSION = 1
ARRAY_FILES = [name.format(split=split) for split in SPLITS for name in (IMAGES, LABELS)]


def prepare(
    dataset: str,
    spec: dict,
    raw_manifest: str | Path,
    output: str | Path,
    processes: int = 1,
    code: object = None,
    **unspecified: object,
) -> None:
    """Write the arrays of a dataset next to `output`, then `output` (dataset.json).

    Unfinished arrays are in the folder .unfinished. A run after a kill resumes from there.

    Args:
        dataset: its name in config.yaml.
        spec: `prepared_spec()` of its options.
        raw_manifest: path of raw.json.
        output: path of dataset.json.
        processes: that decode images.
        code: identifies the code; images that other code decoded are decoded again.
        unspecified: options of the dataset that `spec` leaves out, because they change no array.

    Raises:
        UserError: the raw files are missing, damaged, of another spec or not what `spec` promises. No file has its
            final name then.
    """
    output, options, raw = Path(output), parse_spec({**unspecified, **spec}), Raw.open(raw_manifest)
    check_made_by(raw.manifest, raw.spec, {key: spec[key] for key in options.raw_spec()})
    arrays = [output.with_name(name) for name in ARRAY_FILES]
    with record_checksums("prepare", output, *arrays):
        remove_leftovers(output.parent)
        images = source(spec["source"]).read(options, raw)
        for key, choice in {**images.found, **options.unsaid}.items():
            LOG.info("%s: %s: %s", dataset, key, choice)
        _check(dataset, images, options.num_classes or len(images.classes))
        made_by = canonical_json({"spec": spec, "code": code, "pillow": PIL.__version__})
        with _unfinished_folder(output.with_name(".unfinished"), sha256_text(made_by)[:16]) as folder:
            intensities = _write_arrays(dataset, images, folder, processes)
            unfinished = [folder / array.name for array in arrays]
            limit = unspecified.get("max_megapixels")
            metadata = _describe(dataset, spec, raw, images, intensities, unfinished, limit)
            output.unlink(missing_ok=True)  # an old dataset.json must not describe new arrays
            _move(unfinished, arrays)
        write_json(output, metadata)


def _write_arrays(dataset: str, images: ImageSource, folder: Path, processes: int) -> np.ndarray:
    """Write images and labels; return how often each intensity occurs in each channel, int64 (C, 256)."""
    intensities = write_images(dataset, images, images.shape, folder, processes)
    for split, stored in images.stored().items():
        write_array(folder / LABELS.format(split=split), np.concatenate([images.labels[each] for each in stored]))
    return intensities


def _move(files: list[Path], targets: list[Path]) -> None:
    for file in files:
        flush(file)  # takes long; a kill between two renames would lose the arrays that were moved
    for file, target in zip(files, targets, strict=True):
        file.replace(target)


@contextlib.contextmanager
def _unfinished_folder(parent: Path, key: str) -> Iterator[Path]:
    """Yield the folder `parent`/`key`; remove those of other keys first, and all of them on success.

    It is locked: a process that a killed Snakemake left here ends first.
    """
    with hold_lock(parent.with_name(".prepare.lock"), "prepares the same dataset"):
        parent.mkdir(exist_ok=True)
        for other in parent.iterdir():
            if other.name != key:
                shutil.rmtree(other)
        yield parent / key
        shutil.rmtree(parent)


def _describe(
    dataset: str,
    spec: dict,
    raw: Raw,
    images: ImageSource,
    intensities: np.ndarray,
    arrays: list[Path],
    max_megapixels: object,
) -> dict:
    """Make the content of dataset.json."""
    mean, std = channel_statistics(intensities)
    return {
        "schema_version": SCHEMA_VERSION,
        "dataset": dataset,
        "spec": spec,
        "arrays": {path.name: _describe_array(path) for path in arrays},
        "splits": {split: len(labels) for split, labels in images.labels.items()},
        **_validation_rows(images),
        "classes": images.classes,
        "input_shape": list(images.shape),
        "mean": mean,
        "std": std,
        **({} if max_megapixels is None else {"max_megapixels": max_megapixels}),  # for pictures that are predicted
        **({"found": images.found} if images.found else {}),
        # Last, as they can be long: planning reads the start only.
        **({} if images.folds is None else {"folds": images.folds.describe()}),
        **_files(images),
        "raw": raw.sha256,
    }


def _validation_rows(images: ImageSource) -> dict[str, list[int]]:
    """From and up to which row of the training arrays the dataset's validation split is; {} if it has none."""
    if "validation" not in images.labels:
        return {}
    start = len(images.labels["train"])
    return {"validation_rows": [start, start + len(images.labels["validation"])]}


def _files(images: ImageSource) -> dict[str, list[str]]:
    """Names of the test images; with folds every image is one, so those in the file of the training split, too."""
    if images.names is None:
        return {}
    splits = SPLITS if images.folds is not None else ("test",)
    return {f"{split}_files": images.names[split] for split in splits}


def _check(dataset: str, images: ImageSource, num_classes: int) -> None:
    for split, labels in images.labels.items():
        if len(images.classes) != num_classes or labels.min() < 0 or labels.max() >= num_classes:
            raise UserError(
                f"{dataset}: the {split} split does not have {num_classes} classes (labels {labels.min()} to"
                f" {labels.max()}, {len(images.classes)} class names); these are not the raw files of this dataset."
            )


def _describe_array(path: Path) -> dict:
    array = np.load(path, mmap_mode="r")
    return {"sha256": sha256_file(path), "shape": list(array.shape), "dtype": str(array.dtype)}
