"""Read and check the files of a finished experiment: metrics.json, timing.json and history.csv."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    Field,
    GetPydanticSchema,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)

from deepnets.evaluation import metrics
from deepnets.evaluation.metrics import SplitName
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json

HISTORY_COLUMNS = (
    "epoch",
    "lr",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "seconds",
    "images_per_second",
)

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Loss = float | None  # None: not finite, which JSON cannot say
History = dict[str, list[float]]


class Names(BaseModel):
    """The names and the seed that identify an experiment."""

    dataset: str
    model: str
    recipe: str
    seed: int


class SplitMetrics(BaseModel):
    """`n` images of one split, their metrics as attributes, and `of`, the size of the split if `n` is a sample."""

    n: PositiveInt
    of: PositiveInt | None = None

    if TYPE_CHECKING:  # the registry of metrics declares them, see `_declared_for`

        def __getattr__(self, metric: str) -> Any: ...


class ClassMetrics(BaseModel):
    """One row of metrics.json's `test.per_class`: metrics of one class, `n` its number of test images."""

    name: str = Field(alias="class")
    n: NonNegativeInt
    precision: Fraction
    recall: Fraction
    f1: Fraction


class TestMetrics(SplitMetrics):
    """Metrics of the test split; `confusion_matrix[i][j]` counts images of class i that were predicted as class j."""

    per_class: list[ClassMetrics]
    confusion_matrix: list[list[NonNegativeInt]]


def _declared_for(split: SplitName) -> GetPydanticSchema:
    """Add a field for each metric that the registry declares for `split`, and for its interval on the test split."""
    fields: dict[str, Any] = {}
    for metric in metrics.of_split(split):
        value: Any = Fraction if metric.unit == "fraction" else Loss
        fields[metric.name] = (value, ...)
        if split == "test" and metric.interval:
            fields[metric.interval_name] = (tuple[value, value], ...)
    return GetPydanticSchema(lambda base, schema_of: schema_of(create_model(base.__name__, __base__=base, **fields)))


class Network(BaseModel):
    """Size of the network: counts, and megabytes (10^6 bytes) as torchinfo estimates them at batch size 1."""

    parameters: PositiveInt
    trainable_parameters: PositiveInt
    mult_adds: NonNegativeInt
    size_mb: NonNegativeFloat
    weights_mb: NonNegativeFloat
    input_size: list[int]


class Metrics(BaseModel):
    """metrics.json."""

    schema_version: Literal[1]
    experiment: Names
    spec: dict[str, Any]
    spec_sha256: str
    train: Annotated[SplitMetrics, _declared_for("train")]
    validation: Annotated[SplitMetrics, _declared_for("validation")]
    test: Annotated[TestMetrics, _declared_for("test")]
    classes: list[str]
    model: Network
    warnings: list[str]

    @field_validator("spec")
    @classmethod
    def _has_what_is_read(cls, spec: dict[str, Any]) -> dict[str, Any]:
        try:
            _ = spec["dataset"]["horizontal_flip"], spec["model"]["architecture"], spec["recipe"]["epochs"]
        except (KeyError, TypeError):
            raise ValueError("must have dataset.horizontal_flip, model.architecture and recipe.epochs") from None
        return spec

    @model_validator(mode="after")
    def _one_row_and_column_per_class(self) -> Self:
        matrix = self.test.confusion_matrix
        lengths = {len(matrix), len(self.test.per_class), *map(len, matrix)}
        if lengths != {len(self.classes)}:
            raise ValueError(f"test.confusion_matrix and test.per_class must have {len(self.classes)} classes")
        return self


class Timing(BaseModel):
    """timing.json: everything that may differ between two runs of the same computation; memory in 10^6 bytes."""

    device: str
    device_name: str | None = None
    precision: str
    threads: PositiveInt
    processes: PositiveInt = 1
    deterministic: bool = False  # a file without this key makes no promise
    accumulation: PositiveInt = 1
    train_seconds: NonNegativeFloat  # of the steps alone
    wall_seconds: NonNegativeFloat
    images_per_second: NonNegativeFloat
    peak_memory_mb: NonNegativeFloat | None = None
    resumed_from_epochs: list[Annotated[float, Field(ge=0)]] = []
    versions: dict[str, str] = {}

    @property
    def name(self) -> str:
        """The name of the processor, or its kind if the name is unknown."""
        return self.device_name or self.device

    @property
    def thread_count(self) -> str:
        """The number of CPU threads and of processes, in words."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return threads if self.processes == 1 else f"{threads} in each of {self.processes} processes"


Content = TypeVar("Content", bound=BaseModel)


def _read(path: str | Path, content: type[Content]) -> Content:
    try:
        return content.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        problem = f"{key}: {first['msg']}" if key else first["msg"]
        raise UserError(f"{path}: damaged ({problem}); delete it.") from None


def read_metrics(path: str | Path) -> Metrics:
    """Read metrics.json.

    Raises:
        UserError: missing, not JSON, or not as evaluate writes it; the message names file, key and remedy.
    """
    return _read(path, Metrics)


def read_timing(path: str | Path) -> Timing:
    """Read timing.json.

    Raises:
        UserError: missing, not JSON, or not as train writes it; the message names file, key and remedy.
    """
    return _read(path, Timing)


def read_history(path: str | Path) -> History:
    """Read history.csv as one list per column, a value per epoch; a loss that was not finite is nan or inf.

    Raises:
        UserError: missing, empty, a column or cell missing, not numbers, or epochs that do not count 1, 2, 3, ...
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
        history = {column: [float(row[column]) for row in rows] for column in HISTORY_COLUMNS}
    except FileNotFoundError:
        raise UserError(f"{path}: the file is missing; the next run rebuilds it.") from None
    except KeyError as error:
        raise UserError(f"{path}: damaged, no column {error}; delete it.") from None
    except (UnicodeDecodeError, csv.Error, TypeError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error}); delete it.") from None
    if not rows or history["epoch"] != list(range(1, len(rows) + 1)):
        raise UserError(f"{path}: damaged, its epochs must count 1, 2, 3, ... without a gap; delete it.")
    return history


@dataclass(frozen=True)
class Result:
    """One finished experiment; `history` is None if it was not read."""

    directory: Path
    metrics: Metrics
    timing: Timing
    history: History | None = None

    @property
    def dataset(self) -> str:
        return self.metrics.experiment.dataset

    @property
    def model(self) -> str:
        return self.metrics.experiment.model

    @property
    def recipe(self) -> str:
        return self.metrics.experiment.recipe

    @property
    def seed(self) -> int:
        return self.metrics.experiment.seed

    @property
    def architecture(self) -> str:
        return self.metrics.spec["model"]["architecture"]

    @property
    def epochs(self) -> int:
        return self.metrics.spec["recipe"]["epochs"]

    @property
    def accumulation(self) -> int:
        """Number of micro-batches per batch in the recipe."""
        return self.metrics.spec["recipe"].get("accumulation", 1)

    @property
    def was_split(self) -> bool:
        """Whether memory ran out in training, so that a batch had more micro-batches than in the recipe."""
        return self.timing.accumulation > self.accumulation

    @property
    def warnings(self) -> list[str]:
        """The warnings of metrics.json, and one about memory if timing.json shows it."""
        split = (
            f"memory ran out, so each batch was computed in {self.timing.accumulation} micro-batches instead of"
            f" {self.accumulation}: batch normalisation saw each micro-batch alone, and a machine with more memory"
            " gives different numbers"
        )
        return [*self.metrics.warnings, *([split] if self.was_split else [])]


def read_result(directory: str | Path) -> Result:
    """Read all three files of one experiment's directory, `.../{dataset}/{model}/{recipe}/seed{seed}`.

    Raises:
        UserError: a file is missing or damaged, or metrics.json is that of another experiment.
    """
    directory = Path(directory)
    metrics = read_metrics(directory / "metrics.json")
    names = metrics.experiment
    if directory.parts[-4:] != (names.dataset, names.model, names.recipe, f"seed{names.seed}"):
        raise UserError(
            f"{directory / 'metrics.json'}: belongs to another experiment ({names.dataset}/{names.model}/"
            f"{names.recipe}/seed{names.seed}); delete it."
        )
    return Result(directory, metrics, read_timing(directory / "timing.json"), read_history(directory / "history.csv"))
