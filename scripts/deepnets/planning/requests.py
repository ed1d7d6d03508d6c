"""The resources that a job requests from Snakemake: threads, memory, time and priority.

Estimates decide what runs side by side and in which order. They do not change results. One exception: the number of
threads of a training run decides the last bits of its weights.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from deepnets.config.experiment import Experiment
from deepnets.planning.estimates import core_seconds, evaluation_memory_mb, is_measured, speed_up, training_memory_mb
from deepnets.planning.found_values import as_in, prepared
from deepnets.planning.study_time import write_study_plan
from deepnets.utils import paths
from deepnets.utils.specs import read_head

if TYPE_CHECKING:  # it imports the user's networks, and the Snakefile reports a mistake in one in plain lines
    from deepnets.planning.jobs import Jobs

CLUSTER_THREADS = 4  # the same on every node, and in the job, where Snakemake's cores are the node's
MOST_DECODERS = 8  # processes; more wait for the disk
DAY = 24 * 60  # minutes
_UNKNOWN_SHAPE = (3, 64, 64)  # of images that are not prepared: the largest size that is chosen for them
_COUNTED = ("parameters", "mult_adds", "size_mb", "weights_mb")  # of summary.json


class Requests:
    """The resources that the jobs of a study request, in one run of Snakemake.

    The methods are Snakemake's input functions: their arguments have the names that Snakemake uses.

    Args:
        jobs: the jobs of the configuration.
        cores: of this machine, for this run.
        on_cluster: whether a batch system runs the jobs.
        on_gpu: whether this machine's GPUs run the training.
    """

    def __init__(self, jobs: "Jobs", cores: int, on_cluster: bool, on_gpu: bool):
        self.jobs, self.cores, self.on_cluster, self.on_gpu = jobs, cores, on_cluster, on_gpu

    def train_threads(self, wildcards: Mapping[str, str]) -> int:
        """Threads of a training run and of its evaluation: the cores divided by the study's training runs, at least 1.

        Training runs side by side use the cores better than threads of one run, which wait for each other after every
        layer. The number depends on the study and the cores alone, not on the targets or on files that already exist:
        an experiment gets the same bytes whichever experiments run.
        """
        return CLUSTER_THREADS if self.on_cluster else max(1, self.cores // max(1, len(self.jobs.study)))

    def train_priority(self, wildcards: Mapping[str, str]) -> int:
        """The longest training run first, so that the cores finish together."""
        experiment = self.jobs.experiment(**wildcards)
        images = self.jobs.config.datasets[experiment.dataset].usual_train_images
        return round(core_seconds(*self._spec_and_shape(experiment), images, self._summary(experiment)))

    def train_memory_mb(self, wildcards: Mapping[str, str], attempt: int) -> int:
        """Memory of a training run in MB (of the host: on a GPU, the activations are in the GPU's memory)."""
        experiment = self.jobs.experiment(**wildcards)
        known = self._summary(experiment)
        return scale_by_attempt(training_memory_mb(*self._spec_and_shape(experiment), self.on_gpu, known), attempt)

    def train_runtime(self, wildcards: Mapping[str, str], threads: int) -> int:
        """Time limit of a training run in minutes; a day at most.

        It is the same at every attempt: a retry resumes, and a retry that asked for more than its partition allows
        would wait for ever. It is generous, six times the estimate: a core without bfloat16 takes three times as long,
        and some cores are even slower. Starting and saving get a quarter of an hour.
        """
        experiment = self.jobs.experiment(**wildcards)
        seconds = self.training_core_seconds(experiment)
        return min(15 + math.ceil(6 * seconds / speed_up(threads) / 60), DAY)

    def evaluate_memory_mb(self, wildcards: Mapping[str, str], attempt: int) -> int:
        """Memory of an evaluation in MB."""
        experiment = self.jobs.experiment(**wildcards)
        known = self._summary(experiment)
        return scale_by_attempt(evaluation_memory_mb(*self._spec_and_shape(experiment), known), attempt)

    def export_memory_mb(self, wildcards: Mapping[str, str], attempt: int) -> int:
        """Memory of an export in MB: twice that of an evaluation, as both networks are in memory, and the file."""
        return 2 * self.evaluate_memory_mb(wildcards, attempt)

    def prepare_processes(self, wildcards: Mapping[str, str], threads: int) -> int:
        """How many processes decode a folder's images; never recorded, as it takes `threads`.

        These are more than the rule's one thread. If the rule asked for n threads, it would wait until n cores are
        free at once. One-thread jobs rarely leave that. Instead, the processes run at the lowest priority, on cores
        that the other jobs leave idle. On a cluster they are the job's threads: `--set-threads prepare=8`.
        """
        if not self.jobs.config.datasets[wildcards["dataset"]].decodes_files:
            return 1  # arrays only have to be copied
        return max(threads, 1 if self.on_cluster else min(MOST_DECODERS, self.cores))

    def write_study_plan(self) -> None:
        """Write which of the study's training runs are still to be done, for the time left in their log lines."""
        seconds = {
            each.directory: self.training_core_seconds(each)
            for each in self.jobs.study
            if not (self.jobs.root / each.directory / paths.MODEL_FILE).exists()
        }
        write_study_plan(seconds, max(1, self.cores // self.train_threads({})))

    def training_core_seconds(self, experiment: Experiment) -> float:
        """Estimated seconds that one core takes for a training run."""
        images = self._training_images(experiment.dataset)
        return core_seconds(*self._spec_and_shape(experiment), images, self._summary(experiment))

    def _summary(self, experiment: Experiment) -> dict[str, float] | None:
        """What summary.json has counted of a network that was not measured; None if it is not there, or of another."""
        if is_measured(experiment.spec):
            return None
        names = {"dataset": experiment.dataset, "model": experiment.model}
        found = read_head(self.jobs.root / paths.SUMMARY_JSON.format(**names), "spec", *_COUNTED)
        made_by = found.pop("spec", None)
        if made_by != as_in(made_by, self.jobs.settings("summarize", names)["spec"]):
            return None
        return found if all(isinstance(found.get(key), int | float) for key in _COUNTED) else None

    def _spec_and_shape(self, experiment: Experiment) -> tuple[dict, tuple[int, int, int]]:
        shape = self.jobs.config.datasets[experiment.dataset].known_shape
        if shape is None:
            shape = tuple(prepared(self.jobs.root, experiment.dataset).get("input_shape", _UNKNOWN_SHAPE))
        return experiment.spec, shape

    def _training_images(self, dataset: str) -> int:
        """How many images a dataset trains on; the usual number while it is not prepared."""
        splits = read_head(self.jobs.root / paths.DATASET_INFO.format(dataset=dataset), "splits").get("splits")
        images = splits.get("train") if isinstance(splits, dict) else None
        return (
            images if isinstance(images, int) and images > 0 else self.jobs.config.datasets[dataset].usual_train_images
        )


def scale_by_attempt(amount: int, attempt: int) -> int:
    """Double an amount at each attempt, at most fourfold.

    Most retries on a cluster follow an interruption, and a job that asks for ever more would wait for ever.
    """
    return amount * 2 ** min(attempt - 1, 2)
