"""Read and check the files of a finished experiment."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepnets.evaluation.history import History, read_history
from deepnets.evaluation.schemas import Conditions, Metrics, Timing
from deepnets.models import display_name
from deepnets.utils import paths
from deepnets.utils.checked_json import read_checked
from deepnets.utils.errors import UserError
from deepnets.utils.text import first_few


def read_metrics(path: str | Path) -> Metrics:
    """Read metrics.json.

    Raises:
        UserError: missing, not JSON, or not as evaluate writes it; the message names file, key, value and remedy.
    """
    return read_checked(path, Metrics)


def read_timing(path: str | Path) -> Timing:
    """Read timing.json.

    Raises:
        UserError: missing, not JSON, or not as train writes it; the message names file, key, value and remedy.
    """
    return read_checked(path, Timing)


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
    def display_name(self) -> str:
        """The name of its model for readers."""
        return display_name(self.model, self.architecture)

    @property
    def recipe(self) -> str:
        return self.metrics.experiment.recipe

    @property
    def seed(self) -> int:
        return self.metrics.experiment.seed

    @property
    def spec(self) -> dict[str, Any]:
        return self.metrics.spec

    @property
    def fold(self) -> int | None:
        """The fold that it is tested on; None without folds."""
        return self.spec["dataset"].get("fold")

    @property
    def architecture(self) -> str:
        return self.spec["model"]["architecture"]

    @property
    def is_pretrained(self) -> bool:
        """Whether it was started from the weights of an earlier training run."""
        return self.metrics.started_from is not None

    @property
    def epochs(self) -> float:
        """Passes over the training images; a whole number is an int."""
        return self.metrics.spec["recipe"]["epochs"]

    @property
    def mirror_averaged_accuracy(self) -> float | None:
        """Test accuracy of averages over each image and its mirror image; None if the evaluation took none."""
        averaged = self.metrics.mirror_averaged
        return None if averaged is None else averaged.test.accuracy

    @property
    def accumulation(self) -> int:
        """Number of micro-batches per batch in the recipe."""
        return self.metrics.spec["recipe"].get("accumulation", 1)

    @property
    def micro_batches(self) -> int:
        """Number of micro-batches per batch in training, of the run with the most."""
        return max(run.accumulation for run in self.timing.conditions)

    @property
    def was_split(self) -> bool:
        """Whether memory ran out in training, so that a batch had more micro-batches than in the recipe."""
        return self.micro_batches > self.accumulation

    @property
    def differences(self) -> list[str]:
        """What differed among the runs that trained it, in words, with each value in the order of the runs."""
        return _differences(self.timing.conditions)

    @property
    def differences_of_evaluation(self) -> list[str]:
        """What differed between the last training run and the evaluation, in words; the number of processes does not
        count.
        """
        evaluated = self.metrics.evaluated_on
        trained = self.timing.conditions[-1].model_copy(update={"processes": 1})
        return [] if evaluated is None else _differences([trained, evaluated])

    @property
    def warnings(self) -> list[str]:
        """The warnings of metrics.json, and those for which its start or timing.json gives reason."""
        found, start = list(self.metrics.warnings), self.metrics.started_from
        if start is not None and start.initialised:
            found.append(
                f"the weights that it starts from lack {first_few(start.initialised)}, which started at random; give"
                " weights of this network, or the architecture of these weights"
            )
        if self.was_split:
            found.append(
                f"memory ran out, so each batch was computed in {self.micro_batches} micro-batches instead of"
                f" {self.accumulation}: batch normalisation saw each micro-batch alone, and a machine with more memory"
                " gives different numbers"
            )
        if self.differences:
            found.append(
                f"interrupted and continued under other conditions ({'; '.join(self.differences)}): a training"
                " run without interruption gives slightly different numbers"
            )
        if self.differences_of_evaluation:
            found.append(
                f"trained and evaluated under different conditions ({'; '.join(self.differences_of_evaluation)}):"
                " evaluated as it was trained, it gives slightly different numbers"
            )
        return found


def _differences(conditions: Sequence[Conditions]) -> list[str]:
    of_runs = [(each.name, each.precision, each.thread_count, each.versions_in_words) for each in conditions]
    return [", then ".join(dict.fromkeys(values)) for values in zip(*of_runs, strict=True) if len(set(values)) > 1]


def check_specs(results: Sequence[Result], specs: Sequence[str] | None) -> None:
    """Compare the hashes of the results' specs with the expected ones; None: with nothing.

    Raises:
        UserError: a result was made by another spec.
    """
    for result, expected in zip(results, specs or [], strict=specs is not None):
        if result.metrics.spec_sha256 != expected:
            raise UserError(
                f"{result.directory / paths.METRICS_FILE}: made with other settings than config.yaml has now for"
                " this experiment; start Snakemake, which rebuilds it."
            )


def read_result(directory: str | Path) -> Result:
    """Read all three files of one experiment's directory, `.../{dataset}/{model}/{recipe}/seed{seed}`.

    Raises:
        UserError: a file is missing or damaged, or metrics.json is that of another experiment.
    """
    directory = Path(directory)
    metrics = read_metrics(directory / paths.METRICS_FILE)
    names = metrics.experiment
    if directory.parts[-4:] != (names.dataset, names.model, names.recipe, f"seed{names.seed}"):
        raise UserError(
            f"{directory / paths.METRICS_FILE}: belongs to another experiment ({names.dataset}/{names.model}/"
            f"{names.recipe}/seed{names.seed}); delete it."
        )
    timing, history = read_timing(directory / paths.TIMING_FILE), read_history(directory / paths.HISTORY_FILE)
    return Result(directory, metrics, timing, history)
