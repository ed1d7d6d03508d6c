"""Write the report of a study, its table of all metrics, and the description of where it was made.

    python scripts/report.py \\
        --job '{"spec": {"study": "demo", "experiments": ["results/digits/vgg16/quick/seed0"],
                         "datasets": {"digits": {"variant_of": null, "note": null, "own_files": null}}}}' \\
        --published workflow/published.csv --template workflow/templates/report.md.j2 --output results/report.md \\
        --metrics-csv results/metrics.csv --environment results/environment.json
"""

import argparse
import json
from pathlib import Path

from deepnets.comparison.published import read_published
from deepnets.evaluation.results import read_result
from deepnets.reporting.environment import describe
from deepnets.reporting.job_times import job_times
from deepnets.reporting.report import Study, render
from deepnets.reporting.tables import metrics_csv
from deepnets.utils.command_line import run
from deepnets.utils.files import write_json, write_text

ROOT = Path(__file__).resolve().parent.parent


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--job",
        type=json.loads,
        required=True,
        help="JSON: spec.study, spec.experiments (folders, in the report's order) and spec.datasets",
    )
    parser.add_argument("--published", required=True, help="table of published figures (CSV)")
    parser.add_argument("--template", required=True, help="the report's Jinja2 template")
    parser.add_argument("--benchmarks", help="folder of Snakemake's benchmark files; left out: no time by stage")
    parser.add_argument(
        "--output", type=Path, required=True, help="report to write; figures are linked from its folder"
    )
    parser.add_argument("--metrics-csv", required=True, help="table to write, one row per experiment")
    parser.add_argument("--environment", required=True, help="description of this machine to write (JSON)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    spec = args.job["spec"]
    results = [read_result(folder) for folder in spec["experiments"]]
    environment = describe(ROOT)
    names = [result.directory.parts[-4:] for result in results]
    study = Study(
        name=spec["study"],
        results=results,
        datasets=spec["datasets"],
        published=read_published(args.published),
        jobs=job_times(args.benchmarks, names) if args.benchmarks else [],
        environment=environment,
        folder=args.output.parent,
    )
    report = render(study, args.template)
    write_json(args.environment, environment)
    write_text(args.metrics_csv, metrics_csv(results))
    write_text(args.output, report)


if __name__ == "__main__":
    run(main)
