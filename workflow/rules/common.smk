"""Shared by all rules: the configuration, the jobs of the study, and settings that only Snakemake has."""

import os
import sys
from pathlib import Path

from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod

# The repository, also where this workflow is a module of another one.
ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=False)).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from deepnets.config.recipe_label import VALUES_PATTERN
from deepnets.figures import COMPARISON_FIGURES, EXPERIMENT_FIGURES, captions
from deepnets.planning.job import NAMES
from deepnets.planning.job_files import job_file
from deepnets.planning.made_exports import made_for_card
from deepnets.planning.requests import CLUSTER_THREADS, Requests, scale_by_attempt
from deepnets.planning.run_hooks import RunHooks, exit_plainly, shorten_reason
from deepnets.planning.start_files import start_records, start_weights, weights_arguments
from deepnets.utils import paths
from deepnets.utils.files import canonical_json
from deepnets.utils.machine import name_user, usable_cores, usable_memory_mb, visible_gpus

name_user()  # Snakemake records it when the jobs start

IS_MODULE = not workflow.modifier.is_main_snakefile()
# In front of data/ and results/: the `prefix:` of a module.
PREFIX = os.path.dirname(workflow.modifier.modify_path("results"))

# -- the configuration and its jobs ------------------------------------------------------------------------------------


@exit_plainly
def read_configuration():
    """Return the jobs of config.yaml, with what --config, --configfile or an importing workflow say on top of it."""
    from deepnets.config.loader import load_config  # imports every network, the user's own too
    from deepnets.planning.jobs import Jobs

    own = not IS_MODULE and Path("config.yaml").exists()
    sources = [os.path.relpath(file) for file in workflow.configfiles]
    if workflow.config_settings.config or not sources:
        sources.append("--config")
    overrides_from = "the module's config" if IS_MODULE else " or ".join(sources)
    file = "config.yaml" if own else str(ROOT / "config.yaml")
    command_line = {} if IS_MODULE else workflow.config_settings.config
    jobs = Jobs(load_config(file, config, overrides_from, command_line), ROOT, Path(PREFIX))
    jobs.check_data()
    return jobs


JOBS = read_configuration()
CONFIG = JOBS.config

# For the words of `snakemake --report`.
config["study"] = CONFIG.study
config["captions"] = captions()
config["experiment_figures"] = {figure.title: figure.caption for figure in EXPERIMENT_FIGURES.values()}


wildcard_constraints:
    dataset="|".join(CONFIG.datasets),
    model="|".join(CONFIG.models),
    recipe=f"(?:{'|'.join(CONFIG.recipes)}){VALUES_PATTERN}",  # with values: quick,lr=0.03
    library="torchvision|timm",
    network="[a-zA-Z0-9_.]+",
    seed="0|[1-9][0-9]*",  # one way to write each, so that no experiment is trained twice
    figure="|".join(COMPARISON_FIGURES),
    suffix=f"(?:-(?:{'|'.join(CONFIG.studies)}))?",  # of a study by its name; the chosen study has none


# -- the machine -------------------------------------------------------------------------------------------------------

# Whether a batch system runs the jobs: this Snakemake submits them, or runs one of them on its node. The executor is not
# known yet, so infer it. Where there is no cluster, `--jobs` alone means `--cores`; with `--cores` (1 in a dry run) it
# means one with the profile's `--local-cores`.
ASKED = workflow.resource_settings
ON_CLUSTER = workflow.remote_exec or (
    ASKED.nodes is not None and (ASKED.cores is None or ASKED.local_cores is not None)
)


def limit(resource, of_machine):
    """What all jobs of this run share of a resource: what --resources says, or else what this machine has."""
    if not ON_CLUSTER and resource not in workflow.global_resources and of_machine is not None:
        workflow.register_resource(resource, of_machine)
    value = workflow.global_resources.get(resource)
    return getattr(value, "value", value)  # a plain number in older Snakemakes


limit("mem_mb", usable_memory_mb())
GPUS = limit("gpu", len(visible_gpus()))  # a training run each; where there is no GPU, `gpu` reads 0 in the jobs
# Threads of a job that nothing may run next to. On a cluster, the profile asks for a node without other jobs.
ALL_CORES = CLUSTER_THREADS if ON_CLUSTER else ASKED.cores or 1
GPUS_PER_JOB = 0 if ON_CLUSTER else 1  # on a cluster, the profile asks for GPUs

REQUESTS = Requests(JOBS, min(ASKED.cores or 1, usable_cores()), ON_CLUSTER, on_gpu=not ON_CLUSTER and GPUS > 0)
RunHooks(workflow, REQUESTS).install()
logger.addFilter(shorten_reason)

SMALL = {"mem_mb": 1000, "runtime": 10}  # a job that neither trains nor decodes images


# A time limit is each job's own, like memory, and not shared out among all that run: in a profile,
# `resources: {runtime: 480}` keeps each job within what its partition allows.
resource_scopes:
    runtime="local",


# Before any training run that could start: data, which would otherwise leave long runs for the end, and evaluations,
# which free the checkpoints, with the summaries that they wait for.
BEFORE_TRAINING = 10**12

# Snakemake takes braces in this path for wildcards, even where no environment is deployed.
CONDA = None if "{" in str(ROOT) else str(ROOT / "environment.yml")

# -- a job's params ----------------------------------------------------------------------------------------------------


def params_of(stage):
    """The params of a stage's rule. Only `job` is recorded, as all functions that take `output` are not.

    job: all that the job's result depends on. job_file: where it is for the script. call: the start of the job's
    command, with the Python that runs Snakemake or, in an environment that Snakemake deploys, the one of that
    environment; then the job's name, its file, and where data/ and results/ are, if not in the working directory.
    """
    deployed = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
    command = ["python" if deployed else sys.executable, str(ROOT / "scripts" / f"{stage}.py")]
    fingerprint = exit_plainly(lambda wildcards: JOBS.fingerprint(stage, dict(wildcards.items())))
    root = ["--root", PREFIX] if PREFIX else []

    def file(wildcards, output):
        return job_file(stage, fingerprint(wildcards))

    def call(wildcards, output):
        name = NAMES[stage].format(**{"suffix": "", **dict(wildcards.items())})
        return [*command, name, "--job", file(wildcards, output), *root]

    return {"job": fingerprint, "job_file": file, "call": call}


def of_study(wildcards, output):
    """For messages: " (sweep)" where a job is for the report of a study by its name."""
    suffix = wildcards.get("suffix")
    return f" ({JOBS.study_name(suffix)})" if suffix else ""


def of_named_study(files, *patterns):
    """An input function: files of the study that the target names, whichever one config.yaml chooses."""
    return exit_plainly(lambda wildcards: files(*patterns, **wildcards))
