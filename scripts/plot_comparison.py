"""Draw one figure that compares the models of one dataset.

    python scripts/plot_comparison.py --figure accuracy --png accuracy.png --published workflow/published.csv \\
        --job '{"spec": {"dataset": "digits", "variant_of": null, "models": {"resnet50": 0},
                         "experiments": ["results/digits/resnet50/quick/seed0"]}}'
"""

import argparse
import json
from pathlib import Path

from deepnets.comparison.aggregate import group_seeds
from deepnets.comparison.published import read_published, references
from deepnets.evaluation.results import Result, read_metrics, read_timing
from deepnets.figures import COMPARISON_FIGURES, load
from deepnets.figures.comparison import Comparison
from deepnets.figures.style import model_style, save
from deepnets.utils.checksums import record_checksums
from deepnets.utils.command_line import run


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--job",
        type=json.loads,
        required=True,
        help="JSON: spec.dataset, spec.variant_of, spec.models (model: number that chooses its colour) and"
        " spec.experiments (folders)",
    )
    parser.add_argument("--published", required=True, help="table of published results (CSV)")
    parser.add_argument("--figure", choices=COMPARISON_FIGURES, required=True)
    parser.add_argument("--png", required=True, type=Path, help="image to write")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    spec = args.job["spec"]
    results = [
        Result(folder, read_metrics(folder / "metrics.json"), read_timing(folder / "timing.json"))
        for folder in map(Path, spec["experiments"])
    ]
    comparison = Comparison(
        dataset=spec["dataset"],
        groups=group_seeds(results),
        styles={model: model_style(model, index) for model, index in spec["models"].items()},
        published=references(
            read_published(args.published),
            spec["dataset"],
            spec["variant_of"],
            {result.model: result.architecture for result in results},
        ),
    )
    with record_checksums(args.figure, args.png):
        save(load(args.figure).draw(comparison), args.png)


if __name__ == "__main__":
    run(main)
