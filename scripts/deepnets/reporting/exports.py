"""What the report says of the files for other programs that were made of its experiments."""

from collections.abc import Iterable
from pathlib import Path

from deepnets.config.experiment import recipe_title
from deepnets.evaluation.measurements import Exported
from deepnets.evaluation.results import Result
from deepnets.models import display_name
from deepnets.reporting.markdown import Markdown, code, table
from deepnets.reporting.tables import MISSING, ROWS


def exports_table(results: Iterable[Result], exports: dict[Path, list[Exported]]) -> tuple[Markdown | None, int]:
    """Return size and speed of each exported file, and how far it is from the network.

    Args:
        results: of the study.
        exports: those of each experiment, by its folder.

    Returns:
        The table, or None if no file was made, and how many rows it leaves out.
    """
    texts = ["Dataset", "Model", "Recipe", "Seed", "File", "Latency on"]
    numbers = ["File (MB)", "Latency (ms)", "95th percentile (ms)", "Largest difference", "Accuracy lost (points)"]
    lines = [_line(result, each) for result in results for each in exports.get(result.directory, [])]
    if not lines:
        return None, 0
    return table([*texts, *numbers], lines[:ROWS], numbers_from=len(texts)), max(0, len(lines) - ROWS)


def _line(result: Result, exported: Exported) -> list[object]:
    on, latency, validated = exported.measured_on, exported.latency, exported.validation
    return [
        *(result.dataset, display_name(result.model), recipe_title(result.recipe), result.seed, code(exported.file)),
        f"{on.name}, {on.thread_count}, {on.precision}",
        f"{exported.bytes / 1e6:,.2f}",
        f"{1000 * latency.median_seconds:,.2f}",
        f"{1000 * latency.p95_seconds:,.2f}",
        f"{exported.largest_difference:.1e}",
        MISSING if validated is None else f"{100 * validated.lost:.2f}",
    ]
