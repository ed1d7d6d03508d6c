"""Read one state of a study: a folder of results, a metrics.csv or a git revision that holds one."""

import contextlib
import csv
import io
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from deepnets.evaluation.metrics import ALL_SPLITS
from deepnets.utils import paths
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json
from deepnets.utils.machine import output_of
from deepnets.utils.text import first_few

Names = tuple[str, str, str]  # dataset, model, recipe
_NAMES = ("dataset", "model", "recipe")
_CSV = PurePosixPath(paths.METRICS_CSV.format(suffix="")).name
# In the folder of an experiment; one without these was not finished.
_FILES = (paths.METRICS_FILE, paths.TIMING_FILE)
_EXPERIMENTS = "*/*/*/seed*"


@dataclass(frozen=True)
class Run:
    """One experiment of a state.

    Attributes:
        row: its row of metrics.csv, as text.
        spec: its settings; None if the state has no metrics.json of it.
        classes: names of the classes; empty without a metrics.json.
        predictions: its predictions.safetensors; None if the state has none.
    """

    row: dict[str, str]
    spec: dict[str, Any] | None = None
    classes: list[str] = field(default_factory=list)
    predictions: Path | None = None

    def number(self, column: str) -> float | None:
        """A number of its row; None if it has none."""
        try:
            return float(self.row[column])
        except (KeyError, TypeError, ValueError):
            return None


@dataclass(frozen=True)
class State:
    """A state of a study: what the user calls it, its runs by their names and seeds, and its environment.json."""

    title: str
    runs: dict[Names, dict[str, Run]]
    environment: dict[str, Any]


@contextlib.contextmanager
def open_state(given: str) -> Iterator[State]:
    """Read a state; files of a git revision are there until the `with` block ends.

    Args:
        given: a folder of results, or one that holds results/; a metrics.csv; or a git revision, with a colon and the
            path of one of these if the revision has several: HEAD~3:docs/runs/demo.

    Raises:
        UserError: it is something else, or a file of it is damaged.
    """
    if Path(given).exists():
        yield _read(given, Path(given))
        return
    top, revision, path = _locate(given)
    with tempfile.TemporaryDirectory(prefix="deepnets-") as folder:
        _extract(top, revision, path.parent if path.suffix == ".csv" else path, Path(folder))
        yield _read(given, Path(folder) / path)


def _read(title: str, path: Path) -> State:
    if path.is_dir() and not (path / _CSV).exists() and (path / "results").is_dir():
        path = path / "results"
    folder = path if path.is_dir() else path.parent
    found = _of_folder(folder) if path.is_dir() else []
    table = path / _CSV if path.is_dir() else path
    if not found and not table.exists():
        raise UserError(f"{title}: no results: neither {_CSV} nor {{dataset}}/{{model}}/{{recipe}}/seed0 is in it.")
    runs: dict[Names, dict[str, Run]] = {}
    for run in found or _of_table(table):
        dataset, model, recipe = (run.row[name] for name in _NAMES)
        runs.setdefault((dataset, model, recipe), {})[run.row["seed"]] = run
    of_a_study = re.fullmatch(r"metrics(-.+)\.csv", table.name)  # its report by its name
    file = folder / PurePosixPath(paths.ENVIRONMENT.format(suffix=of_a_study[1] if of_a_study else "")).name
    return State(title, runs, _read_object(file) if file.exists() else {})


def _of_folder(folder: Path) -> list[Run]:
    """The finished experiments of a folder of results."""
    experiments = sorted(each for each in folder.glob(_EXPERIMENTS) if all((each / name).exists() for name in _FILES))
    return [_with_details(_row(each), each) for each in experiments]


def _row(folder: Path) -> dict[str, str]:
    """What metrics.csv has of an experiment, from its files; those of other versions may have more or less."""
    metrics, timing = _read_object(folder / paths.METRICS_FILE), _read_object(folder / paths.TIMING_FILE)
    try:
        spec, splits = metrics["spec"], {split: metrics[split] for split in ALL_SPLITS}
        values = {
            **metrics["experiment"],
            "architecture": spec["model"]["architecture"],
            "epochs": spec["recipe"]["epochs"],
            **metrics["model"],
            **{f"{split}_{name}": value for split, found in splits.items() for name, value in found.items()},
            **{f"{split}_images": found.get("of") or found["n"] for split, found in splits.items()},
            "train_images_evaluated": splits["train"]["n"],
            **timing,
            "torch": timing.get("versions", {}).get("torch"),
            "spec_sha256": metrics["spec_sha256"],
        }
        _ = [values[name] for name in (*_NAMES, "seed")]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder / paths.METRICS_FILE}: damaged ({error!r}); delete it.") from None
    return {name: str(value) for name, value in values.items() if isinstance(value, str | int | float)}


def _read_object(file: Path) -> dict[str, Any]:
    content = read_json(file)
    if not isinstance(content, dict):
        raise UserError(f"{file}: damaged, not an object; delete it.")
    return content


def _of_table(file: Path) -> list[Run]:
    """The experiments of a metrics.csv, with the files of those whose folders are next to it."""
    try:
        with open(file, encoding="utf-8", newline="") as content:
            rows = list(csv.DictReader(content, strict=True))
        if not rows or any(not row.get(name) for row in rows for name in (*_NAMES, "seed")):
            raise ValueError("every row needs dataset, model, recipe and seed")
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise UserError(f"{file}: not a metrics.csv of a study ({error}).") from None
    return [
        _with_details(row, file.parent.joinpath(*(row[name] for name in _NAMES), f"seed{row['seed']}")) for row in rows
    ]


def _with_details(row: dict[str, str], folder: Path) -> Run:
    """A run with what its folder has, unless that is of other settings."""
    file, predictions = folder / paths.METRICS_FILE, folder / paths.PREDICTIONS_FILE
    metrics = _read_object(file) if file.exists() else {}
    spec, classes = metrics.get("spec"), metrics.get("classes")
    if not isinstance(spec, dict) or metrics.get("spec_sha256") != row.get("spec_sha256"):
        return Run(row)
    names = [str(name) for name in classes] if isinstance(classes, list) else []
    return Run(row, spec, names, predictions if predictions.exists() else None)


# -- git ---------------------------------------------------------------------------------------------------------------


def _locate(given: str) -> tuple[str, str, PurePosixPath]:
    """Return the repository's top, the commit, and the path of a folder or a metrics.csv in it."""
    name, _, inside = given.partition(":")
    top = output_of("git", "rev-parse", "--show-toplevel") or ""
    revision = output_of("git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}") or ""
    if not revision:
        raise UserError(
            f"{given}: no such folder, metrics.csv or git revision; write for example A=HEAD~1:docs/runs/demo B=results"
        )
    files = (output_of("git", "-C", top, "ls-tree", "-r", "-z", "--name-only", revision) or "").split("\0")
    inside = inside.strip("/")
    if inside:
        if inside not in files and not any(file.startswith(f"{inside}/") for file in files):
            raise UserError(f"{given}: {name} has no {inside}; write {_example(name, _tables(files))}")
        return top, revision, PurePosixPath(inside)
    tables = _tables(files)
    chosen = paths.METRICS_CSV.format(suffix="")
    if chosen not in tables and len(tables) != 1:
        has = f"several ({first_few(tables)})" if tables else f"no {_CSV}"
        raise UserError(f"{given}: this revision has {has}; write {_example(name, tables)}")
    table = chosen if chosen in tables else tables[0]
    return top, revision, PurePosixPath(table).parent


def _tables(files: Iterable[str]) -> list[str]:
    return [file for file in files if PurePosixPath(file).name == _CSV]


def _example(name: str, tables: list[str]) -> str:
    return f"{name}:{PurePosixPath(tables[0]).parent}" if tables else "another revision"


def _extract(top: str, revision: str, path: PurePosixPath, folder: Path) -> None:
    """Write the results below a path of a revision into a folder."""
    command = ["git", "-C", top, "archive", "--format=tar", revision, "--", str(path)]
    done = subprocess.run(command, capture_output=True)
    if done.returncode:
        raise UserError(f"{revision}:{path}: git archive failed: {done.stderr.decode(errors='replace').strip()}")
    of_reports = (PurePosixPath(path.replace("{suffix}", "*")).name for path in (paths.METRICS_CSV, paths.ENVIRONMENT))
    needed = [*_FILES, paths.PREDICTIONS_FILE, *of_reports]
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            name = PurePosixPath(member.name).name
            if content is not None and any(fnmatch(name, pattern) for pattern in needed):
                target = folder / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())
