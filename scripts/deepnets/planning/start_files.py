"""What experiments start from, as files and jobs: another experiment's weights, or those that a library publishes."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from deepnets.config.experiment import Experiment
from deepnets.config.weights import PUBLISHED, is_experiment, local_file, start_file
from deepnets.planning.job import parse_name
from deepnets.utils import paths


def start_weights(experiment: Experiment) -> list[str]:
    """The file of weights that another job makes for an experiment to start from; [] if it needs none."""
    file = start_file(experiment.spec.get("weights", {}))
    return [] if file is None else [file]


def start_records(experiment: Experiment) -> list[str]:
    """A small file of the same job, by which Snakemake sees that the weights are new: it hashes no large file."""
    record = paths.HISTORY_FILE if "experiment" in experiment.spec.get("weights", {}) else Path(paths.WEIGHTS_INFO).name
    return [str(Path(file).with_name(record)) for file in start_weights(experiment)]


def weights_arguments(written: str | None) -> list[str]:
    """Arguments of train.py and summarize.py that change no result: where the user's file of `weights:` is."""
    if written is None or written == PUBLISHED or is_experiment(written):
        return []
    return ["--weights", str(local_file(written))]


def with_starts(study: Iterable[Experiment], find: Callable[..., Experiment]) -> list[Experiment]:
    """Return experiments, and before each those that it starts from; `find` returns an experiment by its names."""
    found = dict[str, Experiment]()

    def add(each: Experiment) -> None:
        if start := each.spec.get("weights", {}).get("experiment"):
            add(find(**parse_name("train", start)))
        found.setdefault(each.directory, each)

    for each in study:
        add(each)
    return list(found.values())


def published_networks(experiments: Iterable[Experiment]) -> Iterator[dict[str, str]]:
    """Yield library and network of the published weights that experiments start from."""
    for name in dict.fromkeys(each.spec.get("weights", {}).get("published") for each in experiments):
        if name is not None:
            library, _, network = name.partition("/")
            yield {"library": library, "network": network}


def published_spec(library: str, network: str) -> dict[str, str]:
    """Return what identifies the weights that a library publishes of a network; raises UserError if it does not."""
    from deepnets.models._published import published  # loads torch

    return published(f"{library}/{network}").spec
