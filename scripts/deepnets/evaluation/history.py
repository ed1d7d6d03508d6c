"""Read and check history.csv, the values that training recorded of each epoch.

It stands alone so that a change to a metric does not redraw learning curves.
"""

import csv
import math
from pathlib import Path

from deepnets.utils.errors import UserError

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

History = dict[str, list[float]]


def read_history(path: str | Path) -> History:
    """Read history.csv as one list per column, a value per epoch; a loss that was not finite is nan or inf.

    Raises:
        UserError: missing, empty, a column or cell missing, not numbers, or epochs that do not count 1, 2, 3, ...;
            only the last may be shorter, such as 2.5 after 2.
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
    *whole, last = history["epoch"] or [math.nan]
    if whole != list(range(1, len(rows))) or not len(whole) < last <= len(rows):
        raise UserError(f"{path}: damaged, its epochs must count 1, 2, 3, ... without a gap; delete it.")
    return history
