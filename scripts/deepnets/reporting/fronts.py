"""Which networks are on the Pareto front of accuracy against each cost, in words: figures show it for some costs."""

from collections.abc import Callable, Mapping, Sequence

from deepnets.comparison.aggregate import SeedGroup, best_by_model, pareto_front
from deepnets.evaluation.measurements import Latency
from deepnets.reporting.markdown import Markdown, bold, enumerate_words, escape

_Latencies = Mapping[tuple[str, str], Latency]


def describe(groups: Mapping[str, Sequence[SeedGroup]], latencies: _Latencies) -> list[Markdown]:
    """Return lines for each dataset on which networks are compared; each stands with its chosen recipe.

    Costs with the same front share a line. A cost that is unknown of a network is left out.

    Args:
        groups: of each dataset, with their statistics.
        latencies: of the networks, by dataset and model; {}: not measured.
    """
    lines = []
    for dataset, compared in groups.items():
        chosen = [*best_by_model(compared).values()]
        if len(chosen) < 2:
            continue
        of_fronts: dict[tuple[str, ...], list[str]] = {}  # the costs by the names on their front
        for name, cost in _COSTS.items():
            values = [cost(group, latencies.get((dataset, group.model))) for group in chosen]
            known = {group.model: value for group, value in zip(chosen, values, strict=True) if value is not None}
            if len(known) == len(chosen):
                front = pareto_front(chosen, lambda group, known=known: known[group.model])  # type: ignore[misc]
                of_fronts.setdefault(tuple(map(_named, front)), []).append(name)
        for names, costs in of_fronts.items():
            line = f"{enumerate_words(costs)}: {enumerate_words(list(names))}."
            lines.append(Markdown(f"{bold(dataset)}, {escape(line)}"))
    return lines


def _named(group: SeedGroup) -> str:
    return f"{group.display_name} ({100 * group.accuracy.value:.2f} %)"


def _seconds(kind: str) -> Callable[[SeedGroup, Latency | None], float | None]:
    return lambda group, _: group.mean(lambda result: getattr(result.timing, kind))


# In the order of the tables, the lower the better.
_COSTS: dict[str, Callable[[SeedGroup, Latency | None], float | None]] = {
    "parameters": lambda group, _: group.first.metrics.model.parameters,
    "multiply-adds": lambda group, _: group.first.metrics.model.mult_adds,
    "the size of the weights file": lambda group, _: group.first.metrics.weights_bytes,
    "epochs": lambda group, _: group.first.epochs,
    "wall time of training": _seconds("wall_seconds"),
    "CPU time of training": _seconds("cpu_seconds"),
    "peak memory of training": lambda group, _: group.peak_memory_mb,
    "latency": lambda _, latency: latency.latency.median_seconds if latency else None,
    "time of an image in a batch of 128": lambda _, latency: (
        1 / latency.throughput.images_per_second if latency else None
    ),
}
