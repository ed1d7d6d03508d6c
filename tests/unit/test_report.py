"""The report as a page: links, names, experiments, warnings and damaged files."""

import json
import re
from html import unescape
from urllib.parse import unquote

import pytest
from report_pages import MNIST, rendered, set_timing, tables

from deepnets.figures import COMPARISON_FIGURES
from deepnets.models import about
from deepnets.models._about import About
from deepnets.reporting.report import first_sentence
from deepnets.utils.errors import UserError

HOSTILE = [
    *("a|b", "<script>alert(1)</script>", "`x`", "line\nbreak", "猫 🐶", "[x](y)", "*b*", "$x$", "_e_"),
    *("# Owned", "- item", "www.x.example", ":smile:", "@user", "1. x", "\u202egnp"),
]


def test_a_warning_stands_before_the_results_and_with_its_experiment(experiment, write_report):
    text = write_report(experiment(model="vgg16", warnings=["under-trained: 31% after 8 epochs; try 16"]))
    line = "**VGG-16 on digits, recipe quick, seed 0**: under-trained: 31% after 8 epochs; try 16."
    assert f"> [!WARNING]\n> - {line}" in text[: text.index("## Results")]
    assert "**Warning:** under-trained" in text[text.index("## Experiments") :]
    assert "[!WARNING]" not in write_report(experiment(model="vgg16"))


def test_different_versions_of_torch_are_a_warning(experiment, write_report):
    old, new = experiment(seed=0), experiment(seed=1)
    set_timing(old, versions={"torch": "2.11.0"})
    assert "> - The experiments were trained with different versions of torch: 2.11.0 and 2.15.0." in write_report(
        old, new
    )


def test_of_many_warnings_those_about_the_study_are_shown_and_the_others_are_counted(experiment, write_report):
    directories = [experiment(warnings=[f"{chr(97 + kind)}: try it" for kind in range(23)]), experiment(seed=1)]
    set_timing(directories[0], versions={"torch": "2.11.0"})
    warnings = write_report(*directories).split("> [!WARNING]\n")[1].split("\n\n")[0].splitlines()
    assert len(warnings) == 21
    assert "different versions of torch" in warnings[0]
    assert warnings[-1].startswith("> - There are 4 more warnings; [metrics.csv](metrics.csv) has their number")


def test_rates_of_an_experiment_are_in_percent(experiment, write_report):
    directory = experiment(accuracy=0.9)
    test = json.loads((directory / "metrics.json").read_text())["test"]
    f1, ece = (f"{100 * test[name]:.2f} %" for name in ("f1_macro", "ece"))
    of_bins = f"over 15 bins of equal width (another definition than in the table of calibration) {ece};"
    assert f"macro F1 {f1}, expected calibration error {of_bins}" in write_report(directory)


def warnings_of(text):
    """The lines of warning of a report."""
    return text.partition("> [!WARNING]\n")[2].partition("\n\n")[0].splitlines()


def test_seeds_of_a_recipe_have_one_warning_of_a_kind_with_the_advice_that_most_of_them_get(experiment, write_report):
    advice = ["(3.1); try 20 epochs or more", "(1.6); try a tenth of the lr", "(1.7); try a tenth of the lr"]
    runs = [experiment(seed=seed, warnings=[f"did not learn: {text}"]) for seed, text in enumerate(advice)]
    [line] = warnings_of(write_report(*runs))
    assert line == (
        "> - **ResNet50 on digits, recipe quick, 3 seeds**: did not learn: (1.6); try a tenth of the lr (the numbers"
        " are those of seed 1)."
    )
    runs.append(experiment(seed=3, warnings=["under-trained: so far"]))
    first, second = warnings_of(write_report(*runs))
    assert first.startswith("> - **ResNet50 on digits, recipe quick, seeds 0, 1 and 2**: did not learn")
    assert second == "> - **ResNet50 on digits, recipe quick, seed 3**: under-trained: so far."


def test_warnings_of_recipes_that_validation_did_not_choose_are_counted(experiment, write_report):
    runs = [
        experiment(recipe=recipe, validation_accuracy=value, warnings=[f"under-trained: {recipe}"])
        for recipe, value in (("chosen", 0.95), ("other", 0.9), ("third", 0.8))
    ]
    text = write_report(*runs, experiment(model="vgg16"))
    shown, counted = warnings_of(text)
    assert shown == "> - **ResNet50 on digits, recipe chosen, seed 0**: under-trained: chosen."
    assert counted.startswith("> - There are 2 warnings of recipes that validation did not choose; [metrics.csv]")
    assert "What the warnings below advise for one training run." in text
    assert len(warnings_of(write_report(*runs))) == 3  # of a single network, its recipes are compared


def test_a_recipe_that_is_named_with_its_own_value_has_its_other_name_once(experiment, write_report):
    runs = [experiment(recipe=recipe, lr=lr) for recipe, lr in (("quick", 0.05), ("quick,lr=0.1", 0.1))]
    text = write_report(*runs)
    assert "ResNet50 (quick, lr 0.05)" in text
    where = "In warnings and the tables of recipes, experiments and costs"
    assert text.count(f"{where}, quick, lr 0.05 is called quick.") == 1
    assert where not in write_report(runs[0], experiment(recipe="long", lr=0.1))


def links(text):
    targets = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    return [unquote(unescape(target)) for target in targets if not target.startswith("https://")]


@pytest.mark.parametrize("suffix", ["", "-sweep"])
def test_every_link_is_relative_and_resolves_to_files_of_the_study(experiment, write_report, tmp_path, suffix):
    budgets = [experiment(model="vgg16", recipe=f"b{epochs}", epochs=epochs) for epochs in (1, 2)]
    for directory in budgets:
        (directory / "figures").mkdir()
        for figure in ("learning_curves", "confusion_matrix"):
            (directory / f"figures/{figure}.png").touch()
    (tmp_path / f"results/digits/comparison{suffix}").mkdir()
    for figure in COMPARISON_FIGURES:
        (tmp_path / f"results/digits/comparison{suffix}/{figure}.png").touch()
    targets = links(write_report(*budgets, suffix=suffix))
    assert len(targets) == 8 + 2 * 5 + 3
    assert {f"metrics{suffix}.csv", f"environment{suffix}.json"} < set(targets)
    assert [target for target in targets if not (tmp_path / "results" / target).is_file()] == []


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"model": "vgg16", "epochs": 2}, id="two models"),
        pytest.param({"recipe": "lr", "lr": 0.1}, id="two learning rates"),
        pytest.param({"recipe": "record", "lr": 0.1, "epochs": 200}, id="quick and record"),
    ],
)
def test_a_study_without_budgets_shows_no_budget_figure(experiment, write_report, other):
    targets = links(write_report(experiment(), experiment(**other)))
    assert "digits/comparison/accuracy_at_equal_time.png" in targets
    assert "digits/comparison/accuracy_vs_budget.png" not in targets
    assert ("digits/comparison/accuracy_vs_value.png" in targets) is (other == {"recipe": "lr", "lr": 0.1})


def test_names_cannot_break_the_page(experiment, write_report):
    directory = experiment(classes=HOSTILE, accuracy=0.5, warnings=["|".join(HOSTILE)], device_name="<b>|CPU`")
    text = write_report(directory, study="a|<i>`", datasets={"digits": {"note": " ".join(HOSTILE)}})
    for table in tables(text):
        assert len({len(row) for row in table}) == 1
    page = re.sub(r"(?s)```+sh.*?```+", "", text)  # names in commands are text, whatever they hold
    assert set(re.findall(r"<(\w+)", page)) == {"br", "code", "details", "img", "span", "summary"}
    assert (
        text.count("<details") == text.count("</details>") == 2 + 4
    )  # what tests mean, and how to read the figures of three sections
    assert "`" not in page
    assert "[x](y)" not in page
    plain = unescape(re.sub("</?span>", "", text))
    assert "Note: a|b <script>alert(1)</script> `x` line break 猫 🐶 [x](y) *b* $x$ _e_ # Owned - item www" in plain


def test_a_page_with_hostile_names_has_the_elements_of_one_with_harmless_names(experiment, write_report):
    def elements(names, note):
        text = write_report(
            experiment(classes=names, accuracy=0.5, warnings=[note]), datasets={"digits": {"note": note}}
        )
        return [tag for tag in rendered(text).tags if tag != "span"]

    for name in HOSTILE:
        assert elements([name, "x"], name) == elements(["cat", "x"], "cat")


def test_the_report_says_how_each_network_departs_from_the_original_and_its_options(experiment, write_report):
    directory = experiment(model="resnet50_full", architecture="resnet50")
    metrics = json.loads((directory / "metrics.json").read_text())
    metrics["spec"]["model"] |= {"stem_pool": False}
    (directory / "metrics.json").write_text(json.dumps(metrics))
    text = write_report(directory, experiment(model="vgg16"))
    assert "The networks differ from the originals that they are named after:" in text
    for name in ("vgg16", "resnet50"):
        assert f"\n- **{about(name).display_name}**: {about(name).differs}.\n" in unescape(re.sub("</?span>", "", text))
    assert "| resnet50_full | <code>resnet50</code> | stem_pool no | digits |" in text
    assert "| VGG-16 | <code>vgg16</code> | – | digits |" in text


def test_networks_with_a_small_stem_are_named_together_as_changed(experiment, write_report):
    directories = [experiment(model=model) for model in ("resnet18", "convnext_atto", "vgg16")]
    for directory in directories[:2]:
        metrics = json.loads((directory / "metrics.json").read_text())
        metrics["spec"]["model"] |= {"stem": "small"}
        (directory / "metrics.json").write_text(json.dumps(metrics))
    text = write_report(*directories)
    assert "\n- **resnet18 and convnext_atto**: with stem small, that is, the first convolution is 3x3" in text
    assert "stem small" not in write_report(directories[2])


def test_a_network_of_the_user_departs_from_nothing(experiment, write_report, monkeypatch):
    monkeypatch.setattr("deepnets.reporting.settings.about", lambda name: About())
    assert "differ from the originals" not in write_report(experiment())


def test_the_published_study_is_cited_where_it_is_compared_with(experiment, write_report):
    cited = "Kaviraj Gosaye, [Deeper Networks for Image\nClassification](https://github.com/kaviraj07/"
    assert cited in write_report(experiment(**MNIST))
    assert cited not in write_report(experiment())


def test_a_model_with_the_name_of_another_network_is_called_as_the_user_wrote_it(experiment, write_report):
    text = write_report(experiment(model="convnext", architecture="resnet50"), experiment(model="vgg16", seed=1))
    assert "convnext" in text
    assert "ConvNeXt" not in text


def test_no_value_is_left_undefined_or_none(experiment, write_report):
    text = write_report(experiment(**MNIST), experiment())
    assert not re.search(r"\bNone\b|\bnan\b|undefined|\{\{|\{%", text)


def test_a_template_that_asks_for_what_is_not_there_is_a_defect(experiment, write_report, tmp_path):
    template = tmp_path / "template.md.j2"
    template.write_text("{{ nothing }}")
    with pytest.raises(Exception, match="'nothing' is undefined"):
        write_report(experiment(), template=template)


def test_an_experiment_has_its_most_frequent_errors(experiment, write_report):
    directory = experiment(classes=["cat", "dog"], n_test=100, accuracy=0.9)
    metrics = json.loads((directory / "metrics.json").read_text())
    metrics["test"]["confusion_matrix"] = [[43, 7], [3, 47]]
    (directory / "metrics.json").write_text(json.dumps(metrics))
    text = write_report(directory)
    assert "<details><summary>ResNet50 on digits, recipe quick, seed 0: 90.00 %</summary>" in text
    assert "Most frequent errors:\ncat predicted as dog: 7 of 50,\ndog predicted as cat: 3 of 50." in text


def test_the_difference_between_accuracies_of_curves_and_tables_is_explained(experiment, write_report):
    experiments = write_report(experiment()).split("## Experiments\n\n")[1]
    assert experiments.startswith(
        "In the learning curves, training accuracy is the mean over an epoch, on augmented images"
    )


def test_numbers_over_a_sample_are_marked(experiment, write_report):
    directory = experiment()
    metrics = json.loads((directory / "metrics.json").read_text())
    metrics["train"] |= {"n": 10000, "of": 54000}
    (directory / "metrics.json").write_text(json.dumps(metrics))
    assert "Evaluated on 10,000 (a fixed random sample of 54,000) training," in write_report(directory)


def test_a_training_run_that_was_resumed_within_an_epoch_is_reported(experiment, write_report):
    directory = experiment()
    set_timing(directory, resumed_from_epochs=[1.25])
    assert "1.25" in write_report(directory)


def test_the_same_results_give_the_same_report(experiment, write_report):
    directory = experiment(**MNIST)
    assert write_report(directory) == write_report(directory)


@pytest.mark.parametrize("name", ["metrics.json", "history.csv", "timing.json"])
def test_a_damaged_file_stops_the_report_and_leaves_the_old_one(experiment, write_report, tmp_path, name):
    directory = experiment()
    before = write_report(directory)
    (directory / name).write_text("{")
    with pytest.raises(UserError, match=rf"seed0/{re.escape(name)}: damaged"):
        write_report(directory)
    assert (tmp_path / "results/report.md").read_text() == before


def test_a_missing_template_is_named_with_the_remedy(experiment, write_report, tmp_path):
    with pytest.raises(UserError, match=r"none\.j2: the file is missing; restore it with: git checkout"):
        write_report(experiment(), template=tmp_path / "none.j2")


def test_the_first_sentence_of_a_report_is_its_answer_in_plain_text(experiment, write_report):
    text = write_report(experiment(dataset="my_digits|1", accuracy=0.9))
    sentence = "On my_digits|1, ResNet50 reached 90.00 % test accuracy (95 % interval 86.47 to 92.69 %)."
    assert first_sentence(text) == sentence


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        ("# A title\n\n**Bold** and <code>code</code>\nin [v1.5](x.md). Then more.\n", "Bold and code in v1.5."),
        ("# A title\n\nNo stop at all\n\nNext paragraph.", "No stop at all"),
        ("# A title\n", ""),
    ],
)
def test_the_first_sentence_has_no_marks_of_markdown(page, sentence):
    assert first_sentence(page) == sentence
