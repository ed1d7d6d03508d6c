"""Which experiments of a study its report leaves out, and the commands that make them."""

from shlex import quote

from deepnets.reporting.markdown import Markdown, block, code, table
from deepnets.reporting.study import Study
from deepnets.reporting.tables import ROWS
from deepnets.utils import paths


def incomplete(study: Study) -> Markdown:
    """Return the sentence that warns of a report that leaves out experiments."""
    done = len(study.results)
    return Markdown(
        f"This report is about {done} of the {done + len(study.missing)} experiments of the study;"
        " [the others](#missing-experiments) are missing, and every number and every comparison is without them."
    )


def missing_table(study: Study) -> Markdown | None:
    """Return a row for each missing experiment, with its state and the command that makes it; None if none is."""
    if not study.missing:
        return None
    rows = [
        [code(each.name), each.state, code(_command(study, f"results/{each.name}/{paths.METRICS_FILE}"))]
        for each in study.missing[:ROWS]
    ]
    return table(["Experiment", "State", "Command"], rows, numbers_from=3)


def make_missing(study: Study) -> Markdown:
    """Return the block of the command that makes all missing experiments, and then the whole report."""
    return block([f"{_command(study, paths.REPORT.format(suffix=''))} --keep-going"])


def _command(study: Study, target: str) -> str:
    cores = study.environment["cores"]
    return f"snakemake --cores {cores} {quote(target)} --config study={quote(study.name)}"
