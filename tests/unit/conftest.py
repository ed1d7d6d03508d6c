"""Shared by several tests: a study without training, the tiny experiment, the small trainer."""

from __future__ import annotations

import importlib
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from made_up_results import write_experiment, write_statistics

from deepnets import models
from deepnets.reporting import report
from deepnets.utils import paths
from deepnets.utils.files import write_json

if TYPE_CHECKING:
    from download_server import Server

    from deepnets.reporting.study import Missing
    from deepnets.training.checkpoints import CheckpointDir


@pytest.fixture
def experiment(tmp_path: Path) -> Callable[..., Path]:
    """Write one finished experiment below tmp_path/results: `experiment(model="vgg16", seed=1) -> its directory`."""
    return lambda *args, **kwargs: write_experiment(tmp_path / "results", *args, **kwargs)


def report_spec(
    root: Path,
    *directories: Path,
    study: str = "demo",
    datasets: dict | None = None,
    optional: tuple[str, ...] = (),
    stopped: tuple[Path, ...] = (),
) -> dict:
    """Return what the report of experiments depends on; each is given by its directory below `root`."""
    nothing = {"variant_of": None, "note": None, "own_files": None}
    described = {directory.parts[-4]: nothing for directory in directories}
    described |= {name: nothing | values for name, values in (datasets or {}).items()}
    experiments, early = (
        [directory.relative_to(root).as_posix() for directory in some] for some in (directories, stopped)
    )
    names = {"study": study, "datasets": described, "experiments": experiments}
    return {**names, "optional": [*optional], "stopped": early}


@pytest.fixture
def report_arguments(tmp_path: Path) -> Callable[..., list[str]]:
    """Return the command line that writes the report of experiments; each is given by its directory."""

    def arguments(*directories: Path) -> list[str]:
        job = tmp_path / "job.json"
        write_json(job, {"spec": report_spec(tmp_path, *directories), "code": {}})
        write_statistics(tmp_path, *directories)
        return ["report", "--job", str(job), "--root", str(tmp_path)]

    return arguments


@pytest.fixture
def write_report(tmp_path: Path) -> Callable[..., str]:
    """Write the report of experiments below tmp_path/results; return its text. Each is given by its directory."""

    def write(
        *directories: Path,
        template: Path = paths.REPOSITORY / paths.TEMPLATE,
        suffix: str = "",
        missing: Sequence[Missing] = (),
        margin: float = 0.005,
        **options,
    ) -> str:
        write_statistics(tmp_path, *directories, suffix=suffix, margin=margin)
        spec = report_spec(tmp_path, *directories, **options)
        report.write_report(spec, tmp_path, suffix, template=template, missing=missing)
        return (tmp_path / f"results/report{suffix}.md").read_text(encoding="utf-8")

    return write


# -- a user's network --------------------------------------------------------------------------------------------------


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Write a user's module next to the architectures: `own_module(text, name="my_net")`."""
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])

    def write(text: str, name: str = "my_net") -> None:
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()

    yield write
    for name in [name for name in sys.modules if name.startswith("deepnets.models.my_")]:
        del sys.modules[name]


# -- the tiny experiment, trained once ---------------------------------------------------------------------------------
# These fixtures import inside: torch takes seconds, and most tests run without it.


@pytest.fixture(scope="module")
def process_as_it_was() -> Iterator[None]:
    """Restore what training changes in its process."""
    from tiny_experiment import restored_process

    with restored_process():
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the dataset.json of the tiny dataset."""
    from tiny_experiment import write_dataset

    return write_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory, process_as_it_was: None) -> Path:
    """Return the folder of an experiment that nothing disturbed; tests do not write to it."""
    from tiny_experiment import finish

    return finish(data, tmp_path_factory.mktemp("finished"))


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished experiment, which tests may change."""
    return shutil.copytree(finished, tmp_path / "copy")


# -- the small trainer -------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointDir:
    from small_trainer import checkpoints_in

    return checkpoints_in(tmp_path)


@pytest.fixture
def fit(tmp_path: Path) -> Callable[..., tuple[dict, list[dict]]]:
    """Train, through as many interruptions as asked for: see `small_trainer.fit_through`."""
    from small_trainer import fit_through

    return partial(fit_through, tmp_path)


# -- the server that downloads are tried against -----------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve a small file on the loopback interface; attempts follow each other without a pause."""
    from download_server import Server

    monkeypatch.setattr("deepnets.data.download.BACKOFF_SECONDS", 0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
