"""What the report says of the files for other programs that were made of its experiments."""

from typing import Any

from deepnets.config.experiment import recipe_title
from deepnets.evaluation.measurements import Exported
from deepnets.evaluation.results import Result
from deepnets.reporting.markdown import code, table
from deepnets.reporting.study import Study
from deepnets.reporting.tables import MISSING, ROWS

_SUMMED = 0.9  # of the size of the weights file: a file with all weights is no smaller than that


def describe(study: Study) -> dict[str, Any]:
    """Return what the template shows of exported files: size, speed, and how far each is from the network."""
    texts = ["Model", "Dataset", "Recipe", "Seed", "File", "Latency on"]
    numbers = ["File (MB)", "Latency (ms)", "95th percentile (ms)", "Largest difference", "Accuracy lost (points)"]
    lines = [_line(result, each) for result in study.results for each in study.exports[result.directory]]
    exported = table([*texts, *numbers], lines[:ROWS], numbers_from=len(texts)) if lines else None
    return {
        "exported": exported,
        "exported_left_out": max(0, len(lines) - ROWS),
        "exported_summed": any(
            _is_summed(result, each) for result in study.results for each in study.exports[result.directory]
        ),
    }


def _is_summed(result: Result, exported: Exported) -> bool:
    """Return whether a file of VGG-16 for small images has the sums of the weights that see the same input."""
    weights = result.metrics.weights_bytes
    if weights is None or result.architecture != "vgg16" or exported.measured_on.precision != "fp32":
        return False
    return exported.bytes < _SUMMED * weights


def warnings(study: Study, result: Result) -> list[str]:
    """Return the warnings of an experiment's exported files."""
    return [warning for each in study.exports[result.directory] for warning in each.warnings]


def _line(result: Result, exported: Exported) -> list[object]:
    on, latency, validated = exported.measured_on, exported.latency, exported.validation
    return [
        *(result.display_name, result.dataset, recipe_title(result.recipe), result.seed, code(exported.file)),
        f"{on.name}, {on.thread_count}, {on.precision}",
        f"{exported.bytes / 1e6:,.2f}",
        f"{1000 * latency.median_seconds:,.2f}",
        f"{1000 * latency.p95_seconds:,.2f}",
        f"{exported.largest_difference:.1e}",
        MISSING if validated is None else f"{100 * validated.lost:.2f}",
    ]
