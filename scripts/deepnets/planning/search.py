"""A budgeted search for recipe values: rounds of trials, each of which is an ordinary experiment of the workflow.

Between two runs of Snakemake, Optuna is asked for the values of the next trials. A file keeps them, and results/ keeps
how they went, so the same call continues after any interruption. A trial that stops early has trained fewer epochs, as
an experiment of its own: the median stopping rule (Golovin et al. 2017, KDD) on runs whose learning rates fall to zero.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict

from deepnets.config.experiment import Experiment
from deepnets.config.messages import Problem
from deepnets.config.named_recipe import key_on
from deepnets.config.schema import Config, Entry
from deepnets.config.search import Search, written
from deepnets.config.trials import entry_of, misfits
from deepnets.config.yaml_reader import merge
from deepnets.evaluation.schemas import Fraction
from deepnets.planning.status import Status, experiment_status
from deepnets.planning.suggestions import Outcome, suggest
from deepnets.utils import paths
from deepnets.utils.checked_json import read_checked
from deepnets.utils.errors import UserError
from deepnets.utils.files import write_json, write_text
from deepnets.utils.logging import LOG
from deepnets.utils.specs import differences, read_head

SCHEMA_VERSION = 1
_LEAST = 4  # trials before one of them may stop, as the median of fewer says little; or before all having failed counts
_OF_TRIALS = {"dataset", "model", "recipe", "seeds", "early_stopping"}  # what stays as it was when the search began

RunSnakemake = Callable[[Path, list[str]], None]  # with a configuration on top of config.yaml, for these files
Values = dict[str, Any]  # by the option's key: {"augment.mixup": 0.2}


class _Record(BaseModel):
    """What is read of the file that keeps a search.

    rounds: the values of each trial. failed: folders of the experiments that could not be trained.
    """

    model_config = ConfigDict(strict=True)
    schema_version: Literal[1]
    spec: dict[str, Any]
    rounds: list[list[Values]]
    failed: list[str]


class _Validation(BaseModel):
    accuracy: Fraction


class _Evaluated(BaseModel):
    """What is read of metrics.json."""

    validation: _Validation


@dataclass(frozen=True)
class Runs:
    """Training runs that differ in their seed; `entry` lists them in a study."""

    entry: Entry
    experiments: list[Experiment]

    @property
    def epochs(self) -> float:
        return self.experiments[0].spec["recipe"]["epochs"]

    def accuracy(self, root: Path) -> float | None:
        """Return their mean validation accuracy; None if one of them is missing. `root` holds results/.

        Raises:
            UserError: a metrics.json is damaged.
        """
        found = []
        for each in self.experiments:
            file = root / each.directory / paths.METRICS_FILE
            if read_head(file, "spec").get("spec") != each.spec:
                return None
            found.append(read_checked(file, _Evaluated).validation.accuracy)
        return statistics.fmean(found)


@dataclass(frozen=True)
class Trial:
    """A trial of a search.

    Attributes:
        number: from 1 up.
        runs: with all epochs.
        short: with those after which the trial may stop; None without early stopping.
        state: "waiting" until it has ended.
        accuracy: on validation, where it ended; 0 if it failed.
    """

    number: int
    values: Values
    runs: Runs
    short: Runs | None
    state: Literal["waiting", "done", "stopped", "failed"] = "waiting"
    accuracy: float = 0.0

    def __str__(self) -> str:
        reached = f"validation {self.accuracy:.2%}"
        if self.state == "stopped" and self.short is not None:
            reached = f"stopped after {self.short.epochs:g} of {self.runs.epochs:g} epochs, {reached}"
        if self.state == "failed":
            reached = "failed"
        return f"trial {self.number} ({written(self.values)}): {reached}"

    @property
    def ended(self) -> Runs | None:
        """The runs that its accuracy is of; None if it failed or has not ended."""
        return {"done": self.runs, "stopped": self.short}.get(self.state)


class SearchRun:
    """A search of config.yaml, as far as it has come.

    Args:
        name: of the search.
        config: has it.
        root: the folder that holds results/.
        run: runs Snakemake.

    Raises:
        UserError: a study has its name; or its file is damaged, or of a search with other settings.
    """

    def __init__(self, name: str, config: Config, root: Path, run: RunSnakemake):
        if name in config.studies:  # which its own file would replace, so config.yaml by itself allows it
            raise UserError(
                f"config.yaml: searches.{name}: a study has this name, too, but the trials become one; rename one"
            )
        self.name, self.config, self.root, self.run = name, config, root, run
        self.search: Search = config.searches[name]
        self.record, self.study = (root / path.format(search=name) for path in (paths.SEARCH, paths.SEARCH_STUDY))
        self.spec = self.search.model_dump(mode="json", include=_OF_TRIALS)
        self.trials: list[Trial] = []
        self.rounds: list[list[Values]] = []
        self.failed: set[str] = set()
        if self.record.exists():
            found = read_checked(self.record, _Record)
            if differing := differences(found.spec, self.spec):
                raise UserError(
                    f"{self.record}: of a search with other settings ({'; '.join(differing)}); give searches.{name}"
                    " another name in config.yaml, or delete the file to search from the beginning."
                )
            self.failed = set(found.failed)
            self.rounds = found.rounds

    def finish(self) -> list[Trial]:
        """Run trials until as many have ended as config.yaml says; return all.

        Raises:
            UserError: a run of Snakemake did not finish, or no trial can be trained.
        """
        for recorded in self.rounds:  # of which the file keeps all, as config.yaml may allow again what it does not now
            if values := [*filter(self._still_fits, recorded)]:
                self._settle(values)
        while (left := self.search.trials - len(self.trials)) > 0:
            outcomes = [
                Outcome(trial.values, trial.state, trial.accuracy) for trial in self.trials if trial.state != "waiting"
            ]
            number = min(self.search.parallel, left)
            axes = self.search.values.axes()
            values = suggest(axes, outcomes, number, self.search.seed, lambda each: not self._misfits(each))
            if not values:
                LOG.info("%s: no values are left to try", self.name)
                break
            self.rounds.append(values)
            self._write()
            self._settle(values)
        self._write_study([trial.ended for trial in self.trials if trial.ended])
        return self.trials

    def lines_for(self, values: Values) -> str:
        """Return lines below a recipe's `on:` by which the searched pair is trained with these values."""
        search, on = self.search, self.config.recipes[self.search.recipe].on
        key = key_on(on, search.dataset, self.config.datasets[search.dataset].variant_of, f"/{search.model}")
        found = entry_of(search, values).set.model_dump(mode="json", exclude_unset=True)
        # A key of the pair hides that of a dataset that it is a variant of, so it needs the values of this one, too.
        known = {} if key is None else on[key].model_dump(mode="json", exclude_unset=True)
        lines = {f"{search.dataset}/{search.model}": merge(known, found)}
        return yaml.safe_dump(lines, default_flow_style=None, sort_keys=False, width=10_000).rstrip()

    # -- one round -----------------------------------------------------------------------------------------------------

    def _settle(self, values: list[Values]) -> None:
        """Train a round's trials as far as their results are missing, and add how they ended."""
        trials = [self._trial(len(self.trials) + index, each) for index, each in enumerate(values, 1)]
        LOG.info("%s: trials %d to %d of %d", self.name, trials[0].number, trials[-1].number, self.search.trials)
        trials = self._stop_early(trials)
        self._make([trial.runs for trial in trials if trial.state == "waiting"])
        for trial in trials:
            if trial.state == "waiting":
                accuracy = trial.runs.accuracy(self.root)
                done = accuracy is not None
                trial = replace(trial, state="done" if done else "failed", accuracy=accuracy or 0.0)
            self.trials.append(trial)
            LOG.info("%s: %s", self.name, trial)
        self._write()

    def _trial(self, number: int, values: Values) -> Trial:
        runs, share = self._runs(values), self.search.early_stopping
        if share is None:
            return Trial(number, values, runs, None)
        epochs = max(round(share * runs.epochs, 3), 0.001)
        return Trial(number, values, runs, self._runs({**values, "epochs": epochs}))

    def _runs(self, values: Values) -> Runs:
        entry = entry_of(self.search, values)
        return Runs(entry, self.config.of_entry(entry))

    def _misfits(self, values: Values) -> list[Problem]:
        config = self.config
        return misfits(self.search, values, config.datasets, config.models, config.recipes[self.search.recipe])

    def _still_fits(self, values: Values) -> bool:
        """Whether a trial of the record can be trained by config.yaml as it is now; warn of one that cannot."""
        if problems := self._misfits(values):
            text = "%s: the trial with %s is left out for as long as it is not possible: %s"
            LOG.warning(text, self.record, written(values), problems[0].text)
        return not problems

    def _stop_early(self, trials: list[Trial]) -> list[Trial]:
        """Train the first epochs of trials, and stop those that are worse than the median of all so far."""
        if self.search.early_stopping is None:
            return trials
        self._make([trial.short for trial in trials if trial.short])
        first = {each.number: each.short.accuracy(self.root) for each in [*self.trials, *trials] if each.short}
        known = [accuracy for accuracy in first.values() if accuracy is not None]
        median = statistics.median(known) if len(known) >= _LEAST else -math.inf
        found = []
        for trial in trials:
            accuracy = first[trial.number]
            if accuracy is None:
                found.append(replace(trial, state="failed"))
            elif accuracy < median:
                found.append(replace(trial, state="stopped", accuracy=accuracy))
            else:
                found.append(trial)
        return found

    # -- experiments ---------------------------------------------------------------------------------------------------

    def _make(self, runs: list[Runs]) -> None:
        """Have Snakemake train and evaluate the experiments that are missing; remember those that fail.

        Raises:
            UserError: an experiment is missing for another reason than its own training; or no trial can be trained.
        """
        experiments = {each.directory: each for of_trial in runs for each in of_trial.experiments}
        missing = {
            folder: each
            for folder, each in experiments.items()
            if folder not in self.failed and self._state(each).state != "done"
        }
        if not missing:
            return
        self._write_study(runs)
        self.run(self.study, [f"{folder}/{paths.METRICS_FILE}" for folder in missing])
        states = {folder: self._state(each) for folder, each in missing.items()}
        failed = {folder for folder, each in states.items() if each.state == "failed" and each.stage == "train"}
        for folder, state in states.items():
            if folder in failed:
                LOG.warning("%s: %s", folder, state.words)
            elif state.state != "done":
                raise UserError(f"{folder}: not finished{f' ({state.words})' if state.words else ''}.")
        none_done = failed == states.keys() and all(trial.state == "failed" for trial in self.trials)
        if none_done and len(failed | self.failed) >= _LEAST:
            raise UserError(f"searches.{self.name}: no trial can be trained, as in {states[min(failed)].words}.")
        self.failed |= failed

    def _state(self, experiment: Experiment) -> Status:
        return experiment_status(experiment, self.root, time.time())

    # -- files ---------------------------------------------------------------------------------------------------------

    def _write_study(self, listed: Iterable[Runs]) -> None:
        """Write runs as a study, for a configuration that is put on top of config.yaml.

        While a round is trained, it is of that round alone: so each gets as many threads as in any other round.
        """
        entries = {runs.experiments[0].directory: runs.entry for runs in listed}  # two trials may have the same runs
        study = [entry.model_dump(mode="json", exclude_unset=True) for entry in entries.values()]
        content = {"study": self.name, "studies": {self.name: study}}
        write_text(self.study, yaml.safe_dump(content, sort_keys=False))

    def _write(self) -> None:
        """Write the values of all trials, and for readers how they went."""
        trials = [
            {
                "number": trial.number,
                "values": trial.values,
                "state": trial.state,
                "validation_accuracy": trial.accuracy if trial.ended else None,
                "epochs": trial.ended and trial.ended.epochs,
                "experiments": [each.directory for each in (trial.ended or trial.runs).experiments],
            }
            for trial in self.trials
        ]
        write_json(
            self.record,
            {
                "schema_version": SCHEMA_VERSION,
                "spec": self.spec,
                "rounds": self.rounds,
                "failed": sorted(self.failed),
                "trials": trials,
            },
        )
