"""Write the report of a study, its table of all metrics, and a description of the machine and versions.

    python scripts/report.py \\
        --job '{"spec": {"study": "demo", "experiments": ["results/digits/vgg16/quick/seed0"],
                         "datasets": {"digits": {"variant_of": null, "note": null, "own_files": null}}}}' \\
        --published workflow/published.csv --template workflow/templates/report.md.j2 --output results/report.md \\
        --metrics-csv results/metrics.csv --environment results/environment.json
"""

import argparse
import json
from pathlib import Path

from deepnets.reporting.report import write_report
from deepnets.utils.command_line import run


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the values of the command line, with `job` decoded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--job",
        type=json.loads,
        required=True,
        help="JSON: spec.study, spec.experiments (folders, in the report's order) and spec.datasets",
    )
    parser.add_argument("--published", required=True, help="table of published results (CSV)")
    parser.add_argument("--template", required=True, help="the report's Jinja2 template")
    parser.add_argument(
        "--benchmarks", help="folder of Snakemake's benchmark files; without it the report has no time by stage"
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="report to write; figures are linked from its folder"
    )
    parser.add_argument("--metrics-csv", required=True, help="table to write, one row per experiment")
    parser.add_argument("--environment", required=True, help="description of this machine to write (JSON)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Write the report that the job describes."""
    args = parse_args(argv)
    write_report(
        args.job["spec"],
        args.published,
        args.template,
        args.benchmarks,
        args.output,
        args.metrics_csv,
        args.environment,
    )


if __name__ == "__main__":
    run(main)
