"""An order of jobs that is no input of a rule: training runs start after the summaries that estimate their memory.

As an input, the summary would decide whether a run is out of date. Snakemake records the inputs, so all earlier results
of such networks would be retrained, and those of a network that was measured since. Even with `ancient`, a summary that
was lost, and is rebuilt, would retrain all of its network's experiments.
"""

from typing import TYPE_CHECKING, Any

from deepnets.planning.estimates import is_measured
from deepnets.utils import paths

if TYPE_CHECKING:  # it imports the user's networks
    from deepnets.planning.jobs import Jobs

_OF_EXPERIMENT = {"dataset", "model", "recipe", "seed"}


def train_after_summaries(dag: Any, jobs: "Jobs") -> None:
    """Let each planned training run of a network that was not measured wait for the summary, if that is planned, too.

    Snakemake asks once how much memory a job takes: when the job could start. Without this, the first run of such a
    network asks for what the most expensive measured network takes.

    Args:
        dag: Snakemake's jobs, before the first is chosen. A Snakemake that keeps them otherwise has no such order.
        jobs: those of the configuration.
    """
    if not all(hasattr(dag, name) for name in ("dependencies", "depending", "_n_until_ready")):
        return
    makers = {str(file): job for job in dag.needrun_jobs() for file in job.output}
    for job in dict.fromkeys(makers.values()):
        names = job.wildcards_dict
        if not (names.keys() >= _OF_EXPERIMENT and makers.get(str(jobs.root / paths.MODEL.format(**names))) is job):
            continue  # not a training run
        summary = makers.get(file := str(jobs.root / paths.SUMMARY_JSON.format(**names)))
        if summary is None or is_measured(jobs.experiment(**names).spec):
            continue
        waits_for = {each for each in summary.output if str(each) == file}
        dag._n_until_ready[job] += summary not in dag.dependencies[job]
        dag.dependencies[job][summary] |= waits_for
        dag.depending[summary][job] |= waits_for
