"""The content of metrics.json and timing.json, as pydantic checks it."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    Field,
    GetPydanticSchema,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    create_model,
    field_validator,
    model_validator,
)

from deepnets.evaluation import metrics
from deepnets.evaluation.metrics import SplitName

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Loss = float | None  # None: not finite, which JSON cannot say


class Names(BaseModel):
    """The names and the seed that identify an experiment."""

    dataset: str
    model: str
    recipe: str
    seed: int


class SplitMetrics(BaseModel):
    """`n` images of one split, their metrics as attributes, and `of`, the size of the split if `n` is a sample.

    `from_dataset`: it is a validation split that the dataset brings, not one that was drawn.
    """

    n: PositiveInt
    of: PositiveInt | None = None
    from_dataset: bool = False

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


class MirrorAveraged(BaseModel):
    """Metrics of the mean of the probabilities of each image and of its mirror image (`test_time_augmentation`)."""

    validation: Annotated[SplitMetrics, _declared_for("validation")]
    test: Annotated[SplitMetrics, _declared_for("test")]


class Network(BaseModel):
    """Size of the network: counts, and megabytes (10^6 bytes) as torchinfo estimates them at batch size 1.

    `grad_cam`: whether it has maps that show where it looks.
    """

    parameters: PositiveInt
    trainable_parameters: PositiveInt
    mult_adds: NonNegativeInt
    size_mb: NonNegativeFloat
    weights_mb: NonNegativeFloat
    input_size: list[int]
    grad_cam: bool | None = None  # unknown in files of version 0.1.0


class Conditions(BaseModel):
    """The conditions of a training run or an evaluation that can change its numbers, besides settings and code."""

    device: str
    device_name: str | None = None
    precision: str
    threads: PositiveInt
    processes: PositiveInt = 1
    deterministic: bool = False  # a file without this key makes no promise
    accumulation: PositiveInt = 1
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

    @property
    def versions_in_words(self) -> str:
        """Each package with its version; empty if none is known."""
        return ", ".join(f"{name} {version}" for name, version in sorted(self.versions.items()))


class StartedFrom(BaseModel):
    """The weights of an earlier training run that a network was started from; lists have names of tensors.

    weights: as in the spec. sha256: of their file. tensors: how many were loaded. parameters, parameters_of: outside
    the head, loaded and all. replaced: of the head. adapted: to the number of channels. initialised: others that kept
    random values. unused: in the file only. normalised: by whose mean and std images are.
    """

    weights: dict[str, Any]
    sha256: str
    tensors: NonNegativeInt
    parameters: NonNegativeInt
    parameters_of: NonNegativeInt
    replaced: list[str]
    adapted: list[str]
    initialised: list[str]
    unused: list[str]
    normalised: str


class Metrics(BaseModel):
    """metrics.json."""

    schema_version: Literal[1]
    experiment: Names
    spec: dict[str, Any]
    spec_sha256: str
    train: Annotated[SplitMetrics, _declared_for("train")]
    validation: Annotated[SplitMetrics, _declared_for("validation")]
    test: Annotated[TestMetrics, _declared_for("test")]
    mirror_averaged: MirrorAveraged | None = None
    classes: list[str]
    model: Network
    weights_bytes: PositiveInt | None = None  # of model.safetensors; unknown in files of version 0.1.0
    warnings: list[str]
    started_from: StartedFrom | None = None  # None: random weights
    evaluated_on: Conditions | None = None  # unknown in files of version 0.1.0

    @field_validator("spec")
    @classmethod
    def _has_what_is_read(cls, spec: dict[str, Any]) -> dict[str, Any]:
        try:
            dataset = spec["dataset"]
            _ = dataset["horizontal_flip"], spec["model"]["architecture"], spec["recipe"]["epochs"]
            if "fold" in dataset:
                _ = range(dataset["fold"], dataset["folds"])  # whole numbers
        except (KeyError, TypeError):
            raise ValueError(
                "must have dataset.horizontal_flip, model.architecture and recipe.epochs, and with dataset.fold also"
                " dataset.folds"
            ) from None
        return spec

    @property
    def fold(self) -> str:
        """The fold that the test images are, counted from 1, as in "fold 1 of 5"; "" without folds."""
        dataset = self.spec["dataset"]
        return f"fold {dataset['fold'] + 1} of {dataset['folds']}" if "fold" in dataset else ""

    @model_validator(mode="after")
    def _one_row_and_column_per_class(self) -> Self:
        matrix = self.test.confusion_matrix
        lengths = {len(matrix), len(self.test.per_class), *map(len, matrix)}
        if lengths != {len(self.classes)}:
            raise ValueError(f"test.confusion_matrix and test.per_class must have {len(self.classes)} classes")
        return self


class Run(Conditions):
    """One run of the several that an interrupted training run consists of; epochs are fractional."""

    from_epoch: NonNegativeFloat
    to_epoch: NonNegativeFloat
    seconds: NonNegativeFloat


class Timing(Conditions):
    """timing.json: everything that may differ between two runs of the same computation; memory in 10^6 bytes.

    The conditions are those of the last run.
    """

    train_seconds: NonNegativeFloat  # of the steps alone
    wall_seconds: NonNegativeFloat
    cpu_seconds: NonNegativeFloat | None = None  # of all processes; unknown in older files
    images_per_second: NonNegativeFloat
    peak_memory_mb: NonNegativeFloat | None = None
    resumed_from_epochs: list[Annotated[float, Field(ge=0)]] = []
    runs: list[Run] = []

    @property
    def conditions(self) -> list[Conditions]:
        """The conditions of each run that took part; a file without `runs` has only those of the last one."""
        return [*self.runs] or [self]
