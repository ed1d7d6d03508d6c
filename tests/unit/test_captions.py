"""Captions: how to read each figure stands below the figures of the report, once."""

import re
from html import unescape

import pytest

from deepnets.figures import COMPARISON_FIGURES, EXPERIMENT_FIGURES, captions
from deepnets.reporting.page import render_page


def plain(text: str) -> str:
    return unescape(re.sub("</?span>", "", text))


def details(text: str, summary: str = "How to read these figures") -> list[str]:
    """What opens below each summary of this text."""
    return re.findall(rf"<details><summary>{summary}</summary>\n\n(.*?)\n\n</details>", plain(text), re.DOTALL)


@pytest.fixture
def two(experiment, write_report):
    """The report of two networks on two datasets, of which the second has two budgets as well."""
    runs = [experiment(name, model) for name in ("Digits", "mnist") for model in ("vgg16", "resnet50")]
    return write_report(*runs, experiment("mnist", "resnet50", "long", epochs=16))


def test_every_figure_of_the_report_has_its_caption_below_the_figures_of_its_section(experiment, write_report):
    text = write_report(experiment(model="vgg16", wall_seconds=90), experiment())
    shown = [COMPARISON_FIGURES[name] for name in re.findall(r'src="digits/comparison/(\w+)\.png', text)]
    assert {"accuracy_vs_time", "accuracy_at_equal_time", "reliability"} < {figure.name for figure in shown}
    for figure in shown:
        assert plain(text).count(f"\n- **{figure.title}**: {figure.caption}\n") == 1
    results, behaviour = details(text)
    assert results.count("Pareto front") == results.count("Bars are 95 % intervals") == 1
    assert "its learning rate is still high" in results
    assert "On the diagonal, confidence is what it promises" in behaviour
    for part, heading in ((results, "#### Images of"), (behaviour, "## Cost")):
        assert plain(text).index(part) < text.index(heading)


def test_a_caption_stands_with_the_first_dataset_that_has_the_figure_and_others_lead_there(two):
    of_digits, _, of_mnist = details(two)
    lead = "The figures of [Digits](#digits) say how to read these."
    assert of_mnist.splitlines()[-1] == "- The figures of [Digits](#digits) say how to read the others."
    assert "**Test accuracy against the budget in epochs and in time**" in of_mnist
    assert "**Test accuracy by model**" in of_digits
    assert "**Test accuracy by model**" not in of_mnist
    assert two.count(lead) == 1
    assert two.index(lead) > two.index("#### Behaviour on mnist")


def test_how_to_read_the_figures_of_an_experiment_stands_once(two):
    [found] = details(two, "How to read the figures of an experiment")
    assert found.splitlines() == [f"- **{each.title}**: {each.caption}" for each in EXPERIMENT_FIGURES.values()]


def test_captions_are_lists_of_the_page_that_open(two, tmp_path):
    page = render_page(two, tmp_path)
    below = r"<details><summary>How to read these figures</summary>\n*<ul>(.*?)</ul>\n*</details>"
    opened = re.findall(below, page, re.DOTALL)
    assert len(opened) == 3
    assert "<strong>Reliability diagrams</strong>: " in opened[1]
    _, _, below = page.partition('<h3 id="digits">')
    assert '<a href="#digits">Digits</a>' in below


def test_the_caption_of_a_figure_elsewhere_has_the_sentences_that_it_shares():
    caption = captions()["accuracy_vs_time"]
    figure = COMPARISON_FIGURES["accuracy_vs_time"]
    assert caption == " ".join([figure.caption, *figure.notes])
    assert all(f". {sentence}" in caption for sentence in ("Where training runs", "Accuracy against a cost", "Bars"))
