"""Explain why jobs of the study are out of date: which setting or file changed, from what to what.

    python scripts/why.py --study demo

`snakemake -n results/report.md` lists every job that would run. This names the jobs where a change begins, and why; the
jobs after them follow. It also names training runs by another version of torch, or of their network's library, which
stay as they are.
"""

from collections import defaultdict
from importlib import metadata

from deepnets.planning.config_options import add_config_options, load_config_of, snakemake_options
from deepnets.utils import paths
from deepnets.utils.command_line import argument_parser, run
from deepnets.utils.programs import program

NAMED = 3  # jobs of one reason are named; the others are counted


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(__doc__, log=False)
    add_config_options(parser)
    args = parser.parse_args(argv)

    from deepnets.planning.jobs import Jobs  # here, so that `run` reports a mistake in a user's network
    from deepnets.planning.staleness import made_from, other_versions, reasons

    jobs = Jobs(load_config_of(args), paths.REPOSITORY, args.root)
    jobs.check_data()
    stale = defaultdict(list)
    for job, why in reasons(jobs):
        stale[job.stage, why].append(job)
    for (stage, why), same in stale.items():
        print(f"{stage}: {why}")
        for job in same[:NAMED]:
            print(f"    {job.outputs[0]}")
        if len(same) > NAMED:
            print(f"    and {len(same) - NAMED} more")
    if again := made_from(jobs, [job for same in stale.values() for job in same]):
        runs = "1 training run" if again == 1 else f"{again} training runs"
        print(
            f"the data are rebuilt, and then all that was made from them: {runs}, their evaluations, figures and"
            f" the report; {program('snakemake')} -n results/report.md{snakemake_options(args)} lists all jobs; to keep"
            " these results, undo the change, and give new images a folder and a dataset of their own"
        )
    if not stale:
        print(f"study {jobs.config.study}: nothing is stale")
    for (package, version), count in sorted(other_versions(jobs).items()):
        print(
            f"{count} trained with {package} {version}, here is {metadata.version(package)}: they stay as they are; to"
            f" retrain all: {program('snakemake')} --cores 4 results/report.md all --forcerun train"
            + snakemake_options(args)
        )


if __name__ == "__main__":
    run(main, continues=False)
