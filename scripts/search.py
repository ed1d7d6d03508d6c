"""Search for the recipe values with the best validation accuracy: a search of config.yaml, by its name.

    python scripts/search.py rates --cores 4
    python scripts/search.py rates --configfile birds.yaml
    python scripts/search.py rates --profile profiles/slurm

Options that are not this script's own go to Snakemake, which trains each round of trials. The same command continues
after an interruption.
"""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from deepnets.planning.config_options import add_config_options, load_config_of
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
    add_config_options(parser, study=False)
    args, options = parser.parse_known_args(argv)
    from deepnets.planning.search import SearchRun  # here, so that `run` reports a mistake in a user's network
    from deepnets.planning.suggestions import check_optuna

    log_to(None)
    if study := next((value for value in args.config if value.partition("=")[0] == "study"), None):
        raise UserError(f"--config {study}: the trials of a search are a study by themselves; leave {study} out")
    config, files = load_config_of(args), " or ".join(["config.yaml", *args.configfile])
    if args.name not in config.searches:
        raise UserError(f"{files}: searches: unknown search {args.name!r}; {nearest(args.name, config.searches)}")
    check_optuna()
    if not any(option.startswith(_WHERE) for option in options):
        options += ["--cores", str(usable_cores())]
    search = SearchRun(
        args.name, config, Path(), lambda study, targets: _snakemake([*targets, *_config(args, study), *options])
    )
    done = [trial for trial in search.finish() if trial.state == "done"]
    if not done:
        raise UserError(f"{search.record}: no trial was trained to its end; change searches.{args.name} in {files}")
    best, pair = max(done, key=lambda trial: trial.accuracy), f"{search.search.dataset}/{search.search.model}"
    LOG.info("%s: the best is %s", args.name, best)
    LOG.info("To train %s with it, write this into recipes.%s.on of %s:", pair, search.search.recipe, files)
    LOG.info("%s", search.lines_for(best.values))
    LOG.info("It replaces the values that %s has there. The report of all trials:", pair)
    report = ["--cores", str(usable_cores()), "results/report.md", *_config(args, search.study)]
    LOG.info("%s %s", program("snakemake"), shlex.join(report))


def _config(args: argparse.Namespace, study: Path) -> list[str]:
    """Options with which Snakemake reads what this script has read, and a study on top of the files."""
    return ["--configfile", *args.configfile, str(study), *(["--config", *args.config] if args.config else [])]


def _snakemake(arguments: Sequence[str]) -> None:
    """Run Snakemake; results show how it went. After a Ctrl-C, wait until it has saved what it trains."""
    with subprocess.Popen([sys.executable, "-m", "snakemake", *arguments]) as process:
        try:
            process.wait()
        except KeyboardInterrupt:
            process.wait()
            raise


if __name__ == "__main__":
    run(main)
