"""What the networks of a study were started from, in words."""

from collections.abc import Iterable

from deepnets.evaluation.results import Result
from deepnets.evaluation.schemas import Metrics, StartedFrom
from deepnets.reporting.markdown import Markdown, bold, code, escape
from deepnets.utils.text import first_few


def how_trained(results: Iterable[Result]) -> str:
    """Return how networks were trained, for the sentence on what the study asks: "when trained from scratch"."""
    pretrained = {result.metrics.started_from is not None for result in results}
    if pretrained == {True}:
        return "when trained further from the weights of earlier training runs"
    scratch = "when trained from scratch"
    return scratch if pretrained == {False} else f"{scratch} or further from the weights of earlier training runs"


def source(started: StartedFrom) -> str:
    """Return the name of the weights: a file, an experiment or what a library publishes."""
    weights = started.weights
    return weights.get("experiment") or weights.get("name") or weights["file"]


def weights_needed(results: list[Result]) -> list[Markdown]:
    """Return a sentence for each file of weights of the user's that a network was started from."""
    files = {
        (started.weights["file"], started.sha256): result.model
        for result in reversed(results)
        if (started := result.metrics.started_from) is not None and "file" in started.weights
    }
    return [
        Markdown(
            f"{code(file)} (SHA-256 {code(sha256)}) cannot be downloaded: put it where"
            f" {code(f'models.{model}.weights')} of config.yaml says."
        )
        for (file, sha256), model in reversed(files.items())
    ]


def starts(results: list[Result]) -> list[Markdown]:
    """Return what each model on each dataset was started from and what became of these weights; [] without any.

    Models that were started from random weights are named, too, if others were not.
    """
    found = dict[tuple[str, str], Result]()
    for result in results:
        found.setdefault((result.model, result.dataset), result)
    if all(result.metrics.started_from is None for result in found.values()):
        return []
    return [
        Markdown(f"{bold(f'{result.display_name} on {result.dataset}')}: {started_from(result.metrics)}.")
        for result in found.values()
    ]


def started_from(metrics: Metrics, digits: int = 12) -> Markdown:
    """Return what a network was started from and what became of these weights.

    Args:
        metrics: of the experiment.
        digits: how many of the SHA-256 of the weights are shown.
    """
    started = metrics.started_from
    if started is None:
        return Markdown("random weights")
    frozen = "; only the last layer was trained" if metrics.spec["model"].get("freeze") else ""
    share = f"{100 * started.parameters / max(1, started.parameters_of):.1f} %"
    lists = {
        "the last layer was replaced": started.replaced,
        "the first convolution was adapted to the number of channels": started.adapted,
        "left at random": started.initialised,
        "in the weights, but not used": started.unused,
    }
    parts = [f"{words} ({first_few(names)})" for words, names in lists.items() if names]
    loaded = f"SHA-256 {started.sha256[:digits]}, {share} of the parameters outside the last layer were loaded"
    text = "; ".join([loaded, *parts, f"images were normalised {started.normalised}"])
    return Markdown(f"{code(source(started))} ({escape(text)}){escape(frozen)}")
