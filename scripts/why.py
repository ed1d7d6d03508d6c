"""Explain why jobs of the study are out of date: which setting or file changed, from what to what.

    python scripts/why.py --study demo

`snakemake -n results/report.md` lists every job that would run. This names the jobs where a change begins, and why; the
jobs after them follow. It also names training runs by another version of torch, or of their network's library, which
stay as they are.
"""

from collections import defaultdict
from importlib import metadata
from pathlib import Path

from deepnets import models
from deepnets.planning.job_files import load_working_config
from deepnets.utils import paths
from deepnets.utils.command_line import argument_parser, run
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json
from deepnets.utils.programs import program

NAMED = 3  # jobs of one reason are named; the others are counted


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(__doc__, log=False)
    parser.add_argument("--study", help="a study of config.yaml (default: the one that it names)")
    args = parser.parse_args(argv)

    from deepnets.planning.jobs import Jobs  # here, so that `run` reports a mistake in a user's network
    from deepnets.planning.staleness import reasons

    config = load_working_config({"study": args.study} if args.study else {})
    jobs = Jobs(config, paths.REPOSITORY)
    jobs.check_data()
    stale = defaultdict(list)
    for job, why in reasons(jobs):
        stale[job.stage, why].append(job.outputs[0])
    for (stage, why), outputs in stale.items():
        print(f"{stage}: {why}")
        for output in outputs[:NAMED]:
            print(f"    {output}")
        if len(outputs) > NAMED:
            print(f"    and {len(outputs) - NAMED} more")
    if not stale:
        print(f"study {config.study}: nothing is stale")
    for (package, version), count in sorted(other_versions(jobs).items()):
        print(
            f"{count} trained with {package} {version}, here is {metadata.version(package)}: they stay as they are; to"
            f" retrain all: {program('snakemake')} --cores 4 results/report.md all --forcerun train"
            + (f" --config study={args.study}" if args.study else "")
        )


def other_versions(jobs) -> dict[tuple[str, str], int]:
    """How many of the study's experiments were trained with which other version of torch or of their network's library.

    The keys are pairs of package and version.
    """
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for experiment in jobs.study:
        library = models.library_of(experiment.spec["model"]["architecture"])
        for package in filter(None, ("torch", library)):
            try:
                version = read_json(Path(experiment.directory, paths.TIMING_FILE))["versions"][package]
            except (UserError, KeyError, TypeError):  # not trained yet, or damaged: named above
                continue
            if version.partition("+")[0] != metadata.version(package).partition("+")[0]:
                counts[package, version] += 1
    return counts


if __name__ == "__main__":
    run(main, continues=False)
