"""What a study cost, and what its networks cost in use."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from deepnets.comparison.aggregate import by_validation, group_seeds
from deepnets.evaluation.results import Result
from deepnets.reporting import cost_tables, exports
from deepnets.reporting.job_times import by_stage, from_first_to_last
from deepnets.reporting.study import Study
from deepnets.reporting.tables import ROWS
from deepnets.utils.durations import format_duration


def describe(study: Study) -> dict[str, Any]:
    """Return what the template shows of costs; tables have the order of the results."""
    study = replace(study, results=_best_first(study.results))
    network_costs, network_costs_left_out = cost_tables.network_costs(study.results, study.latencies)
    cost_table, costs_left_out = cost_tables.cost_table(study.results)
    return {
        "network_costs": network_costs,
        "network_costs_left_out": network_costs_left_out,
        "latency_is_measured": bool(study.latencies),
        **exports.describe(study),
        "cost": _of_jobs(study) if study.jobs else None,
        "cost_table": cost_table,
        "costs_left_out": costs_left_out,
        "cost_of_each": len(study.results) <= ROWS,
    }


def _best_first(results: Sequence[Result]) -> list[Result]:
    """Return the results by dataset, of each the best on validation first; seeds stay together."""
    groups = by_validation(group_seeds(results))
    datasets = list(dict.fromkeys(result.dataset for result in results))
    return [result for name in datasets for group in groups if group.first.dataset == name for result in group.results]


def _of_jobs(study: Study) -> dict[str, Any]:
    """Return the time of a study's jobs, by stage and as shares; at least one was measured."""
    passed, idle = from_first_to_last(study.jobs) or (0, 0)
    return {
        "passed": format_duration(passed) if passed else None,
        "idle": format_duration(idle) if idle >= 1 else None,
        "mostly_idle": idle > passed / 2,
        "has_starts": any(job.of_start for job in study.jobs),
        "shares": _shares(study),
        "table": cost_tables.stage_table(by_stage(study.jobs)),
    }


def _shares(study: Study) -> dict[str, str] | None:
    """Return the shares of the jobs' time in percent: training steps, validation and saves between them, the rest.

    None if a training run was not measured in full: its benchmark file is missing, or holds only the last of its runs;
    or if it is one that the study's networks started from, of which the steps alone are not known.
    """
    trained = [job for job in study.jobs if job.stage == "train"]
    if len(trained) < len(study.results) or any(job.of_start for job in trained):
        return None
    if any(result.timing.resumed_from_epochs for result in study.results):
        return None
    total = sum(job.seconds for job in study.jobs)
    steps = sum(result.timing.train_seconds for result in study.results)
    training = sum(result.timing.wall_seconds for result in study.results)
    seconds = {"steps": steps, "between": training - steps, "around": total - training}
    return {name: f"{100 * share / total:.1f}" for name, share in seconds.items()}
