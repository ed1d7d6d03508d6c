"""What the rules share: the checked configuration, the jobs' parameters and code, the lists of files.

A job is stale when its one recorded param has changed: a canonical JSON string of everything that can change its
result, the settings of its stage and a digest of each code file of its stage. Nothing else is recorded: not threads,
device, mirror or paths.
"""

import contextlib
import fcntl
import json
import sys
from functools import lru_cache
from pathlib import Path

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "scripts"))

from deepnets.code import digests, import_closure
from deepnets.errors import UserError
from deepnets.files import canonical_json
from deepnets.groups import has_budgets
from deepnets.machine import usable_cores

CONFIG_FILE = "config.yaml" if Path("config.yaml").exists() else str(ROOT / "config.yaml")
OVERRIDES = [os.path.relpath(file) for file in workflow.configfiles]  # what --configfile names
if workflow.config_settings.config or not OVERRIDES:
    OVERRIDES.append("--config")
try:
    from deepnets.config import load_config  # imports every architecture, people's own too

    CONFIG = load_config(CONFIG_FILE, config, overrides_from=" or ".join(OVERRIDES))
except UserError as error:
    sys.exit(str(error))  # these lines and no more: Snakemake would put the places in its code around a WorkflowError

# Held for as long as this Snakemake lives, however it ends: scripts/unlock.py then knows whether anybody is at work.
with contextlib.suppress(OSError):  # a folder that is read-only, a file system without locks
    os.makedirs(".snakemake", exist_ok=True)
    ALIVE = open(".snakemake/alive", "a")
    fcntl.flock(ALIVE, fcntl.LOCK_SH)

config["study"] = CONFIG.study  # for the words of `snakemake --report`

STUDY = CONFIG.experiments()
STUDY_DATASETS = list(dict.fromkeys(experiment.dataset for experiment in STUDY))

# All studies' files can be asked for, whichever study the report is about.
EXPERIMENTS = {experiment.directory: experiment for study in CONFIG.studies for experiment in CONFIG.experiments(study)}

# Trainings side by side use the cores better than threads of one, which wait for each other after every layer; only
# cores that no experiment would have are given to the threads. `--set-threads train=2 evaluate=2` overrides it.
TRAIN_THREADS = max(1, min(workflow.resource_settings.cores or 1, usable_cores()) // len(STUDY))

EXPERIMENT = "results/{dataset}/{model}/{recipe}/seed{seed}"
LOGS = "logs/{dataset}/{model}/{recipe}/seed{seed}"
EXPERIMENT_FIGURES = ("learning_curves", "confusion_matrix")
COMPARISONS = ("accuracy", "accuracy_vs_parameters", "accuracy_vs_time", "accuracy_vs_budget")
CONDA = str(ROOT / "environment.yml")


wildcard_constraints:
    dataset="|".join(CONFIG.datasets),
    model="|".join(CONFIG.models),
    recipe="|".join(CONFIG.recipes),
    seed="0|[1-9][0-9]*",  # one way to write each, so that none is trained twice
    figure="|".join(COMPARISONS),


def experiment_of(wildcards):
    """The experiment that a path's names stand for; one that no study lists has its recipe's plain settings."""
    directory = EXPERIMENT.format(**wildcards)
    try:
        return EXPERIMENTS.get(directory) or CONFIG.experiment(
            wildcards.dataset, wildcards.model, wildcards.recipe, int(wildcards.seed)
        )
    except UserError as error:
        sys.exit(str(error))


# -- code: the files that a stage's result depends on ------------------------------------------------------------------


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
        sys.exit(str(error))


@lru_cache
def closure_digests(stage, plugins):
    """Digest of each code file of a stage, by its path in the repository."""
    return digests(closure(stage, plugins), ROOT)


def in_repository(path):
    """A file of the repository, relative where it can be: input lists then read the same wherever the folder lies."""
    return path if Path.cwd() == ROOT else str(ROOT / path)


def code(stage):
    """Input function: the code files of a stage. Wrap it in ancient(): the digests in `job` see their changes."""

    def files(wildcards):
        return [in_repository(path.as_posix()) for path in closure(stage, plugins_of(stage, wildcards))]

    return files


# -- jobs: the one recorded param of each rule -------------------------------------------------------------------------


def job(stage, **parts):
    """Param function: a stage's job as canonical JSON, from `parts`, each a function of the wildcards."""

    def text(wildcards):
        values = {name: part(wildcards) for name, part in parts.items()}
        return canonical_json({"code": closure_digests(stage, plugins_of(stage, wildcards)), **values})

    return text


def raw_spec(wildcards):
    """What identifies a dataset's raw files."""
    return CONFIG.datasets[wildcards.dataset].raw_spec()


def raw_state(wildcards):
    """What changes with people's own images while their settings stay the same.

    Where the images are out of reach (moved away, a mirror unplugged), what they were when they were read still holds.
    """
    state = CONFIG.datasets[wildcards.dataset].local_state(wildcards.dataset)
    manifest = Path("data", wildcards.dataset, "raw.json")
    if state is None and manifest.exists():
        with contextlib.suppress(ValueError, AttributeError):  # a damaged manifest tells nothing
            return json.loads(manifest.read_text(encoding="utf-8")).get("state")
    return state


def mirror_option(wildcards, output):
    """Where else to look for raw files: no part of the result, and never recorded, as it takes `output`."""
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
        "experiments": [experiment.directory for experiment in STUDY if experiment.dataset == wildcards.dataset],
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
        "experiments": [experiment.directory for experiment in STUDY],
        "datasets": {
            name: {"variant_of": CONFIG.datasets[name].variant_of, "note": CONFIG.datasets[name].note}
            for name in STUDY_DATASETS
        },
    }


# -- lists of files ----------------------------------------------------------------------------------------------------


def study_files(*names):
    """These files of every experiment of the study."""
    return [f"{experiment.directory}/{name}" for experiment in STUDY for name in names]


def all_files():
    """Every file of the study: Snakemake makes again what a target lacks, but not what an earlier one was made from."""
    networks = dict.fromkeys(f"results/{experiment.dataset}/{experiment.model}" for experiment in STUDY)
    return [
        *study_files("model.safetensors", "history.csv", "timing.json", "metrics.json", "predictions.safetensors"),
        *study_files(*(f"figures/{name}.{kind}" for name in EXPERIMENT_FIGURES for kind in ("png", "svg"))),
        *(f"{network}/summary.{kind}" for network in networks for kind in ("json", "txt")),
        *comparison_figures(),
        *("results/report.md", "results/metrics.csv", "results/environment.json"),
    ]


def comparison_figures():
    """The comparisons of each of the study's datasets; the one over budgets where a model has several."""
    figures = []
    for dataset in STUDY_DATASETS:
        budgets = has_budgets([(e.model, e.spec["recipe"]["epochs"]) for e in STUDY if e.dataset == dataset])
        names = [name for name in COMPARISONS if budgets or name != "accuracy_vs_budget"]
        figures += [f"results/{dataset}/comparison/{name}.png" for name in names]
    return figures


def dataset_files(name):
    """Input function: this file of every experiment of the study on one dataset."""

    def files(wildcards):
        if wildcards.dataset not in STUDY_DATASETS:
            sys.exit(nothing_to_compare(wildcards.dataset))
        return [f"{e.directory}/{name}" for e in STUDY if e.dataset == wildcards.dataset]

    return files


def nothing_to_compare(dataset):
    """Why a dataset has no comparison in this study, and how to ask for one that has."""
    others = [study for study in CONFIG.studies if dataset in {e.dataset for e in CONFIG.experiments(study)}]
    way_out = "ask for another study, --config study=" + "|".join(others) if others else "add one to config.yaml"
    return f"results/{dataset}/comparison: study {CONFIG.study} has no experiment on {dataset}; {way_out}"
