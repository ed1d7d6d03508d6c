"""What each job's result depends on, as one text: a job is stale when its text is not the one it was made with.

The text is canonical JSON of all that can change the result, the settings of the job's stage and a digest of each code
file of the stage. Nothing else is in it: not threads, device, mirror or paths.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from deepnets import models
from deepnets.config.experiment import Experiment
from deepnets.config.schema import Config
from deepnets.figures import EXPERIMENT_FIGURES, comparison_figures
from deepnets.planning.code_digest import digests, import_closure
from deepnets.planning.paths import EXPERIMENT, OUTPUTS
from deepnets.utils.files import canonical_json, sha256_file

TEMPLATE, PUBLISHED = "workflow/templates/report.md.j2", "workflow/published.csv"


@dataclass(frozen=True)
class Job:
    """One job: its stage, and the words that fill the paths of its files."""

    stage: str
    names: Mapping[str, str]

    @property
    def outputs(self) -> list[str]:
        """The files that it makes; the first one names the job."""
        return [path.format(**self.names) for path in OUTPUTS[self.stage]]


class Jobs:
    """The jobs of a configuration.

    A job is named by its stage, which is its script's name, and by the words that fill its files' paths: some of
    "dataset", "model", "recipe", "seed" and "figure".

    Args:
        config: the checked configuration.
        root: the repository's root, where the code is.
    """

    def __init__(self, config: Config, root: Path):
        self.config, self.root = config, root
        self.study = config.experiments()
        # Each is called by its job's names, and takes what it needs of them.
        self._parts = {
            "download": {"spec": self._raw_spec, "state": self._raw_state},
            "prepare": {"spec": self._prepared_spec},
            "summarize": {"spec": self._network_spec},
            "train": {"experiment": self._experiment_names, "spec": self._experiment_spec},
            "evaluate": {"experiment": self._experiment_names, "spec": self._experiment_spec},
            "plot_experiment": {
                "experiment": lambda figure, **names: self._experiment_names(**names),
                "spec": self._figure_spec,
            },
            "plot_comparison": {"spec": self._comparison_spec, "files": lambda **_: self._file_digests(PUBLISHED)},
            "report": {"spec": self._report_spec, "files": lambda **_: self._file_digests(TEMPLATE, PUBLISHED)},
        }

    def text(self, stage: str, names: Mapping[str, str]) -> str:
        """All that the result of a job depends on.

        Raises:
            UserError: the names stand for no experiment, or a code file is broken.
        """
        parts = {part: depends_on(**names) for part, depends_on in self._parts[stage].items()}
        return canonical_json({"code": self._digests(stage, self._plugins(stage, names)), **parts})

    def code(self, stage: str, names: Mapping[str, str]) -> list[Path]:
        """The code files of a job, relative to the repository.

        Raises:
            UserError: one of them is broken.
        """
        return self._closure(stage, self._plugins(stage, names))

    def of_study(self) -> Iterator[Job]:
        """Every job of the study, stage by stage in the order of the work."""
        for stage, paths in OUTPUTS.items():
            names = [each.names | {"seed": str(each.seed)} for each in self.study]
            if stage == "plot_experiment":
                names = [each | {"figure": figure} for each in names for figure in EXPERIMENT_FIGURES]
            if stage == "plot_comparison":
                names = [{"dataset": dataset, "figure": figure} for dataset, figure in self.comparisons()]
            path = paths[0]
            jobs = {path.format(**each): {key: each[key] for key in each if f"{{{key}}}" in path} for each in names}
            yield from (Job(stage, each) for each in jobs.values())

    def comparisons(self) -> Iterator[tuple[str, str]]:
        """Dataset and figure of each comparison in the study whose condition is met."""
        for dataset in dict.fromkeys(each.dataset for each in self.study):
            compared = [each for each in self.study if each.dataset == dataset]
            yield from ((dataset, figure.name) for figure in comparison_figures(compared))

    @cached_property
    def experiments(self) -> dict[str, Experiment]:
        """All studies' experiments by their directories: each can be asked for, whatever the report is about."""
        return {each.directory: each for study in self.config.studies for each in self.config.experiments(study)}

    def experiment(self, dataset: str, model: str, recipe: str, seed: str) -> Experiment:
        """The experiment of these names; one that no study lists has its recipe's plain settings.

        Raises:
            UserError: it cannot be: the network does not take the images, for one.
        """
        listed = self.experiments.get(EXPERIMENT.format(dataset=dataset, model=model, recipe=recipe, seed=seed))
        return listed or self.config.experiment(dataset, model, recipe, int(seed))

    def _plugins(self, stage: str, names: Mapping[str, str]) -> tuple[str, ...]:
        """Modules that a stage imports by a computed name: one architecture's, or one data source's."""
        if stage in ("download", "prepare"):
            return (f"deepnets.data.sources.{self.config.datasets[names['dataset']].source}",)
        if stage in ("summarize", "train", "evaluate"):
            return (f"deepnets.models.{self.config.models[names['model']].architecture}",)
        # A model that has an architecture's name is called and drawn as that architecture's module says.
        shown = tuple(f"deepnets.models.{model}" for model in self._shown(names) if model in models.available())
        return (f"deepnets.figures.{names['figure']}", *shown) if "figure" in names else shown

    def _shown(self, names: Mapping[str, str]) -> list[str]:
        """The models in a figure or in the report."""
        if "model" in names:
            return [names["model"]]
        dataset = names.get("dataset")
        return sorted({each.model for each in self.study if dataset in (None, each.dataset)})

    @cache  # noqa: B019 - there is one Jobs in a process, and it lives as long
    def _closure(self, stage: str, plugins: tuple[str, ...]) -> list[Path]:
        return import_closure(f"scripts/{stage}.py", self.root, plugins)

    @cache  # noqa: B019
    def _digests(self, stage: str, plugins: tuple[str, ...]) -> dict[str, str]:
        return digests(self._closure(stage, plugins), self.root)

    # -- the parts -----------------------------------------------------------------------------------------------------

    def _raw_spec(self, dataset: str) -> dict:
        """What identifies a dataset's raw files."""
        return self.config.datasets[dataset].raw_spec()

    def _raw_state(self, dataset: str) -> str | None:
        """What changes with people's own images while their settings stay the same.

        Where the images are out of reach (moved away, a mirror unplugged), what they were when read still holds.
        """
        state = self.config.datasets[dataset].local_state(dataset)
        manifest = Path("data", dataset, "raw.json")
        if state is None and manifest.exists():
            with contextlib.suppress(ValueError, AttributeError):  # a damaged manifest tells nothing
                return json.loads(manifest.read_text(encoding="utf-8")).get("state")
        return state

    def _prepared_spec(self, dataset: str) -> dict:
        """What identifies a dataset's arrays."""
        return self.config.datasets[dataset].prepared_spec()

    def _network_spec(self, dataset: str, model: str) -> dict:
        """What identifies a network: its model, its input and its output."""
        options = self.config.datasets[dataset]
        return {
            "model": self.config.models[model].spec(dataset, options),
            "input_shape": list(options.input_shape),
            "num_classes": options.num_classes,
        }

    def _experiment_spec(self, **names: str) -> dict:
        """Everything that identifies an experiment's result."""
        return self.experiment(**names).spec

    def _experiment_names(self, **names: str) -> dict:
        """An experiment's names, as its metrics and figures show them."""
        return self.experiment(**names).names

    def _figure_spec(self, model: str, **_names: str) -> dict:
        """What a figure of one experiment depends on besides the figures in it."""
        return {"models": self._places([model]), "looks": _looks([model])}

    def _comparison_spec(self, dataset: str, **_names: str) -> dict:
        """What a comparison on one dataset depends on besides the figures in it."""
        compared = [experiment for experiment in self.study if experiment.dataset == dataset]
        return {
            "dataset": dataset,
            "experiments": [experiment.directory for experiment in compared],
            "variant_of": self.config.datasets[dataset].variant_of,
            "models": self._places(experiment.model for experiment in compared),
            "looks": _looks(experiment.model for experiment in compared),
        }

    def _report_spec(self) -> dict:
        """What the report depends on besides the files of its experiments."""
        datasets = {name: self.config.datasets[name] for name in dict.fromkeys(each.dataset for each in self.study)}
        return {
            "study": self.config.study,
            "experiments": [experiment.directory for experiment in self.study],
            "datasets": {
                name: {"variant_of": dataset.variant_of, "note": dataset.note, "own_files": dataset.own_files}
                for name, dataset in datasets.items()
            },
            "names": {each.model: models.display_name(each.model) for each in self.study},
        }

    def _file_digests(self, *paths: str) -> dict[str, str]:
        """What a job reads that is neither settings nor code nor another job's result."""
        return {path: sha256_file(self.root / path) for path in paths}

    def _places(self, names: Iterable[str]) -> dict[str, int]:
        """Place of each model in config.yaml, which decides its colour: one added at the end recolours no other."""
        return {name: self._place[name] for name in names}

    @cached_property
    def _place(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.config.models)}


def _looks(names: Iterable[str]) -> dict[str, list]:
    """What the networks' modules declare of their look, which the digests of their code leave out."""
    declared = {name: models.about(name) for name in names}
    return {name: [each.display_name, each.color, each.marker, each.linestyle] for name, each in declared.items()}
