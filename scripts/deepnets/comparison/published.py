"""Published results of the same networks, read from workflow/published.csv."""

import csv
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from deepnets.utils.errors import UserError
from deepnets.utils.option_types import StrictModel

_InPercent = Annotated[float, AfterValidator(lambda fraction: 100 * fraction)]


class Published(StrictModel):
    """One published row; accuracies, precision and recall in percent, None for what the source does not report.

    Attributes:
        kind: "study" for a row of the study that this project repeats (Gosaye; CITATION.cff has the reference), "best"
            for a best result elsewhere of a network trained from scratch.
        model: the architecture, as `architecture:` in config.yaml names it.
        size_mb: torchinfo's estimated total size at batch size 1.
        test_precision_macro, test_recall_macro: fractions in the file, as their source prints them. Like all metrics
            here, they have the names of metrics.csv.
    """

    dataset: str
    model: str
    kind: Literal["study", "best"]
    test_accuracy: float
    size_mb: float | None
    trainable_parameters: int | None
    train_loss: float | None
    test_loss: float | None
    train_accuracy: float | None
    test_precision_macro: _InPercent | None = Field(alias="precision")
    test_recall_macro: _InPercent | None = Field(alias="recall")
    epochs: int | None
    source: str


def read_published(path: str | Path) -> list[Published]:
    """Read the table of published results.

    Raises:
        UserError: the file is missing, or a row does not fit `Published`; the message names the line.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            return [_published(row) for row in reader]
    except FileNotFoundError:
        raise UserError(f"{path}: the file is missing; restore it with: git checkout {path}") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}, line {reader.line_num}: {key}: {first['msg']} (got {first['input']!r}).") from None
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}.") from None


def _published(row: dict[str | Any, str | Any]) -> Published:
    if None in row:
        raise csv.Error("not as many cells as the header, but more")
    return Published.model_validate({key: cell or None for key, cell in row.items()})


def find(rows: list[Published], kind: str, dataset: str, architecture: str) -> Published | None:
    """Return the published row of a dataset and network with the highest test accuracy, None if there is no row."""
    matching = [row for row in rows if (row.kind, row.dataset, row.model) == (kind, dataset, architecture)]
    return max(matching, key=lambda row: row.test_accuracy, default=None)


def references(
    rows: list[Published], dataset: str, variant_of: str | None, architectures: dict[str, str]
) -> dict[str, dict[str, float]]:
    """Return published test accuracies for a figure of one dataset: {model: {name in the legend: percent}}.

    Args:
        rows: the published table.
        variant_of: the published dataset that `dataset` stands for, None if it stands for itself.
        architectures: the architecture of each model, by the model's name.
    """
    on = f" (on {variant_of})" if variant_of else ""
    kinds = {"study": f"published by Gosaye{on}", "best": f"best published from scratch{on}"}
    found = {
        model: {name: find(rows, kind, variant_of or dataset, architecture) for kind, name in kinds.items()}
        for model, architecture in architectures.items()
    }
    return {
        model: {name: row.test_accuracy for name, row in by_name.items() if row}
        for model, by_name in found.items()
        if any(by_name.values())
    }
