"""What more than one rule file needs: the checked configuration, the jobs' parameters and code, the lists of files.

A job is stale when its one recorded param has changed: a canonical JSON string of everything that can change its
result, the settings of its stage and a digest of each code file of its stage. Nothing else is recorded: not threads,
device, mirror or paths.
"""

import os
import sys
from functools import lru_cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

ROOT = Path(workflow.basedir)
# Relative where it can be, so that logs and input lists read the same on every machine.
SCRIPTS = "scripts" if Path.cwd() == ROOT else str(ROOT / "scripts")
sys.path.insert(0, str(ROOT / "scripts"))

from deepnets.code import digests, import_closure
from deepnets.config import load_config
from deepnets.errors import UserError
from deepnets.files import canonical_json

CONFIG_FILE = "config.yaml" if Path("config.yaml").exists() else str(ROOT / "config.yaml")
try:
    CONFIG = load_config(CONFIG_FILE, config)
except UserError as error:
    raise WorkflowError(str(error)) from None

STUDY = CONFIG.experiments()
STUDY_DATASETS = list(dict.fromkeys(experiment.dataset for experiment in STUDY))

# All studies' files can be asked for, whichever study the report is about.
EXPERIMENTS = {
    experiment.directory: experiment
    for study in CONFIG.studies
    for experiment in CONFIG.experiments(study)
}

# Jobs inherit it: threads that spin while they wait starve each other as soon as two jobs share a core.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

EXPERIMENT = "results/{dataset}/{model}/{recipe}/seed{seed}"
LOGS = "logs/{dataset}/{model}/{recipe}/seed{seed}"
CONDA = str(ROOT / "environment.yml")


wildcard_constraints:
    dataset="|".join(CONFIG.datasets),
    model="|".join(CONFIG.models),
    recipe="|".join(CONFIG.recipes),
    seed=r"\d+",


def experiment_of(wildcards):
    """The experiment that a path's names stand for; one that no study lists has its recipe's plain settings."""
    directory = EXPERIMENT.format(**wildcards)
    return EXPERIMENTS.get(directory) or CONFIG.experiment(
        wildcards.dataset, wildcards.model, wildcards.recipe, int(wildcards.seed)
    )


# -- code: the files that a stage's result depends on -------------------------------------------------------------------


def plugins_of(stage, wildcards):
    """Names of the modules that a stage imports by a computed name: one architecture's, or one data source's."""
    if stage in ("download", "prepare"):
        return (f"deepnets.datasets.{CONFIG.datasets[wildcards.dataset].source}",)
    if stage in ("summarize", "train", "evaluate"):
        return (f"deepnets.models.{CONFIG.models[wildcards.model].architecture}",)
    return ()


@lru_cache
def closure(stage, plugins):
    """Code files of a stage, relative to the repository."""
    try:
        return import_closure(f"scripts/{stage}.py", ROOT, plugins)
    except UserError as error:
        raise WorkflowError(str(error)) from None


@lru_cache
def closure_digests(stage, plugins):
    """Digest of each code file of a stage, by its path in the repository."""
    return digests(closure(stage, plugins), ROOT)


def code(stage):
    """Input function: the code files of a stage. Wrap it in ancient(): the digests in `job` see their changes."""

    def files(wildcards):
        return [
            path.as_posix() if SCRIPTS == "scripts" else str(ROOT / path)
            for path in closure(stage, plugins_of(stage, wildcards))
        ]

    return files


# -- jobs: the one recorded param of each rule --------------------------------------------------------------------------


def job(stage, **parts):
    """Param function: a stage's job as canonical JSON, from `parts`, each a function of the wildcards."""

    def text(wildcards):
        values = {name: part(wildcards) for name, part in parts.items()}
        return canonical_json({"code": closure_digests(stage, plugins_of(stage, wildcards)), **values})

    return text


def raw_spec(wildcards):
    """What identifies a dataset's raw files."""
    return CONFIG.datasets[wildcards.dataset].raw_spec()


def mirror_option(wildcards, output):
    """Where else to look for the raw files; Snakemake does not record a param that takes `output`, and it is no part of the result."""
    mirror = CONFIG.datasets[wildcards.dataset].mirror
    return ["--mirror", mirror] if mirror else []


def prepared_spec(wildcards):
    """What identifies a dataset's arrays."""
    return CONFIG.datasets[wildcards.dataset].prepared_spec()


def network_spec(wildcards):
    """What identifies a network: its model, its input and its output."""
    dataset = CONFIG.datasets[wildcards.dataset]
    return {
        "model": CONFIG.models[wildcards.model].spec(wildcards.dataset, dataset),
        "input_shape": list(dataset.input_shape),
        "num_classes": dataset.num_classes,
    }


def experiment_spec(wildcards):
    """Everything that identifies an experiment's result."""
    return experiment_of(wildcards).spec


def experiment_names(wildcards):
    """An experiment's names, as its metrics and figures show them."""
    return experiment_of(wildcards).names


def figure_spec(wildcards):
    """What a figure of one experiment depends on besides the figures in it."""
    return {"models": model_colours([wildcards.model])}


def comparison_spec(wildcards):
    """What a comparison on one dataset depends on besides the figures in it."""
    return {
        "dataset": wildcards.dataset,
        "variant_of": CONFIG.datasets[wildcards.dataset].variant_of,
        "models": model_colours(experiment.model for experiment in STUDY if experiment.dataset == wildcards.dataset),
    }


def model_colours(names):
    """Place of each model in config.yaml, which decides its colour: a model added at the end recolours no other."""
    places = {name: place for place, name in enumerate(CONFIG.models)}
    return {name: places[name] for name in names}


def report_spec(wildcards):
    """What the report depends on besides the files of its experiments."""
    return {
        "study": CONFIG.study,
        "experiments": [experiment.names for experiment in STUDY],
        "specs": [experiment.spec_sha256 for experiment in STUDY],
        "datasets": {
            name: {"variant_of": CONFIG.datasets[name].variant_of, "note": CONFIG.datasets[name].note}
            for name in STUDY_DATASETS
        },
    }


# -- lists of files -----------------------------------------------------------------------------------------------------


def study_files(*names):
    """These files of every experiment of the study."""
    return [f"{experiment.directory}/{name}" for experiment in STUDY for name in names]


def dataset_files(name):
    """Input function: this file of every experiment of the study on one dataset."""

    def files(wildcards):
        return [f"{e.directory}/{name}" for e in STUDY if e.dataset == wildcards.dataset]

    return files
