"""Files of a trained network for other programs: each is compared with the network, timed, and described in JSON."""

import contextlib
import io
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from pydantic import BaseModel

from deepnets.config.experiment import OF_ARRAYS
from deepnets.data.arrays import open_dataset
from deepnets.evaluation.samples import sample
from deepnets.evaluation.timed_calls import time_calls
from deepnets.utils import paths
from deepnets.utils.checked_json import read_checked
from deepnets.utils.checksums import record_checksums, verify
from deepnets.utils.errors import UserError
from deepnets.utils.files import atomic_path, write_json
from deepnets.utils.logging import LOG
from deepnets.utils.machine import cpu_name
from deepnets.utils.specs import check_made_by
from deepnets.utils.text import one_line

SCHEMA_VERSION = 1
INPUT, OUTPUTS = "images", ("logits", "probabilities")
TEST_IMAGES, SEED = 256, 0  # that are compared; of all samples of images
BATCH, _FIRST = 32, (1, 8)  # the first batches end there: any number of images must do

# From images, uint8 (N, H, W, C), to logits and probabilities, both float32 (N, classes).
Predictor = Callable[[np.ndarray], Sequence[np.ndarray]]


class Source(BaseModel):
    """What a file was made from: an experiment, its weights and its dataset; the start of each JSON file."""

    experiment: dict[str, Any]
    spec: dict[str, Any]
    spec_sha256: str
    weights_sha256: str
    arrays: dict[str, Any]
    validation_rows: list[int] | None

    @property
    def name(self) -> str:
        """The name of the experiment in messages."""
        return paths.EXPERIMENT_NAME.format(**self.experiment)


def open_source(job: dict, data: str | Path, folder: Path, threads: int) -> tuple[Source, np.ndarray, Predictor]:
    """Check and open the model.onnx that another file is made from.

    Args:
        job: {"experiment": its names, "spec": its spec, "code": digests of the code}.
        data: dataset.json of the prepared dataset.
        folder: the experiment's.
        threads: CPU threads.

    Returns:
        What model.onnx was made from; the test images that are compared, uint8 (N, H, W, C); and model.onnx itself.

    Raises:
        UserError: a file is missing, damaged or of another experiment.
    """
    file, record = (folder / name for name in paths.EXPORTS["export"])
    if not file.is_file():
        raise UserError(f"{file}: the file is missing; the next run rebuilds it.")
    verify(file)
    source = read_checked(record, Source)
    check_made_by(record, source.spec, job["spec"])
    images, _, dataset = open_dataset(data, "test", job["spec"]["dataset"])
    check_made_by(record, source.model_dump(include={*OF_ARRAYS}), {key: dataset.get(key) for key in OF_ARRAYS})
    with runtime_errors(file.name):
        return source, compared_images(images), open_onnx(file, threads)


def compared_images(images: np.ndarray) -> np.ndarray:
    """Return the test images that files are compared on, uint8 (N, H, W, C): a sample, as classes may be in order."""
    return images[sample(np.arange(len(images)), TEST_IMAGES, SEED)]


@dataclass(frozen=True)
class Comparison:
    """How far a file may be from the network.

    expected: the network. images: uint8 (N, H, W, C). most: the largest difference of a probability that is allowed,
    and with `of_logits` that of a logit, too.
    """

    expected: Predictor
    images: np.ndarray
    most: float
    of_logits: bool = False

    def check(self, file: Path, found: Predictor, name: str) -> float:
        """Return the largest difference of a probability.

        Raises:
            UserError: the difference is larger than allowed, or not a number.
        """
        differences = largest_differences(self.expected, found, self.images)
        largest = differences.max() if self.of_logits else differences[1]
        where = "" if self.of_logits else " in a probability"
        line = "%s: %s differs from the network by %.1e at most%s, on %d test images"
        LOG.info(line, name, file.name, largest, where, len(self.images))
        if not largest <= self.most:  # also NaN
            raise UserError(
                f"{file}: would differ from the network by {largest:.1e}{where}, more than {self.most:g}, and was not"
                f" written; use {paths.MODEL_FILE}, with scripts/predict.py or deepnets.load."
            )
        return float(differences[1])


def write_export(
    stage: str,
    folder: Path,
    source: Source,
    write: Callable[[Path], None],
    comparison: Comparison,
    *,
    open_file: Callable[[Path, int], Predictor],
    threads: int,
    precision: str,
    runtime: str = "onnxruntime",
    measure: Callable[[Predictor], dict] | None = None,
) -> dict:
    """Write the file of a stage, compare it with the network, time it, and write the JSON file about it.

    Args:
        stage: a key of `paths.EXPORTS`.
        folder: the experiment's.
        source: what the file is made from.
        write: writes the file, under the path that it is given.
        comparison: with the network.
        open_file: opens the file; its arguments are the path and CPU threads.
        threads: CPU threads.
        precision: of the file's numbers, for readers.
        runtime: the package that runs the file.
        measure: more values for the JSON file.

    Returns:
        The content of the JSON file.

    Raises:
        UserError: the file is too far from the network, or cannot be run; then neither is written.
    """
    file, record = (folder / name for name in paths.EXPORTS[stage])
    with record_checksums(stage, file, record):
        with atomic_path(file) as temporary, runtime_errors(file.name):
            write(temporary)
            found = open_file(temporary, threads)
            measured = {
                "largest_difference": comparison.check(file, found, source.name),
                "test_images": len(comparison.images),
                **(measure(found) if measure else {}),
                "bytes": temporary.stat().st_size,
                "latency": time_one_image(found, comparison.images),
            }
        start = {"schema_version": SCHEMA_VERSION, **source.model_dump(), "file": file.name}
        content = {**start, **measured, "measured_on": _conditions(threads, precision, runtime)}
        write_json(record, content)
    return content


def _conditions(threads: int, precision: str, runtime: str) -> dict[str, Any]:
    versions = {runtime: metadata.version(runtime)}
    on_cpu = {"device": "cpu", "device_name": cpu_name()}
    return {**on_cpu, "precision": precision, "threads": threads, "versions": versions}


# -- running a file ----------------------------------------------------------------------------------------------------


def session_options(threads: int) -> Any:
    """Options of onnxruntime: CPU threads, and no messages but errors."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    return options


def open_onnx(file: Path, threads: int = 1) -> Predictor:
    """Open a file in onnxruntime, on the CPU; raises onnxruntime's errors."""
    session = onnxruntime.InferenceSession(file, session_options(threads), providers=["CPUExecutionProvider"])
    return lambda images: session.run(list(OUTPUTS), {INPUT: images})


@contextlib.contextmanager
def runtime_errors(name: str) -> Iterator[None]:
    """Raise onnxruntime's errors as a UserError that names the file."""
    try:
        yield
    except Exception as error:  # they have no common class
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        raise UserError(
            f"{name}: onnxruntime does not run it ({one_line(str(error))[:200]}); use {paths.MODEL_FILE}."
        ) from None


@contextlib.contextmanager
def exporting(name: str, target: str) -> Iterator[None]:
    """Keep an exporter's messages about itself from the user, and raise its errors as a UserError.

    Args:
        name: the experiment's, for messages.
        target: what the network is exported to.

    Raises:
        UserError: the exporter failed.
    """
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    except (OSError, MemoryError, UserError):
        raise
    except Exception as error:  # a network can do anything that a format cannot say
        cause = error.__cause__ or error  # torch's own error says only at which step
        reason = one_line(str(cause).strip().partition("\n")[0])[:200]
        raise UserError(
            f"{name}: this network cannot be exported to {target} ({type(cause).__name__}: {reason}); use"
            f" {paths.MODEL_FILE}, with scripts/predict.py or deepnets.load."
        ) from None


# -- measurements ------------------------------------------------------------------------------------------------------


def largest_differences(expected: Predictor, found: Predictor, images: np.ndarray) -> np.ndarray:
    """The largest difference between two predictors in a logit and in a probability.

    Args:
        expected, found: the predictors.
        images: uint8 (N, H, W, C); they are given in batches of several sizes.

    Returns:
        float64 (2,); NaN where a difference is not a number.
    """
    largest = np.zeros(2)
    for batch in np.split(images, [*_FIRST, *range(BATCH, len(images), BATCH)]):
        if len(batch):
            pairs = zip(expected(batch), found(batch), strict=True)
            with np.errstate(invalid="ignore"):  # infinity minus infinity
                largest = np.maximum(largest, [np.abs(a - b).max() for a, b in pairs])  # NaN stays
    return largest


def accuracy(predictor: Predictor, images: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> float:
    """The fraction of images that a predictor gets right.

    Args:
        predictor: to try.
        images: uint8 (M, H, W, C), possibly memory-mapped.
        labels: int64 (M,).
        rows: int64 (N,): which of the images.
    """
    right = 0
    for index in np.split(rows, range(BATCH, len(rows), BATCH)):
        logits, _ = predictor(images[index])
        right += int((logits.argmax(1) == labels[index]).sum())
    return right / len(rows)


def time_one_image(predictor: Predictor, images: np.ndarray) -> dict[str, float]:
    """Time calls with a single image: median and 95th percentile in seconds, and the number of calls."""
    image = images[:1]
    predictor(image)  # the first call prepares memory

    def timed_call() -> float:
        start = time.perf_counter()
        predictor(image)
        return time.perf_counter() - start

    return time_calls(timed_call)
