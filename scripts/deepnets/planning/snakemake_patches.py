"""Changes of Snakemake for which it has no options: six patches, applied by `run_hooks`.

They use names that are not public. Where a version of Snakemake lacks one, the patch changes nothing, and a line says
what happens instead; `survive_other_ends` and `adapt_report` print none.
"""

import contextlib
import functools
import json
import sys
import time
from collections.abc import Callable, Container, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakemake.jobs import Job

from deepnets.planning.estimates import is_measured
from deepnets.utils import paths

if TYPE_CHECKING:  # it imports the user's networks
    from deepnets.planning.jobs import Jobs


def _has(part: Any, *names: str, otherwise: str) -> bool:
    """Return whether an object of Snakemake has all names that a patch uses; if not, print what happens without it."""
    lacking = [name for name in names if not hasattr(part, name)]
    if lacking:
        print(f"Snakemake {version('snakemake')}: {', '.join(lacking)} not found, so {otherwise}", file=sys.stderr)
    return not lacking


# -- the order of jobs -------------------------------------------------------------------------------------------------

_OF_EXPERIMENT = {"dataset", "model", "recipe", "seed"}


def train_after_summaries(dag: Any, jobs: "Jobs") -> None:
    """Let each planned training run of a network that was not measured wait for the summary, if that is planned, too.

    Snakemake asks once how much memory a job takes: when the job could start. Without this, the first run of such a
    network asks for what the most expensive measured network takes.

    The summary is no input of the rule, because it would then decide whether a run is out of date. Snakemake records
    the inputs, so all earlier results of such networks would be retrained, and those of a network that was measured
    since. Even with `ancient`, a summary that was lost, and is rebuilt, would retrain all of its network's experiments.

    Args:
        dag: Snakemake's jobs, before the first is chosen.
        jobs: those of the configuration.
    """
    otherwise = "training runs do not wait for the summaries that estimate their memory, and may ask for more"
    if not _has(dag, "dependencies", "depending", "_n_until_ready", otherwise=otherwise):
        return
    makers = {str(file): job for job in dag.needrun_jobs() for file in job.output}
    for job in dag.needrun_jobs():
        names = job.wildcards_dict
        if not (names.keys() >= _OF_EXPERIMENT and makers.get(str(jobs.root / paths.MODEL.format(**names))) is job):
            continue  # not a training run
        summary = makers.get(file := str(jobs.root / paths.SUMMARY_JSON.format(**names)))
        if summary is None or is_measured(jobs.experiment(**names).spec):
            continue
        waits_for = {each for each in summary.output if str(each) == file}
        dag._n_until_ready[job] += summary not in dag.dependencies[job]
        dag.dependencies[job][summary] |= waits_for
        dag.depending[summary][job] |= waits_for


# -- retries -----------------------------------------------------------------------------------------------------------

DIVERGED = "the loss is not finite"  # in the last line of a trainer whose loss is not


def retry_no_divergence() -> None:
    """Have Snakemake, from now on, give no retry to a job whose log ends with a divergence, which would come again.

    All other failures are retried, as `retries:` of a profile says: a batch system's Snakemake knows only that a job
    has failed, and what fails on one node, for memory or a full disk, may succeed on the next one.
    """
    otherwise = "a training run whose loss is not finite is retried, too"
    if not _has(getattr(Job, "restart_times", None), "fget", otherwise=otherwise):
        return
    started, retries = time.time(), Job.restart_times.fget

    def restart_times(job: Any) -> int:
        return 0 if any(DIVERGED in (failure_since(log, started) or "") for log in job.log) else retries(job)

    Job.restart_times = property(restart_times)


def failure_since(log: str, since: float) -> str | None:
    """Return the error with which a job's log ends; None without one.

    None, too, if the log was not written since this time, in seconds since 1970: a job that a node loses before it
    starts still has the log of an earlier run.
    """
    from deepnets.planning.status import last_line_of_failure, tail  # it imports the user's networks

    with contextlib.suppress(OSError):
        if Path(log).stat().st_mtime >= since:
            return last_line_of_failure(tail(Path(log)), "")
    return None


# -- the job that a node is to run -------------------------------------------------------------------------------------


def restore_target_jobs(workflow: Any) -> None:
    """Give the jobs of Snakemake's option `--target-jobs` their whole wildcards.

    For a node of a cluster Snakemake writes `train:recipe="quick,lr=0.03",seed=0`, which it then reads as three
    wildcards.
    """
    settings: Any = getattr(workflow, "dag_settings", None)
    otherwise = "a node of a cluster does not find its job where a study sets values of a recipe"
    if not (_has(settings, "target_jobs", otherwise=otherwise) and _has(workflow, "get_rule", otherwise=otherwise)):
        return
    settings.target_jobs = [
        spec._replace(
            wildcards_dict=whole_wildcards(spec.wildcards_dict, workflow.get_rule(spec.rulename).wildcard_names)
        )
        for spec in settings.target_jobs
    ]


def whole_wildcards(read: Mapping[str, str], names: Container[str]) -> dict[str, str]:
    """Return a rule's wildcards, of these names: what was read under another name continues the value before it."""
    whole: dict[str, str] = {}
    for name, value in read.items():
        if name in names or not whole:
            whole[name] = value
        else:
            whole[next(reversed(whole))] += f",{name}={value}"
    return whole


# -- files that a failed job was to update -----------------------------------------------------------------------------


def rerun_failed_updates(persistence: Any) -> None:
    """Have a failed job that was to update a file, `update(...)` in a rule, run again in the next run.

    Snakemake restores the file, and then records it as what the job wrote, so that it would not see that the file is
    out of date. Therefore the file is marked as incomplete, as after a kill.

    Args:
        persistence: the object through which Snakemake keeps its records.
    """
    otherwise = "a model card whose job fails counts as up to date"
    if not _has(persistence, "restore_output", "finished", "started", otherwise=otherwise):
        return
    restore, finished, restored = persistence.restore_output, persistence.finished, set[Path]()

    @functools.wraps(restore)
    def restore_and_record(path: Path) -> bool:
        is_restored = restore(path)
        if is_restored:
            restored.add(path)
        return is_restored

    @functools.wraps(finished)
    async def record(job: Any) -> None:
        await finished(job)
        if of_job := restored & {Path(file) for file in job.output}:
            restored.difference_update(of_job)
            persistence.started(job)

    persistence.restore_output, persistence.finished = restore_and_record, record


# -- locks -------------------------------------------------------------------------------------------------------------

LOCKS = Path(".snakemake/locks")
ATTEMPTS, PAUSE_SECONDS = 5, 0.1


def survive_other_ends(persistence: Any) -> None:
    """Have Snakemake try again to read, write or delete its locks when their folder goes meanwhile.

    The end of one run removes the folder of all locks, while another one may start.

    Args:
        persistence: the object through which Snakemake keeps its records. Stores without a folder of locks, and those
            of a Snakemake before these methods, are left as they are, without a line: the case is rare.
    """
    methods = ("_read_locks", "_delete_locks", "_write_locks")
    if all(hasattr(persistence, name) for name in ("_lockdir", *methods)):
        for name in methods:
            setattr(persistence, name, _again(getattr(persistence, name), makes_folder=name == "_write_locks"))


def _again(method: Callable, makes_folder: bool) -> Callable:
    @functools.wraps(method)
    def call(*args: Any) -> list:
        args = tuple(arg if isinstance(arg, str) else list(arg) for arg in args)  # a generator gives its items once
        for _ in range(ATTEMPTS - 1):
            with contextlib.suppress(OSError):
                if makes_folder:
                    LOCKS.mkdir(parents=True, exist_ok=True)
                return list(method(*args) or ())
            time.sleep(PAUSE_SECONDS)
        return list(method(*args) or ())

    return call


# -- the page of `snakemake --report` ----------------------------------------------------------------------------------

_STYLE = paths.REPOSITORY / "workflow/report/page.css"
_SVG, _LOGO = 'xmlns: "http://www.w3.org/2000/svg"', "src: logo_uri"
_PICTURE, _SEARCH = "src: this.props.app.state.contentPath }", 'placeholder: "Search..."'
_ICONS = {"x": "close", "eye": "show", "information-circle": "about", "chevron-right": "then"}  # other names are words
_NAMED = {  # what the templates show without a word -> the same with one, for those who do not see it
    _SVG: f'{_SVG}, role: "img", "aria-label": {json.dumps(_ICONS)}[this.props.iconName] || this.props.iconName',
    _LOGO: f'{_LOGO}, alt: ""',  # its name is next to it
    _PICTURE: f"alt: this.props.app.state.resultPath, {_PICTURE}",
    _SEARCH: f'{_SEARCH}, "aria-label": "Search"',
}


def adapt_report(reporter: Any) -> None:
    """Have the page of `snakemake --report` name its icons, pictures and search field, and fit a phone.

    Its style is not an option of the profile: Snakemake looks for that file from the folder of the results.

    Args:
        reporter: the module that writes the page. None, or a module that reads its templates in another way, is left
            as it is, without a line: the page is then as Snakemake has it.
    """
    read = getattr(reporter, "get_resource_as_string", None)
    if read is None:
        return

    @functools.wraps(read)
    def adapted(path: str) -> str:
        text = read(path)
        for shown, with_name in _NAMED.items():
            text = text.replace(shown, with_name)
        return text + _STYLE.read_text(encoding="utf-8") if path == "style.css" else text

    reporter.get_resource_as_string = adapted
