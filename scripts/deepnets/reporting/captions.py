"""How to read the report's figures: each caption once, below the figures, where the reader opens it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from deepnets.figures import EXPERIMENT_FIGURES, ComparisonFigure
from deepnets.reporting.markdown import Markdown, bold, escape


@dataclass(frozen=True)
class HowToRead:
    """What stands below the figures of one dataset, and below those in its section on behaviour."""

    figures: Markdown
    of_behaviour: Markdown


def of_datasets(shown: Mapping[str, Sequence[ComparisonFigure]]) -> dict[str, HowToRead]:
    """Return the captions of the figures that compare networks, by dataset.

    A caption stands with the first dataset that has the figure, so that the length of a report does not grow with its
    datasets; the others lead there.

    Args:
        shown: the figures of each dataset in the order of the report.
    """
    texts: dict[str, HowToRead] = {}
    first_with: dict[str, str] = {}  # the dataset with a caption or a note
    for dataset, figures in shown.items():
        kinds = [[figure for figure in figures if figure.of_behaviour is kind] for kind in (False, True)]
        texts[dataset] = HowToRead(*(_below(dataset, each, first_with) for each in kinds))
    return texts


def of_experiments() -> Markdown:
    """Return the captions of the figures of one experiment."""
    lines = (_line(figure.title, figure.caption) for figure in EXPERIMENT_FIGURES.values())
    return _details("How to read the figures of an experiment", lines)


def _below(dataset: str, figures: Sequence[ComparisonFigure], first_with: dict[str, str]) -> Markdown:
    """Return the captions of some figures of a dataset, but those that stand with another one."""
    lines = [_line(figure.title, figure.caption) for figure in figures]
    lines += dict.fromkeys(escape(note) for figure in figures for note in figure.notes)
    own = [line for line in lines if first_with.setdefault(line, dataset) == dataset]
    others = dict.fromkeys(first_with[line] for line in lines if first_with[line] != dataset)
    where = " and ".join(_link(each) for each in others)
    if not own:
        return Markdown(f"The figures of {where} say how to read these." if where else "")
    if where:
        own.append(Markdown(f"The figures of {where} say how to read the others."))
    return _details("How to read these figures", own)


def _line(title: str, caption: str) -> Markdown:
    return Markdown(f"{bold(title)}: {escape(caption)}")


def _link(dataset: str) -> Markdown:
    """Return a link to the heading of a dataset, of which hosts make the anchor in lower case."""
    return Markdown(f"[{escape(dataset)}](#{dataset.lower()})")


def _details(title: str, lines: Iterable[Markdown]) -> Markdown:
    items = "\n".join(f"- {line}" for line in lines)
    return Markdown(f"<details><summary>{escape(title)}</summary>\n\n{items}\n\n</details>")
