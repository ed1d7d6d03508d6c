"""What optional stages measured of a finished experiment, as readers check their JSON files."""

from statistics import fmean
from typing import Any

from pydantic import BaseModel, Field, NonNegativeFloat, PositiveFloat, PositiveInt

from deepnets.evaluation.results import Result
from deepnets.evaluation.schemas import Conditions, Fraction
from deepnets.utils import paths
from deepnets.utils.checked_json import read_checked
from deepnets.utils.checksums import recorded_checksum
from deepnets.utils.errors import UserError
from deepnets.utils.specs import check_made_by, read_head, settings_sha256


class Robustness(BaseModel):
    """Accuracies on `n` of `of` test images: as they are, and for each kind of corruption at severity 1, 2 and 3."""

    spec_sha256: str
    n: PositiveInt
    of: PositiveInt
    accuracy: Fraction
    corrupted_accuracy: Fraction
    corruptions: dict[str, list[Fraction]] = Field(min_length=1)

    def mean(self, kind: str) -> float:
        """The accuracy over the severities of a kind."""
        return fmean(self.corruptions[kind])


def read_robustness(result: Result) -> Robustness:
    """Read robustness.json of an experiment.

    Raises:
        UserError: missing, damaged or of other settings; the message names the file and the remedy.
    """
    file = result.directory / paths.ROBUSTNESS_FILE
    found = read_checked(file, Robustness)
    if found.spec_sha256 != result.metrics.spec_sha256:
        raise UserError(f"{file}: made with other settings than {paths.METRICS_FILE}; start Snakemake, or delete it.")
    return found


def find_robustness(result: Result) -> Robustness | None:
    """Return robustness.json of an experiment if it was measured for its present settings, else None.

    Raises:
        UserError: it is damaged.
    """
    file = result.directory / paths.ROBUSTNESS_FILE
    found = read_checked(file, Robustness) if file.exists() else None
    return found if found and found.spec_sha256 == result.metrics.spec_sha256 else None


class _Latency(BaseModel):
    """Seconds of single predictions of one image."""

    median_seconds: PositiveFloat
    p95_seconds: PositiveFloat


class _Throughput(BaseModel):
    """Images per second, `batch` at once."""

    batch: PositiveInt
    images_per_second: PositiveFloat


class Latency(BaseModel):
    """How fast a network predicts, and where that was measured."""

    spec: dict[str, Any]
    latency: _Latency
    throughput: _Throughput
    measured_on: Conditions


def read_latency(result: Result) -> Latency:
    """Read latency.json of the network of an experiment.

    Raises:
        UserError: missing, damaged or of another network; the message names the file and the remedy.
    """
    metrics = result.metrics
    file = result.directory.parents[1] / paths.LATENCY_FILE
    found = read_checked(file, Latency)
    network = {
        "model": metrics.spec["model"],
        "input_shape": metrics.model.input_size[1:],
        "num_classes": len(metrics.classes),
    }
    check_made_by(file, found.spec, network)
    return found


class _Validated(BaseModel):
    """Accuracies on `n` validation images, of a file and of the network in float32."""

    n: PositiveInt
    float32_accuracy: Fraction
    accuracy: Fraction

    @property
    def lost(self) -> float:
        """The accuracy that the file costs, a fraction; negative if it is the better one."""
        return self.float32_accuracy - self.accuracy


class Exported(BaseModel):
    """A file for other programs: its bytes, the time for one image, the largest difference of a probability."""

    spec_sha256: str
    weights_sha256: str
    file: str
    bytes: PositiveInt
    latency: _Latency
    measured_on: Conditions
    largest_difference: NonNegativeFloat
    validation: _Validated | None = None
    warnings: list[str] = []


def read_exports(result: Result) -> list[Exported]:
    """Read the JSON file of each exported file of an experiment that is there and is of its present weights.

    Raises:
        UserError: a JSON file is damaged; the message names the file and the remedy.
    """
    found, weights = list[Exported](), recorded_checksum(result.directory / paths.MODEL_FILE)
    for names in paths.EXPORTS.values():
        file, record = (result.directory / name for name in names)
        if file.is_file() and record.is_file():
            content = read_checked(record, Exported)
            if content.spec_sha256 == result.metrics.spec_sha256 and weights in (None, content.weights_sha256):
                found.append(content)
    return found


def has_saliency(result: Result) -> bool:
    """Whether figures/saliency.png of an experiment is there, made by its present settings."""
    made_by = {"experiment": result.metrics.experiment.model_dump(), "spec": result.metrics.spec}
    found = read_head(result.directory / paths.SALIENCY_FILE, "settings_sha256")
    return found == {"settings_sha256": settings_sha256(made_by)}


def corruption_title(kind: str) -> str:
    """The name of a kind of corruption for readers."""
    return kind.upper() if kind == "jpeg" else kind.capitalize()
