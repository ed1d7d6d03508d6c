"""The report of those experiments of a study that are finished, while others are still to be made or have failed.

It is written from their results alone, so it can be written while Snakemake runs or after a run that failed. It has
paths of its own, results/report.partial.md, and comparisons of its own; no job of Snakemake reads or writes them. It
leaves the figures of an experiment to their jobs, which may be drawing them; the page names a missing picture.
"""

from collections.abc import Callable

from deepnets.comparison.statistics import write_statistics
from deepnets.evaluation.measurements import read_latency, read_robustness
from deepnets.evaluation.results import Result, read_result
from deepnets.figures.comparison_files import write_comparison_figure
from deepnets.planning.job import Job
from deepnets.planning.jobs import Jobs
from deepnets.planning.status import study_status
from deepnets.reporting.report import write_report
from deepnets.reporting.study import Missing
from deepnets.utils import paths
from deepnets.utils.errors import UserError


def write_partial_report(jobs: Jobs) -> tuple[int, int]:
    """Write the report of the finished experiments of a study; it lists the others.

    Returns:
        the number of finished experiments, and that of missing ones.

    Raises:
        UserError: none is finished, or a result of one is missing or damaged.
    """
    statuses = study_status(jobs)
    states = list(zip(jobs.study, statuses, strict=True))
    finished = [experiment for experiment, status in states if status.state == "done"]
    if not finished:
        raise UserError(
            f"study {jobs.config.study}: no experiment is finished, so there is nothing to report yet;"
            " make status shows how far each is"
        )
    missing = [
        Missing(status.name, f"{status.state}: {status.words}" if status.words else status.state)
        for status in statuses
        if status.state != "done"
    ]
    partial = _without_unmeasured(Jobs(jobs.config, jobs.code_root, jobs.root, finished))
    for job in partial.of_study():
        _write(job, partial, missing)
    return len(finished), len(missing)


def _without_unmeasured(jobs: Jobs) -> Jobs:
    """Return the jobs without the optional stages that are not measured for all experiments as they are now."""
    unmeasured = [stage for stage in jobs.optional_stages() if not _is_measured(stage, jobs)]
    name, studies = jobs.config.study, jobs.config.studies
    entries = [entry.model_copy(update=dict.fromkeys(unmeasured, False)) for entry in studies[name]]
    config = jobs.config.model_copy(update={"studies": {**studies, name: entries}})
    return Jobs(config, jobs.code_root, jobs.root, jobs.study)


def _is_measured(stage: str, jobs: Jobs) -> bool:
    if not all((jobs.root / file).exists() for file in jobs.optional_files([stage])):
        return False
    read: Callable[[Result], object] = {"robustness": read_robustness, "latency": read_latency}[stage]
    try:
        for experiment in jobs.study:
            read(read_result(jobs.root / experiment.directory))
    except UserError:  # of other settings: the next run measures it again
        return False
    return True


def _write(job: Job, jobs: Jobs, missing: list[Missing]) -> None:
    """Write what a job of the report would, to the paths of the partial report; jobs of other stages do nothing."""
    output = jobs.root / Job(job.stage, {**job.wildcards, "suffix": paths.PARTIAL}).outputs[0]
    match job.stage:
        case "compare":
            write_statistics(jobs.settings(job.stage, job.wildcards), jobs.root, output)
        case "plot_comparison":
            settings, published = jobs.settings(job.stage, job.wildcards), jobs.code_root / paths.PUBLISHED
            write_comparison_figure(job.wildcards["figure"], settings, jobs.root, published, output)
        case "report":
            write_report(jobs.settings(job.stage, job.wildcards)["spec"], jobs.root, paths.PARTIAL, missing=missing)
