"""Predictions of many pictures, a line for each, as CSV or JSON: what scripts/predict.py writes.

Here is no torch: the processes that decode pictures start before it is loaded.
"""

import contextlib
import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from deepnets.data.pictures import dim_line
from deepnets.data.progress import progress_bar
from deepnets.utils.errors import UserError
from deepnets.utils.files import atomic_path, error_names
from deepnets.utils.logging import LOG

if TYPE_CHECKING:
    from deepnets.evaluation.predictor import Predicted

Rows = Iterable[tuple[str, list[tuple[str, float]]]]  # the name of a picture, its best classes with probabilities


def write_lines(
    batches: Iterable["Predicted"], path: Path | None, pictures: int, top: int, as_json: bool = False
) -> list[str]:
    """Write predictions, each batch as soon as it is there; return a line for each broken picture.

    Args:
        batches: of pictures.
        path: of the output; None: standard output. A file is written whole or not at all; what is no regular file, such
            as a pipe, as it is.
        pictures: how many there are in all, for the progress bar.
        top: how many classes each line has.
        as_json: a JSON object on each line instead of CSV.

    Raises:
        UserError: nobody reads the output any more, and it has a name.
        OSError: the disk is full, the output cannot be written, or nobody reads standard output any more.
    """
    problems, dim = list[str](), list[str]()
    with _open_output(path) as file, progress_bar("predict", pictures, "pictures") as bar:
        write = _json_writer(file, top) if as_json else _csv_writer(file, top)
        for batch in batches:
            # Where both are on one terminal, the bar steps aside.
            with bar.external_write_mode() if file.isatty() else contextlib.nullcontext():
                write(batch.top(top))
                file.flush()
            bar.update(len(batch.names) + len(batch.problems))
            problems += batch.problems
            dim += batch.dim
    if dim:
        LOG.warning("%s", dim_line(dim))
    return problems


@contextlib.contextmanager
def _open_output(path: Path | None) -> Iterator[TextIO]:
    """Open a file that is written whole or not at all; or standard output, or what else is no regular file, as it is.

    A link stays one: what it leads to is written.
    """
    options: dict[str, Any] = {"mode": "w", "encoding": "utf-8", "errors": "surrogateescape"}
    if path is not None and (path.is_file() or not path.exists()):
        with atomic_path(path.resolve()) as temporary, open(temporary, **options) as file:
            yield file
        return
    target = sys.stdout.fileno() if path is None else path
    try:
        with error_names(path or "standard output"), open(target, closefd=path is not None, **options) as file:
            yield file
    except BrokenPipeError:
        if path is None:  # `run` ends quietly, as other commands do before `| head`
            raise
        raise UserError(
            f"{path}: its reader ended before all predictions were written; let it read to the end."
        ) from None


def _csv_writer(file: TextIO, top: int) -> Callable[[Rows], None]:
    """Write the columns of a table with `top` classes for each picture; return what writes rows to it."""
    writer = csv.writer(file, lineterminator="\n")
    more = [f"{column}_{rank}" for rank in range(2, top + 1) for column in ("class", "probability")]
    writer.writerow(["file", "class", "probability", *more])

    def write(rows: Rows) -> None:
        for name, best in rows:
            writer.writerow([name, *(value for each, probability in best for value in (each, f"{probability:.6f}"))])

    return write


def _json_writer(file: TextIO, top: int) -> Callable[[Rows], None]:
    """Return what writes rows as JSON, an object on each line; from two classes on, `top` has all of them."""

    def write(rows: Rows) -> None:
        for name, best in rows:
            found = [{"class": each, "probability": round(probability, 6)} for each, probability in best]
            print(json.dumps({"file": name, **found[0], **({"top": found} if top > 1 else {})}), file=file)

    return write
