"""The report's tables of costs: of each network, of each training run, and of each stage of the workflow."""

import statistics
from collections.abc import Mapping

from deepnets.config.experiment import recipe_title
from deepnets.evaluation.measurements import Latency
from deepnets.evaluation.results import Result
from deepnets.evaluation.schemas import Timing
from deepnets.reporting.job_times import StageTime
from deepnets.reporting.markdown import Markdown, code, table
from deepnets.reporting.tables import MISSING, ROWS
from deepnets.utils.durations import format_duration


def network_costs(results: list[Result], latencies: Mapping[tuple[str, str], Latency]) -> tuple[Markdown, int]:
    """Return what each network costs in use, on each dataset.

    Args:
        results: of the study.
        latencies: of its networks, by dataset and model; {}: not measured.

    Returns:
        The table, and how many rows it leaves out.
    """
    networks: dict[tuple[str, str], Result] = {}
    for result in results:
        networks.setdefault((result.dataset, result.model), result)
    texts, numbers = ["Model", "Dataset"], ["Parameters", "Multiply-adds", "Weights file (MB)"]
    if latencies:
        texts.append("Latency on")
        numbers += ["Latency (ms)", "95th percentile (ms)", "Images/s"]
    lines = [_network_cost(result, latencies.get(key)) for key, result in networks.items()]
    return table([*texts, *numbers], lines[:ROWS], numbers_from=len(texts)), max(0, len(lines) - ROWS)


def _network_cost(result: Result, measured: Latency | None) -> list[str]:
    network, weights_bytes = result.metrics.model, result.metrics.weights_bytes
    counts = [
        f"{network.parameters:,}",
        f"{network.mult_adds:,}",
        MISSING if weights_bytes is None else f"{weights_bytes / 1e6:,.2f}",
    ]
    names = [result.display_name, result.dataset]
    if measured is None:
        return [*names, *counts]
    on, latency = measured.measured_on, measured.latency
    return [
        *(*names, f"{on.name}, {on.thread_count}, {on.precision}", *counts),
        f"{1000 * latency.median_seconds:,.2f}",
        f"{1000 * latency.p95_seconds:,.2f}",
        f"{measured.throughput.images_per_second:,.0f}",
    ]


def cost_table(results: list[Result]) -> tuple[Markdown, int]:
    """Return what each training run took and where it ran, or each network's runs if there are more than ROWS.

    Returns:
        The table, and how many rows it leaves out.
    """
    if len(results) > ROWS:
        return _cost_by_network(results)
    header = ["Model", "Dataset", "Recipe", "Seed", "On"]
    numbers = ["Epochs", "Wall time", "CPU time", "Images/s", "Peak memory (MB)"]
    return table([*header, *numbers], [_cost_line(result) for result in results], numbers_from=len(header)), 0


def _cost_by_network(results: list[Result]) -> tuple[Markdown, int]:
    networks: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        networks.setdefault((result.dataset, result.model), []).append(result)
    lines = []
    for (dataset, _), runs in networks.items():
        timings = [run.timing for run in runs]
        on = {_machine(timing) for timing in timings}
        memory = [t.peak_memory_mb or 0 for t in timings]
        lines.append(
            [
                *(runs[0].display_name, dataset, on.pop() if len(on) == 1 else "several", len(runs)),
                f"{sum(run.epochs for run in runs):g}",
                format_duration(sum(t.wall_seconds for t in timings)),
                _cpu_time(timings),
                f"{statistics.median(t.images_per_second for t in timings):,.0f}",
                f"{max(memory):,.0f}" if max(memory) else MISSING,
            ]
        )
    numbers = ["Training runs", "Epochs", "Wall time", "CPU time", "Images/s (median)", "Peak memory (MB, highest)"]
    return table(["Model", "Dataset", "On", *numbers], lines[:ROWS], numbers_from=3), max(0, len(lines) - ROWS)


def _cost_line(result: Result) -> list[object]:
    timing, resumed = result.timing, ", ".join(map(str, result.timing.resumed_from_epochs))
    split = f", {result.micro_batches} micro-batches per batch" if result.micro_batches > 1 else ""
    return [
        result.display_name,
        result.dataset,
        recipe_title(result.recipe),
        result.seed,
        f"{_machine(timing)}{split}",
        f"{result.epochs:g}{f' (resumed after {resumed})' if resumed else ''}",
        format_duration(timing.wall_seconds),
        _cpu_time([timing]),
        f"{timing.images_per_second:,.0f}",
        MISSING if timing.peak_memory_mb is None else f"{timing.peak_memory_mb:,.0f}",
    ]


def _cpu_time(timings: list[Timing]) -> str:
    """Return the processor time of training runs together; a dash if that of one is unknown."""
    seconds = [timing.cpu_seconds for timing in timings if timing.cpu_seconds is not None]
    return format_duration(sum(seconds)) if len(seconds) == len(timings) else MISSING


def _machine(timing: Timing) -> str:
    runs = [f"{run.device}, {run.thread_count}, {run.precision}" for run in timing.conditions]
    return ", then ".join(dict.fromkeys(runs))


def stage_table(stages: list[StageTime]) -> Markdown:
    """Return the wall time of all jobs by stage, with the share of each stage."""
    total = sum(stage.seconds for stage in stages)
    rows = [
        [
            code(stage.stage),
            stage.jobs,
            format_duration(stage.seconds),
            f"{stage.seconds / total:.1%}".replace("%", " %"),
        ]
        for stage in stages
    ]
    return table(["Stage", "Jobs", "Wall time", "Share"], rows, numbers_from=1)
