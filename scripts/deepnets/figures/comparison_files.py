"""From the files that experiments left to the file of a comparison."""

from pathlib import Path, PurePosixPath

from deepnets.comparison.aggregate import group_seeds, with_statistics
from deepnets.comparison.published import read_published, references
from deepnets.comparison.statistics_file import read_statistics
from deepnets.evaluation.results import check_specs, read_result
from deepnets.figures import load
from deepnets.figures.comparison import Comparison
from deepnets.figures.style import model_styles, save
from deepnets.utils import paths
from deepnets.utils.checksums import record_checksums
from deepnets.utils.specs import settings_sha256


def write_comparison_figure(name: str, job: dict, root: Path, published: Path, output: Path) -> None:
    """Draw a figure that compares the models of one dataset.

    Args:
        name: of the figure, in COMPARISON_FIGURES.
        job: {"spec": {"dataset": name, "variant_of": name or None, "experiments": their folders from `root`,
            "specs": hashes of their specs, "models": {model: index that chooses its colour}, "stopped": folders of
            those in which a search stopped a trial early}}.
        root: the folder that holds results/.
        published: workflow/published.csv.
        output: the PNG to write, next to statistics.json.

    Raises:
        UserError: a file is missing, damaged or of another spec.
    """
    spec = job["spec"]
    results = [read_result(root / folder) for folder in spec["experiments"]]
    check_specs(results, spec.get("specs"))
    file = output.with_name(PurePosixPath(paths.STATISTICS).name)
    statistics = read_statistics(file, spec["experiments"], spec.get("specs"))
    architectures = {result.model: result.architecture for result in results}
    from_scratch = {result.model: result.architecture for result in results if not result.is_pretrained}
    comparison = Comparison(
        dataset=spec["dataset"],
        groups=with_statistics(group_seeds(results), statistics),
        styles=model_styles(spec["models"], architectures),
        statistics=statistics,
        published=references(read_published(published), spec["dataset"], spec["variant_of"], from_scratch),
        stopped={root / folder for folder in spec.get("stopped", [])},
    )
    with record_checksums(name, output):
        save(load(name).draw(comparison), output, settings_sha256(job))
