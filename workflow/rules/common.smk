"""What the rules share: the checked configuration, the jobs' one recorded param and their code, the lists of files."""

import contextlib
import fcntl
import functools
import json
import math
import os
import platform
import sys
from pathlib import Path

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "scripts"))

from deepnets.utils.checksums import find_corrupted
from deepnets.planning.estimates import core_seconds, evaluation_memory_mb, memory_mb
from deepnets.utils.errors import UserError
from deepnets.utils.machine import usable_cores, usable_memory_mb, visible_gpus
from deepnets.planning.threads import Training, choose_threads, speed_up

CONFIG_FILE = "config.yaml" if Path("config.yaml").exists() else str(ROOT / "config.yaml")
OVERRIDES = [os.path.relpath(file) for file in workflow.configfiles]  # what --configfile names
if workflow.config_settings.config or not OVERRIDES:
    OVERRIDES.append("--config")
try:
    from deepnets.config.loader import load_config  # imports every architecture, people's own too
    from deepnets.planning.jobs import Jobs
    from deepnets.figures import COMPARISON_FIGURES, EXPERIMENT_FIGURES
    from deepnets.planning.paths import EXPERIMENT

    CONFIG = load_config(CONFIG_FILE, config, overrides_from=" or ".join(OVERRIDES))
except UserError as error:
    sys.exit(str(error))  # these lines and no more: Snakemake would put the places in its code around a WorkflowError

# Held for as long as this Snakemake lives, however it ends. Who can have it alone knows that nobody else on this machine
# is at work: a lock that Snakemake itself has left here is then that of a run that was killed.
with contextlib.suppress(OSError):  # a folder that is read-only, a file system without locks
    os.makedirs(".snakemake", exist_ok=True)
    ALIVE = open(".snakemake/alive", "a+")
    if workflow.is_main_process:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(ALIVE, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locks = list(Path(".snakemake/locks").glob("*.lock"))
            ALIVE.seek(0)
            if not locks or ALIVE.read() == platform.node():  # on a shared disk another machine's run may live
                for lock in locks:
                    lock.unlink()
                    print(f"{lock}: left by a run that was killed; removed", file=sys.stderr)
                ALIVE.truncate(0)
                ALIVE.write(platform.node())
                ALIVE.flush()
    fcntl.flock(ALIVE, fcntl.LOCK_SH)

config["study"] = CONFIG.study  # for the words of `snakemake --report`
config["captions"] = {name: figure.caption for name, figure in {**EXPERIMENT_FIGURES, **COMPARISON_FIGURES}.items()}

JOBS = Jobs(CONFIG, ROOT)
STUDY = JOBS.study
STUDY_DATASETS = list(dict.fromkeys(experiment.dataset for experiment in STUDY))

# Whether a cluster runs the jobs: this Snakemake submits them, or it is the one that runs such a job on its node, which
# reads this file again. Nothing says so early which executor it has. But `--jobs` alone is taken for `--cores` where
# there is no cluster; beside `--cores`, which a dry run sets to 1, it means one with the profile's `--local-cores`.
ASKED = workflow.resource_settings
ON_CLUSTER = workflow.remote_exec or (
    ASKED.nodes is not None and (ASKED.cores is None or ASKED.local_cores is not None)
)

CORES = min(workflow.resource_settings.cores or 1, usable_cores())  # of this machine, for this run

# On one machine, no more jobs at once than its memory holds; `--resources mem_mb=...` overrides it.
if not ON_CLUSTER and "mem_mb" not in workflow.global_resources and usable_memory_mb():
    workflow.register_resource("mem_mb", usable_memory_mb())

# As many trainings at once as there are GPUs, one on each; `gpu` reads 0 in the jobs where there is none, and they take
# the CPU. On a cluster the profile asks for GPUs. `--resources gpu=...` and `--set-resources train:gpu=...` override it.
GPUS_PER_JOB = 0 if ON_CLUSTER else 1
if not ON_CLUSTER and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", len(visible_gpus()))


def limit(resource):
    """What all jobs of this run share of a resource; None where nothing limits it."""
    value = workflow.global_resources.get(resource)
    return getattr(value, "value", value)  # a plain number in older Snakemakes


ON_GPU = not ON_CLUSTER and limit("gpu") > 0

# What a disk or a program has damaged is moved away, and so made again; Snakemake itself looks at times alone.
if workflow.is_main_process:
    for folder in sorted({Path(job.outputs[0]).parent for job in JOBS.of_study()}):
        try:
            for file in find_corrupted(folder, remember=True):
                aside = file.replace(file.with_name(f"{file.name}.damaged"))
                print(
                    f"{file}: damaged, not what was written there; moved to {aside}, to be made again", file=sys.stderr
                )
        except OSError as error:
            sys.exit(f"{error.filename}: cannot be read or moved ({error.strerror}); make {folder} writable")

    # Snakemake takes all that was made from a file for stale when it makes the file again, whatever is then in it.
    for dataset in STUDY_DATASETS:
        trained = [Path(e.directory, "model.safetensors").exists() for e in STUDY if e.dataset == dataset]
        if any(trained) and not all(trained) and not Path(f"data/{dataset}/dataset.json").exists():
            print(
                f"data/{dataset}: the arrays are gone, and some experiments are still to be trained; made in the same run,"
                f" all {len(trained)} would be trained. Make them first: snakemake --cores 2 data/{dataset}/dataset.json",
                file=sys.stderr,
            )

LOGS = "logs/{dataset}/{model}/{recipe}/seed{seed}"
CONDA = str(ROOT / "environment.yml")


wildcard_constraints:
    dataset="|".join(CONFIG.datasets),
    model="|".join(CONFIG.models),
    recipe="|".join(CONFIG.recipes),
    seed="0|[1-9][0-9]*",  # one way to write each, so that none is trained twice


# A limit of time is each job's own, like one of memory, and not shared out among all that run: in a profile,
# `resources: {runtime: 480}` keeps each job within what its partition allows.
resource_scopes:
    runtime="local",


def in_repository(path):
    """A file of the repository, relative where it can be: input lists then read the same wherever the folder lies."""
    return path if Path.cwd() == ROOT else str(ROOT / path)


def in_plain_lines(function):
    """A function for a rule, ended by what the user can mend as plain lines: Snakemake would put its own around them."""

    @functools.wraps(function)
    def call(*args, **named):
        try:
            return function(*args, **named)
        except UserError as error:
            sys.exit(str(error))

    return call


def code(stage):
    """Input function: the code files of a stage. Wrap it in ancient(): the digests in `job` see their changes."""

    @in_plain_lines
    def files(wildcards):
        return [in_repository(path.as_posix()) for path in JOBS.code(stage, dict(wildcards.items()))]

    return files


def job(stage):
    """Param function: all that a job's result depends on; the one recorded param of its rule."""

    @in_plain_lines
    def text(wildcards):
        return JOBS.text(stage, dict(wildcards.items()))

    return text


def figure_title(wildcards, output):
    """The figure's title, for the message; never recorded, as it takes `output`."""
    return EXPERIMENT_FIGURES[wildcards.figure].title.lower()


def mirror_option(wildcards, output):
    """Where else to look for raw files: no part of the result, and never recorded, as it takes `output`."""
    mirror = CONFIG.datasets[wildcards.dataset].mirror
    return ["--mirror", mirror] if mirror else []


# What comes before any training that could start: data, which would else leave long trainings for the end, and
# evaluations, which free the training's saved states, with the summaries that they wait for.
BEFORE_TRAINING = 10**12


@in_plain_lines
def train_priority(wildcards):
    """The longest first, so that the cores end together."""
    return round(as_training(JOBS.experiment(**wildcards)).core_seconds)


def prepare_processes(wildcards, threads):
    """How many processes decode a folder's images; never recorded, as it takes `threads`.

    More than the rule's one thread: as threads, they would start only when so many cores are free at once, which jobs
    of one thread never leave. They run at the lowest priority instead, on what the other jobs leave idle. On a cluster,
    where a job waits for no other's cores, they are its threads: `--set-threads prepare=8`.
    """
    if CONFIG.datasets[wildcards.dataset].source != "folder":
        return 1  # arrays only have to be copied
    idle = 1 if workflow.remote_exec else min(8, CORES)
    return max(threads, idle)


# -- what a job asks for -----------------------------------------------------------------------------------------------


def spec_and_shape(experiment):
    """What the estimates want of an experiment: its spec, and (C, H, W) of its dataset."""
    return experiment.spec, CONFIG.datasets[experiment.dataset].input_shape


@functools.cache
def as_training(experiment):
    """What an experiment's training takes, as far as it is known before its data is there: the same in every run."""
    spec, shape = spec_and_shape(experiment)
    # Of a training on a GPU the activations are in that one's memory; on a cluster the profile has `mem_mb` beside `gpu`.
    return Training(core_seconds(spec, shape, usual_images(experiment.dataset)), memory_mb(spec, shape, ON_GPU))


@functools.cache
def study_threads():
    """Threads of each of the study's trainings, on the cores and the memory of this run."""
    return choose_threads(map(as_training, STUDY), CORES, limit("mem_mb"))


@in_plain_lines
def train_threads(wildcards):
    """Threads of a training and of its evaluation; `--set-threads train=2 evaluate=2` goes before it.

    A cluster's job gets as many cores: a number that is the same on every node, and in the job, where `cores` are the
    node's. On GPUs threads shorten nothing; more than its share would keep others off theirs. What the study does not
    list is trained for itself, on all cores, unless the study has its like: another seed.
    """
    if ON_CLUSTER:
        return 4
    if ON_GPU:
        return max(1, CORES // len(STUDY))
    return study_threads().get(as_training(JOBS.experiment(**wildcards)), CORES)


def growth(attempt):
    """What each new attempt asks for, in multiples of the first: double, at most fourfold.

    Most retries on a cluster follow an interruption, and a job that asks for ever more would wait for ever.
    """
    return 2 ** min(attempt - 1, 2)


def growing(amount):
    """Resource function: an amount that grows by attempt."""
    return lambda wildcards, attempt: amount * growth(attempt)


@in_plain_lines
def train_memory_mb(wildcards, attempt):
    """Memory of a training in MB, grown by attempt."""
    return growth(attempt) * as_training(JOBS.experiment(**wildcards)).memory_mb


@in_plain_lines
def evaluate_memory_mb(wildcards, attempt):
    """Memory of an evaluation in MB, grown by attempt."""
    return growth(attempt) * evaluation_memory_mb(*spec_and_shape(JOBS.experiment(**wildcards)))


@in_plain_lines
def train_runtime(wildcards, threads):
    """Time limit of a training in minutes; a day at most.

    The same at every attempt: a retry goes on where the last one ended, and one that asked for more than its partition
    allows would wait for ever. Generous: six times the estimate, as a core without bfloat16 takes thrice as long and
    some are slower. Starting and saving get a quarter of an hour.
    """
    spec, shape = spec_and_shape(JOBS.experiment(**wildcards))
    seconds = 6 * core_seconds(spec, shape, training_images(wildcards.dataset)) / speed_up(threads)
    return min(15 + math.ceil(seconds / 60), 24 * 60)


def training_images(dataset):
    """How many images a dataset trains on; the usual number while it is not prepared."""
    try:
        return json.loads(Path(f"data/{dataset}/dataset.json").read_text(encoding="utf-8"))["splits"]["train"]
    except (OSError, ValueError, KeyError):
        return usual_images(dataset)


def usual_images(dataset):
    """How many images a dataset like this trains on: as many as MNIST, but for scikit-learn's digits."""
    return 1_437 if CONFIG.datasets[dataset].source == "sklearn_digits" else 60_000


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
    """The comparisons of each of the study's datasets."""
    return [f"results/{dataset}/comparison/{figure}.png" for dataset, figure in JOBS.comparisons()]


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
