"""Search for the recipe values with the best validation accuracy: a search of config.yaml, by its name.

    python scripts/search.py rates --cores 4
    python scripts/search.py rates --profile profiles/slurm

Options that are not this script's own go to Snakemake, which trains each round of trials. The same command continues
after an interruption.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from deepnets.planning.job_files import load_working_config
from deepnets.utils.command_line import argument_parser, run
from deepnets.utils.errors import UserError
from deepnets.utils.logging import LOG, log_to
from deepnets.utils.machine import usable_cores
from deepnets.utils.programs import program
from deepnets.utils.text import nearest

# Options of Snakemake that say where jobs run.
_WHERE = ("--cores", "-c", "--jobs", "-j", "--profile", "--executor", "-e")


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(__doc__, log=False)
    parser.add_argument("name", help="of a search of config.yaml")
    args, options = parser.parse_known_args(argv)
    from deepnets.planning.search import SearchRun  # here, so that `run` reports a mistake in a user's network
    from deepnets.planning.suggestions import check_optuna

    log_to(None)
    config = load_working_config()
    if args.name not in config.searches:
        raise UserError(f"config.yaml: searches: unknown search {args.name!r}; {nearest(args.name, config.searches)}")
    check_optuna()
    if not any(option.startswith(_WHERE) for option in options):
        options += ["--cores", str(usable_cores())]
    search = SearchRun(args.name, config, Path(), lambda study, targets: _snakemake(study, targets, options))
    done = [trial for trial in search.finish() if trial.state == "done"]
    if not done:
        raise UserError(f"{search.record}: no trial was trained to its end; change searches.{args.name} in config.yaml")
    best = max(done, key=lambda trial: trial.accuracy)
    LOG.info("%s: the best is %s", args.name, best)
    LOG.info("Write these values into recipes.%s of config.yaml. The report of all trials:", search.search.recipe)
    cores = usable_cores()
    LOG.info("%s --cores %d results/report.md --configfile %s", program("snakemake"), cores, search.study)


def _snakemake(study: Path, targets: Sequence[str], options: Sequence[str]) -> None:
    """Run Snakemake; results show how it went. After a Ctrl-C, wait until it has saved what it trains."""
    command = [sys.executable, "-m", "snakemake", *targets, "--configfile", str(study), *options]
    with subprocess.Popen(command) as process:
        try:
            process.wait()
        except KeyboardInterrupt:
            process.wait()
            raise


if __name__ == "__main__":
    run(main)
