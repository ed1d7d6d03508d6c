"""The jobs of a configuration, and the fingerprint of each: a job is stale when it was made with another fingerprint.

A fingerprint is canonical JSON of all that can change the job's result: the settings that its stage reads and a digest
of each code file of the stage. It leaves out threads, device, mirror and paths.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from deepnets import models
from deepnets.config.experiment import PLAIN, Experiment, recipe_name, spec_sha256
from deepnets.config.schema import Config
from deepnets.config.starts import network_spec
from deepnets.figures import EXPERIMENT_FIGURES, comparison_figures
from deepnets.figures.looks import look_indices
from deepnets.planning.job import NAMES, Job, entry
from deepnets.planning.job_code import JobCode
from deepnets.planning.made_exports import made_exports, made_saliency
from deepnets.planning.start_files import published_networks, published_spec, with_starts
from deepnets.planning.stopped_trials import stopped_trials
from deepnets.utils import paths
from deepnets.utils.errors import UserError
from deepnets.utils.files import canonical_json, sha256_file
from deepnets.utils.programs import program
from deepnets.utils.specs import read_head

_Values = dict[str, Callable[..., object]]


class Jobs:
    """The jobs of a configuration.

    Args:
        config: the checked configuration.
        code_root: the repository's folder, where the code is.
        root: the folder that holds data/ and results/, for what is already there.
        study: the experiments of the study, if not all of those in the configuration.
    """

    def __init__(self, config: Config, code_root: Path, root: Path = Path(), study: list[Experiment] | None = None):
        self.config, self.code_root, self.root = config, code_root, root
        self.study = config.experiments() if study is None else study
        self.trained = with_starts(self.study, self.experiment)
        self._code = JobCode(config, code_root, self.study_experiments)
        # The values, besides code, that each stage's result depends on: a key of the fingerprint, and its function.
        of_experiment: _Values = {"experiment": self._experiment_names, "spec": self._experiment_spec}
        self._depends_on: dict[str, _Values] = {
            "download": {"spec": self._raw_spec, "state": self._raw_state},
            "prepare": {"spec": self._prepared_spec},
            "fetch_weights": {"spec": published_spec},
            "summarize": {"spec": self._network_spec},
            "latency": {"spec": self._network_spec},
            **dict.fromkeys(("train", "robustness", *paths.EXPORTS, "saliency", "card"), of_experiment),
            "evaluate": {**of_experiment, "test_time_augmentation": self._test_time_augmentation},
            "bundle": {
                **of_experiment,
                "files": lambda **_: self._file_digests(paths.BUNDLE_EXAMPLE),
                "network": lambda model, **_: self._code.own_code(model),
            },
            "compare": {"spec": self._statistics_spec},
            "plot_experiment": {"experiment": self._experiment_names, "spec": self._figure_spec},
            "plot_comparison": {"spec": self._comparison_spec, "files": self._published_digest},
            "audit": {"spec": self._prepared_spec},
            "report": {"spec": self._report_spec, "files": self._report_file_digests},
        }

    def fingerprint(self, stage: str, wildcards: Mapping[str, str]) -> str:
        """Return all that the result of a job depends on, as canonical JSON.

        Raises:
            UserError: the wildcards stand for no experiment, or a code file is broken.
        """
        return canonical_json({"code": self._code.digests(stage, wildcards), **self.settings(stage, wildcards)})

    def settings(self, stage: str, wildcards: Mapping[str, str]) -> dict[str, Any]:
        """Return the values, besides code, that the result of a job depends on; raises what `fingerprint` raises."""
        return {key: value(**wildcards) for key, value in self._depends_on[stage].items()}

    def study_name(self, suffix: str) -> str:
        """Return the study whose paths have a suffix: "-sweep" stands for `sweep`, "" for the one that is chosen."""
        return suffix.removeprefix("-") or self.config.study

    @cache  # noqa: B019 - there is one Jobs in a process, and it lives as long
    def study_experiments(self, suffix: str = "") -> list[Experiment]:
        """Return the experiments of a study; raises UserError if there is no such study. `suffix`: of its paths."""
        return self.config.experiments(self.study_name(suffix)) if suffix else self.study

    def optional_stages(self, suffix: str = "") -> list[str]:
        """Return the stages that a study has and others need not have. `suffix`: of its paths."""
        return self.config.optional_stages(self.study_name(suffix))

    def of_study(self, suffix: str = "") -> Iterator[Job]:
        """Every job of a study, stage by stage in the order of the work. `suffix`: of its paths."""
        left_out = {*paths.ON_REQUEST, *paths.OPTIONAL} - {*self.optional_stages(suffix)}
        for stage in (each for each in paths.OUTPUTS if each not in left_out):
            jobs = {}
            for wildcards in self._wildcards(stage, suffix):
                used = {key: value for key, value in wildcards.items() if f"{{{key}}}" in NAMES[stage]}
                jobs[NAMES[stage].format(**used)] = Job(stage, used)
            yield from jobs.values()

    def study_files(self, *patterns: str, dataset: str | None = None, suffix: str = "", **_names: str) -> list[str]:
        """These files of every experiment of a study, or of those on one dataset."""
        names = [each.names for each in self.study_experiments(suffix) if dataset in (None, each.dataset)]
        return [pattern.format(**each) for each in names for pattern in patterns]

    def dataset_files(self, pattern: str, suffix: str = "") -> list[str]:
        """This file of each of a study's datasets."""
        return [pattern.format(dataset=name, suffix=suffix) for name in self._datasets(suffix)]

    def experiment_figures(self, suffix: str = "") -> list[str]:
        """The figures of every experiment of a study, as PNG."""
        return self.study_files(*(figure.files[0] for figure in EXPERIMENT_FIGURES.values()), suffix=suffix)

    def optional_files(self, stages: Iterable[str] | None = None, suffix: str = "", **names: str) -> list[str]:
        """Return the files that optional stages write about a study's experiments, or about those on one dataset.

        Args:
            stages: those of the study by default.
            suffix: of the study's paths.
            names: `dataset`, and others that have no effect.
        """
        stages = self.optional_stages(suffix) if stages is None else stages
        patterns = [paths.OUTPUTS[stage][0] for stage in stages]
        return list(dict.fromkeys(self.study_files(*patterns, suffix=suffix, **names)))  # a file for several seeds

    def comparison_files(self, suffix: str = "") -> list[str]:
        """The comparison figures of each of a study's datasets."""
        return [paths.COMPARISON_FIGURE.format(**names) for names in self.comparisons(suffix)]

    def result_files(self) -> list[str]:
        """Every file of the study below results/, and the audit of each dataset whose arrays are there.

        As targets: Snakemake rebuilds a target that is missing, but not a file that one was made from.
        """
        return [
            path
            for job in self.of_study()
            for path in job.required_outputs(self.root)
            if path.startswith("results/") or job.stage == "audit"
        ]

    def comparisons(self, suffix: str = "") -> Iterator[dict[str, str]]:
        """The wildcards of each comparison figure of a study whose condition is met."""
        for dataset in self._datasets(suffix):
            for figure in comparison_figures(self._compared(dataset, suffix), self.optional_stages(suffix)):
                yield {"dataset": dataset, "figure": figure.name, "suffix": suffix}

    def needs_images(self, dataset: str, **_names: str) -> bool:
        """Whether the summary of a network needs the prepared images, as config.yaml leaves out what they are like."""
        options = entry("dataset", dataset, self.config.datasets)
        return options.known_shape is None or options.num_classes is None

    def unforeseen_training(self, suffix: str = "") -> Iterator[str]:
        """Yield lines for the user if this run would train more than the new experiments.

        When Snakemake rebuilds a file, everything that was made from the file is stale, even if its bytes are the same.
        """
        for dataset in self._datasets(suffix):
            names = [each.names for each in self._compared(dataset, suffix)]
            trained = [(self.root / paths.MODEL.format(**each)).exists() for each in names]
            info = paths.DATASET_INFO.format(dataset=dataset)
            if any(trained) and not all(trained) and not (self.root / info).exists():
                yield (
                    f"data/{dataset}: the arrays are gone, and some experiments are still to be trained; if both happen"
                    f" in one run, Snakemake trains all {len(trained)} again. Build the arrays first:"
                    f" {program('snakemake')} --cores 2 {info}"
                )

    def check_data(self) -> None:
        """Look at the user's own images of the study for about a second, unless no job needs them any more.

        Raises:
            UserError: a wrong path or number of classes, a line for each dataset.
        """
        problems = []
        for name in dict.fromkeys(each.dataset for each in self.trained):
            try:
                raw = self.root / paths.DATASET.format(dataset=name) / paths.RAW
                self.config.datasets[name].check_files(name, raw)
            except UserError as error:
                if not (self._is_prepared(name) or self._is_evaluated(name)):
                    problems.append(str(error))
        if problems:
            raise UserError("\n".join(problems))

    def _is_prepared(self, dataset: str) -> bool:
        """Whether the arrays are those of the configuration; then their images may have been deleted."""
        manifest, info = (
            read_head(self.root / path.format(dataset=dataset), "spec", "state")
            for path in (paths.RAW_MANIFEST, paths.DATASET_INFO)
        )
        prepared_spec, state = self._prepared_spec(dataset), self._raw_state(dataset)
        return info.get("spec") == prepared_spec and manifest.get("state", state) == state

    def _is_evaluated(self, dataset: str) -> bool:
        """Whether all experiments of the study on a dataset are finished; then data/ may have been deleted."""
        return all(
            PLAIN | read_head(self.root / each.directory / paths.METRICS_FILE, "spec", *PLAIN)
            == {"spec": each.spec, "test_time_augmentation": self._test_time_augmentation(each.dataset, each.recipe)}
            for each in self.study
            if each.dataset == dataset
        )

    @cached_property
    def experiments(self) -> dict[str, Experiment]:
        """All studies' experiments by their directories: each can be asked for, whichever study the report is about."""
        return {each.directory: each for study in self.config.studies for each in self.config.experiments(study)}

    def experiment(self, dataset: str, model: str, recipe: str, seed: str, **_other: str) -> Experiment:
        """Return the experiment of these names, whether or not a study lists it.

        Raises:
            UserError: there can be no such experiment: the network does not take the images, for example.
        """
        listed = self.experiments.get(paths.EXPERIMENT.format(dataset=dataset, model=model, recipe=recipe, seed=seed))
        if listed:
            return listed
        if not re.fullmatch("0|[1-9][0-9]{0,9}", seed):  # each seed has one folder
            raise UserError(f"seed must be a whole number without zeros before it (got {seed[:60]!r}); write seed0")
        return self.config.experiment(dataset, model, recipe, int(seed))

    def _datasets(self, suffix: str = "") -> list[str]:
        return list(dict.fromkeys(each.dataset for each in self.study_experiments(suffix)))

    def _wildcards(self, stage: str, suffix: str) -> Iterator[dict[str, str]]:
        if stage == "plot_comparison":
            yield from self.comparisons(suffix)
            return
        study = self.study_experiments(suffix)
        trained = with_starts(study, self.experiment)
        if stage == "fetch_weights":
            yield from published_networks(trained)
            return
        for each in trained if stage in ("download", "prepare", "train") else study:
            yield {**{key: str(value) for key, value in each.names.items()}, "suffix": suffix}

    # -- settings ----------------------------------------------------------------------------------------------------

    def _raw_spec(self, dataset: str) -> dict:
        """Return the settings that identify a dataset's raw files."""
        return entry("dataset", dataset, self.config.datasets).raw_spec()

    @cache  # noqa: B019 - as above; it asks for the size of each image
    def _raw_state(self, dataset: str) -> str | None:
        """Return a value that changes with the user's images while their settings stay the same.

        If the images cannot be read (moved away, a mirror unplugged), the state recorded in raw.json is returned.
        """
        state = self.config.datasets[dataset].local_state(dataset)
        if state is None:
            return read_head(self.root / paths.RAW_MANIFEST.format(dataset=dataset), "state").get("state")
        return state

    def _prepared_spec(self, dataset: str) -> dict:
        """Return the settings that identify a dataset's arrays."""
        return entry("dataset", dataset, self.config.datasets).prepared_spec()

    def _network_spec(self, dataset: str, model: str) -> dict:
        """Return the settings that identify a network: its model, its input and its output.

        What only the images show is None; `found_values` has it, once they are prepared.
        """
        options = entry("dataset", dataset, self.config.datasets)
        entry("model", model, self.config.models)
        return {
            "model": network_spec(self.config, model, dataset),
            "input_shape": None if options.known_shape is None else list(options.known_shape),
            "num_classes": options.num_classes,
        }

    def _experiment_spec(self, **wildcards: str) -> dict:
        """Return all settings that identify an experiment's result."""
        return self.experiment(**wildcards).spec

    def _test_time_augmentation(self, dataset: str, recipe: str, **_names: str) -> str:
        """Return how the evaluation augments images; not in the experiment's spec, as it has no effect on training."""
        chosen = self.config.recipes[recipe_name(recipe)].test_time_augmentation
        return chosen if self.config.datasets[dataset].flips else "none"

    def _experiment_names(self, **wildcards: str) -> dict:
        """Return an experiment's names, as its metrics and figures show them."""
        return self.experiment(**wildcards).names

    def _figure_spec(self, model: str, **names: str) -> dict:
        """Return the settings that a figure of one experiment depends on, besides the numbers in it."""
        spec = self.experiment(model=model, **names).spec
        found = {"models": self._model_indices([model]), "style": self._styles([model]), "recipe": spec["recipe"]}
        architecture = spec["model"]["architecture"]
        # Left out where it changes nothing, so that no figure is drawn again.
        is_other = models.display_name(model, architecture) != models.display_name(model)
        return {**found, "architecture": architecture} if is_other else found

    def _compared(self, dataset: str, suffix: str) -> list[Experiment]:
        """Return a study's experiments on a dataset; raises UserError if it has none."""
        compared = [experiment for experiment in self.study_experiments(suffix) if experiment.dataset == dataset]
        if not compared:
            raise UserError(self._nothing_to_compare(dataset, suffix))
        return compared

    def _statistics_spec(self, dataset: str, suffix: str = "") -> dict:
        """Return the settings that the statistics of one dataset depend on, besides the experiments' files."""
        compared = self._compared(dataset, suffix)
        return {
            "dataset": dataset,
            "experiments": [experiment.directory for experiment in compared],
            "specs": [spec_sha256(experiment.spec) for experiment in compared],
            "margin": self.config.equivalence_margin,
        }

    def _comparison_spec(self, dataset: str, suffix: str = "", **_names: str) -> dict:
        """Return the settings that a comparison figure of one dataset depends on, besides the numbers in it."""
        compared = self._compared(dataset, suffix)
        names = list(dict.fromkeys(experiment.model for experiment in compared))
        return {
            "dataset": dataset,
            "experiments": [experiment.directory for experiment in compared],
            "specs": [spec_sha256(experiment.spec) for experiment in compared],
            "stopped": stopped_trials(self.study_name(suffix), self.root),
            "variant_of": self.config.datasets[dataset].variant_of,
            "models": self._model_indices(names),
            "style": self._styles(names),
        }

    def _nothing_to_compare(self, dataset: str, suffix: str) -> str:
        """Explain why a dataset has no comparison in a study, and which study has one."""
        studies = [
            name for name in self.config.studies if dataset in {e.dataset for e in self.config.experiments(name)}
        ]
        choose = "choose another study, " + ("" if suffix else "--config study=")
        hint = f"{choose}{'|'.join(studies)}" if studies else "add one to config.yaml"
        folder = paths.COMPARISON.format(dataset=dataset, suffix=suffix)
        return f"{folder}: study {self.study_name(suffix)} has no experiment on {dataset}; {hint}"

    def _report_spec(self, suffix: str = "") -> dict:
        """Return the settings that a report depends on, besides the files of its experiments."""
        experiments = self.study_experiments(suffix)
        datasets = {name: self.config.datasets[name] for name in self._datasets(suffix)}
        return {
            "study": self.study_name(suffix),
            "experiments": [experiment.directory for experiment in experiments],
            "specs": [spec_sha256(experiment.spec) for experiment in experiments],
            "optional": self.optional_stages(suffix),
            "exports": made_exports(experiments, self.root),
            "saliency": made_saliency(experiments, self.root),
            "stopped": stopped_trials(self.study_name(suffix), self.root),
            "datasets": {
                name: {"variant_of": dataset.variant_of, "note": dataset.note, "own_files": dataset.own_files}
                for name, dataset in datasets.items()
            },
            "style": self._styles(dict.fromkeys(each.model for each in experiments)),
        }

    def _published_digest(self, **_wildcards: str) -> dict[str, str]:
        return self._file_digests(paths.PUBLISHED)

    def _report_file_digests(self, **_wildcards: str) -> dict[str, str]:
        templates = (paths.TEMPLATE, paths.EXPERIMENT_TEMPLATE, *paths.PAGE_TEMPLATES)
        return self._file_digests(*templates, paths.PUBLISHED, paths.REFERENCES)

    def _file_digests(self, *names: str) -> dict[str, str]:
        """Return digests of files that a job reads and that are neither settings nor code nor another job's result."""
        return {name: sha256_file(self.code_root / name) for name in names}

    def _model_indices(self, names: Iterable[str]) -> dict[str, int]:
        """Index of each model's look; one that is added to config.yaml at its end changes no other's."""
        undeclared = [name for name in self.config.models if models.about(name).color is None]
        return {name: look_indices(undeclared).get(name, 0) for name in names}

    def _styles(self, names: Iterable[str]) -> dict[str, str]:
        """Return the name and look of each model. `code` leaves them out: they must not make a training run stale."""
        about = {name: models.about(name) for name in names}
        return {
            name: f"{models.display_name(name, self.config.models[name].architecture)}"
            f" {each.color} {each.marker} {each.linestyle}"
            for name, each in about.items()
        }
