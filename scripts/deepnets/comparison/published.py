"""Published figures to stand beside ours, from workflow/published.csv."""

import csv
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from deepnets.utils.errors import UserError
from deepnets.utils.option_types import StrictModel


class Published(StrictModel):
    """One published row; accuracies in percent as printed, None where the source does not say.

    kind: "study" is a row of the study this project reproduces; "best" a best result from scratch found elsewhere.
    model: the architecture, as config.yaml's `architecture:` names it.
    size_mb: torchinfo's estimated total size at batch size 1.
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
    precision: float | None
    recall: float | None
    epochs: int | None
    source: str


def read_published(path: str | Path) -> list[Published]:
    """Read the table.

    Raises:
        UserError: the file is missing, or a row is not as described above; the message names the line.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            return [Published(**{key: cell or None for key, cell in row.items()}) for row in reader]
    except FileNotFoundError:
        raise UserError(f"{path}: the file is missing; restore it with: git checkout {path}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}, line {reader.line_num}: {place}: {first['msg']} (got {first['input']!r}).") from None
    except (TypeError, csv.Error) as error:
        raise UserError(f"{path}, line {reader.line_num}: not as many cells as the header ({error}).") from None


def find(rows: list[Published], kind: str, dataset: str, architecture: str) -> Published | None:
    """The published row of a pair, of several the one with the highest test accuracy; None where there is none."""
    matching = [row for row in rows if (row.kind, row.dataset, row.model) == (kind, dataset, architecture)]
    return max(matching, key=lambda row: row.test_accuracy, default=None)


def references(
    rows: list[Published], dataset: str, variant_of: str | None, architectures: dict[str, str]
) -> dict[str, dict[str, float]]:
    """Published test accuracies in percent for a figure of one dataset: {model: {what the legend calls it: accuracy}}.

    Args:
        architectures: the architecture of each model, by the model's name.
    """
    on = f" (on {variant_of})" if variant_of else ""
    kinds = {"study": f"published in the reproduced study{on}", "best": f"best published from scratch{on}"}
    found = {
        model: {name: find(rows, kind, variant_of or dataset, architecture) for kind, name in kinds.items()}
        for model, architecture in architectures.items()
    }
    return {
        model: {name: row.test_accuracy for name, row in by_name.items() if row}
        for model, by_name in found.items()
        if any(by_name.values())
    }
