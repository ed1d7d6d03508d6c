"""The style of all figures, the registry of figures and the scripts that draw them."""

import itertools
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_results import write_statistics
from matplotlib.colors import to_rgb

import plot_comparison
import plot_experiment
from deepnets import figures
from deepnets.config.recipe import Recipe
from deepnets.figures import (
    COMPARISON_FIGURES,
    EXPERIMENT_FIGURES,
    ComparisonFigure,
    ExperimentFigure,
    comparison_files,
    experiment_files,
    style,
)
from deepnets.figures.looks import LOOKS
from deepnets.figures.names import short_names
from deepnets.utils.errors import UserError
from deepnets.utils.files import write_json

FOUR = ("vgg16", "inception_v3", "resnet50", "mobilenet_v2")

# -- one style --------------------------------------------------------------------------------------------------------


def lightness(color):
    """CIE L* (0 black, 100 white) of an sRGB colour."""
    luminance = np.dot([0.2126, 0.7152, 0.0722], linear(color))
    return 116 * np.cbrt(luminance) - 16


def linear(color):
    rgb = np.asarray(to_rgb(color))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


# Linear RGB as seen without one kind of cone: Machado et al. 2009, severity 1.
VISION = {
    "all cones": np.eye(3),
    "no red cones": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green cones": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "no blue cones": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


@pytest.mark.parametrize("vision", VISION)
def test_the_four_architectures_differ_for_every_kind_of_colour_vision(vision):
    def lab(color):
        x, y, z = np.clip(np.asarray(VISION[vision]) @ linear(color), 0, 1) @ np.transpose(
            [[0.4339, 0.3762, 0.1899], [0.2126, 0.7152, 0.0722], [0.0177, 0.1095, 0.8726]]
        )
        x, y, z = np.cbrt([x, y, z])
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    colors = [style.model_style(model, 0).color for model in FOUR]
    assert min(np.linalg.norm(lab(a) - lab(b)) for a, b in itertools.combinations(colors, 2)) > 20


def test_the_four_architectures_differ_in_grey_print():
    levels = sorted(lightness(style.model_style(model, 0).color) for model in FOUR)
    assert min(np.diff(levels)) > 10


def test_an_architecture_keeps_its_look_whatever_its_index():
    assert style.model_style("resnet50", 0) == style.model_style("resnet50", 7)
    assert len({style.model_style(model, 0).marker for model in FOUR}) == 4


def test_two_hundred_models_of_the_user_all_look_different():
    looks = [style.model_style("net", index) for index in range(LOOKS)]
    assert len({(look.color, look.marker, look.linestyle) for look in looks}) == LOOKS >= 200
    fixed = {style.model_style(model, 0).color for model in FOUR}
    assert not fixed & {look.color for look in looks}


def test_a_name_is_on_one_line_short_and_drawable():
    shown = short_names(["two\n lines", "a" * 30, "dog \U00012000"], 20)
    assert shown == ["two lines", "a" * 19 + "…", "dog ?"]
    assert short_names(["\U00012000"], 20, instead=["class 3"]) == ["class 3"]


def test_hidden_characters_of_a_name_are_drawn_as_escapes():
    assert short_names(["a\u202eb", "c\u200bat"], 20) == ["a\\u202eb", "c\\u200bat"]


SAME_START = "the_same_twenty_letters_and_more_"
ALIKE = {
    "end": [f"{SAME_START}{end}" for end in ("cat", "dog", "dogs")],
    "middle": [f"{SAME_START}{middle}_and_the_same_end_again" for middle in ("cat", "dog", "dogs")],
    "start": [f"{start}_{SAME_START}" for start in ("cat", "dog", "dogs")],
    "length": ["a" * 30, "a" * 31, "a" * 32, "a" * 20],
    "hundred": [f"{SAME_START}{index}" for index in range(100)],
    "two places": [f"{SAME_START}{a}{'x' * 30}{b}{'y' * 30}" for a in "abc" for b in "abc"],
    "one after the other": [f"{'x' * 22 * count}{letter}{'z' * 40}" for count in range(4) for letter in "ab"],
    "spaces": ["a b", "a  b", "a\tb", "a\N{NO-BREAK SPACE}b"],
    "not drawable": ["\U00012000", "\U00012001", "class 1"],
    "numbers": ["b" * 25 + str(index) for index in range(12)] + ["b" * 25 + "1 (2)", "b" * 15 + " (1)"],
}


@pytest.mark.parametrize("alike", ALIKE)
@pytest.mark.parametrize("limit", [20, 28, 34])
def test_names_that_stand_together_stay_different_and_short(alike, limit):
    given = ALIKE[alike]
    shown = short_names(given, limit, [f"class {index}" for index in range(len(given))])
    assert len(set(shown)) == len(given)
    assert max(map(len, shown)) <= limit


def test_names_are_cut_before_the_place_where_they_differ():
    assert short_names(ALIKE["end"][:2], 20) == ["the_sa…_and_more_cat", "the_sa…_and_more_dog"]
    assert short_names(ALIKE["middle"][:2], 20) == ["the_sa…cat_and_the_…", "the_sa…dog_and_the_…"]
    assert short_names(["b" * 30, "b" * 31], 20) == ["bbbbbb…bbbbbbbbb (1)", "bbbbbb…bbbbbbbbb (2)"]


def test_names_that_look_the_same_are_numbered_once():
    assert short_names(["a b", "a  b", "a\tb"], 20) == ["a b (1)", "a b (2)", "a b (3)"]
    assert short_names(["x (1)", "x  (1)"], 20) == ["x (1) (1)", "x (1) (2)"]
    assert short_names(["x", " x", "x (1)"], 20) == ["x (2)", "x (3)", "x (1)"]


# Few letters, so that many names are alike: spaces and tabs look the same, numbers look like the marks.
NAMES = st.lists(st.text("ab \t(12)", max_size=40) | st.from_regex(r"\Aa{0,30} \([12]\)\Z"), max_size=20)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(NAMES, st.integers(20, 34))
def test_names_stay_different_and_short_whatever_they_are(given, limit):
    shown = short_names(given, limit)
    assert len(set(shown)) == len(given)
    assert all(len(name) <= limit for name in shown)
    for name, short in zip(given, shown, strict=True):
        if len(name) < 16:  # whole, or whole with a number
            assert " ".join(name.split()) in (short, short.rpartition(" (")[0])


def test_models_whose_names_start_alike_have_different_labels():
    models = {f"{SAME_START}{end}": index for index, end in enumerate("abc")}
    assert len({each.label for each in style.model_styles(models).values()}) == 3
    assert style.model_styles({"resnet50": 0})["resnet50"] == style.model_style("resnet50", 0)


def test_a_model_with_the_name_of_another_network_is_called_as_the_user_wrote_it():
    assert style.model_styles({"convnext": 0}, {"convnext": "resnet50"})["convnext"].label == "convnext"
    assert style.model_style("convnext", 0, "resnet50").label == "convnext"
    names = {"dataset": "digits", "model": "convnext", "recipe": "quick", "seed": 0, "architecture": "resnet50"}
    assert style.title(names).startswith("convnext on digits")


def test_a_title_has_every_name_in_full():
    names = {key: f"{SAME_START * 2}"[:60] + key for key in ("dataset", "model", "recipe")} | {"seed": 0}
    lines = style.title(names, "accuracy").splitlines()
    assert all(len(line) <= 60 for line in lines[:-1])
    assert lines[-1] == "accuracy"
    joined = "".join(lines).replace(" ", "")
    assert all(str(name) in joined for name in names.values())


def test_labels_that_are_too_close_are_spread_about_their_middle():
    assert style.spread([0.1, 0.5, 0.5, 0.9], 0.2) == pytest.approx([0.1, 0.4, 0.6, 0.9])
    assert style.spread([0.1, 0.5, 0.51, 0.6], 0.2) == pytest.approx([0.1, 0.3366666, 0.5366666, 0.7366666])
    assert style.spread([], 0.2) == []


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_same_figure_gives_the_same_bytes_in_every_process(tmp_path, root, experiment, suffix):
    directory = experiment(epochs=2)
    paths = [tmp_path / f"{run}.{suffix}" for run in range(2)]
    code = (
        "import sys; from deepnets.figures import style; from deepnets.figures import learning_curves\n"
        "from deepnets.evaluation.history import read_history\n"
        "names = {'dataset': 'digits', 'model': 'vgg16', 'recipe': 'quick', 'seed': 0}\n"
        "figure = learning_curves.draw(read_history(sys.argv[1]), names, style.model_style('vgg16', 0))\n"
        "style.save(figure, sys.argv[2])"
    )
    for seed, path in enumerate(paths):
        environment = os.environ | {"PYTHONPATH": str(root / "scripts"), "PYTHONHASHSEED": str(seed)}
        subprocess.run([sys.executable, "-c", code, directory / "history.csv", path], env=environment, check=True)
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert b"Matplotlib v" not in first


# -- scripts ----------------------------------------------------------------------------------------------------------


def plot(directory, root):
    """Draw the figures of the experiment in `directory` through the script; return their folder."""
    dataset, model, recipe, seed = directory.parts[-4:]
    names = {"dataset": dataset, "model": model, "recipe": recipe, "seed": int(seed[4:])}
    spec = {"models": {model: 0}, "recipe": Recipe().model_dump(mode="json")}
    write_json(root / "job.json", {"experiment": names, "spec": spec, "code": {}})
    name = f"{dataset}/{model}/{recipe}/{seed}"
    plot_experiment.main([name, "--job", str(root / "job.json"), "--root", str(root)])
    return directory / "figures"


def compare(figure, directories, root, stopped=()):
    """Draw a figure that compares the experiments in `directories` through the script; return its path."""
    models = {directory.parts[-3]: index for index, directory in enumerate(directories)}
    spec = {"dataset": "cifar10-jpeg", "variant_of": "cifar10", "models": models}
    spec["experiments"] = [str(directory.relative_to(root)) for directory in directories]
    spec["stopped"] = [str(directory.relative_to(root)) for directory in stopped]
    write_json(root / "job.json", {"spec": spec, "code": {}})
    write_statistics(root, *directories)
    plot_comparison.main([f"cifar10-jpeg/comparison/{figure}", "--job", str(root / "job.json"), "--root", str(root)])
    return root / f"results/cifar10-jpeg/comparison/{figure}.png"


def test_plot_experiment_writes_each_figure_as_png_and_svg(experiment, tmp_path):
    folder = plot(experiment(), tmp_path)
    for figure in EXPERIMENT_FIGURES:
        assert (folder / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (folder / f"{figure}.svg").read_text()
        recorded = (folder / f".{figure}.sha256").read_text().splitlines()
        assert [line.split()[1] for line in recorded] == [f"{figure}.png", f"{figure}.svg"]


def test_the_title_of_a_confusion_matrix_gives_accuracy_and_interval(experiment, tmp_path, monkeypatch):
    saved, save = [], style.save
    for module in (experiment_files, comparison_files):
        monkeypatch.setattr(module, "save", lambda figure, *rest: [saved.append(figure), save(figure, *rest)])
    plot(experiment(accuracy=0.8), tmp_path)
    assert saved[-1].get_suptitle() == (
        "ResNet50 on digits, recipe quick, seed 0\ntest accuracy 80.00 % (95 % interval 75.56 to 83.81, 360 images)"
    )


@pytest.mark.parametrize("figure", COMPARISON_FIGURES)
def test_plot_comparison_writes_each_figure(experiment, tmp_path, figure):
    drawn = compare(figure, [experiment("cifar10-jpeg", "vgg16"), experiment("cifar10-jpeg", "resnet50")], tmp_path)
    assert drawn.read_bytes().startswith(b"\x89PNG")


def test_a_figure_knows_from_its_job_which_trials_were_stopped_early(experiment, tmp_path, monkeypatch):
    saved, save = [], style.save
    monkeypatch.setattr(comparison_files, "save", lambda figure, *rest: [saved.append(figure), save(figure, *rest)])
    trials = [experiment("cifar10-jpeg", recipe=f"quick,lr={rate}", lr=rate) for rate in (0.1, 0.2)]
    compare("accuracy_vs_value", trials, tmp_path)
    compare("accuracy_vs_value", trials, tmp_path, stopped=trials[:1])
    named = [[text.get_text() for text in figure.legends[0].get_texts()] for figure in saved]
    assert ["hollow: stopped early" in texts for texts in named] == [False, True]


def test_a_figure_of_damaged_metrics_is_not_drawn(experiment, tmp_path):
    directory = experiment()
    (directory / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match="damaged"):
        plot(directory, tmp_path)
    assert not list(tmp_path.rglob("confusion_matrix*"))


@pytest.mark.parametrize("script", ["plot_experiment", "plot_comparison", "report"])
def test_no_plot_or_report_script_loads_torch_or_computes_metrics(root, script):
    code = f"import {script}, sys; sys.exit(bool({{'torch', 'sklearn', 'scipy.stats'}} & sys.modules.keys()))"
    environment = os.environ | {"PYTHONPATH": str(root / "scripts")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


# -- the registry -----------------------------------------------------------------------------------------------------

DRAW = """
from matplotlib.figure import Figure

read = str


def read(file):
    return file.read_text()


def draw(*_):
    figure = Figure()
    figure.suptitle("a new figure")
    return figure
"""


@pytest.fixture
def new_module(tmp_path, monkeypatch):
    """The module of a figure called `new` next to the others."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/new.py").write_text(DRAW)
    monkeypatch.setattr(figures, "__path__", [*figures.__path__, str(tmp_path / "modules")])
    yield
    sys.modules.pop("deepnets.figures.new", None)


@pytest.mark.usefixtures("new_module")
def test_a_row_and_a_module_are_a_figure_of_an_experiment(experiment, tmp_path, monkeypatch):
    monkeypatch.setitem(EXPERIMENT_FIGURES, "new", ExperimentFigure("new", "New figure", "It is new.", "metrics.json"))
    folder = plot(experiment(), tmp_path)
    assert (folder / "new.png").read_bytes().startswith(b"\x89PNG")
    assert "a new figure" in (folder / "new.svg").read_text()


@pytest.mark.usefixtures("new_module")
def test_a_row_and_a_module_are_a_comparison_figure(experiment, tmp_path, monkeypatch):
    monkeypatch.setitem(COMPARISON_FIGURES, "new", ComparisonFigure("new", "New figure", "It is new."))
    drawn = compare("new", [experiment("cifar10-jpeg", "vgg16")], tmp_path)
    assert drawn.read_bytes().startswith(b"\x89PNG")


def test_a_comparison_figure_is_drawn_where_its_condition_is_met(monkeypatch):
    row = ComparisonFigure("new", "New figure", "It is new.", condition=lambda experiments: len(experiments) > 1)
    monkeypatch.setitem(COMPARISON_FIGURES, "new", row)
    for name in [name for name, figure in COMPARISON_FIGURES.items() if figure.condition and name != "new"]:
        monkeypatch.delitem(COMPARISON_FIGURES, name)
    always = ["accuracy", "accuracy_vs_time", "accuracy_vs_memory", "reliability", "risk_coverage", "examples"]
    assert [figure.name for figure in figures.comparison_figures(["one"], [])] == always
    assert [figure.name for figure in figures.comparison_figures(["one", "two"], [])] == [*always, "new"]


@pytest.mark.parametrize(
    ("stage", "names"),
    [("robustness", {"corruptions"}), ("latency", {"accuracy_vs_latency", "accuracy_vs_throughput"})],
)
def test_a_figure_of_an_optional_stage_is_drawn_in_studies_that_have_it(stage, names):
    spec = {"dataset": {}, "recipe": {"lr": 1}}
    two = [SimpleNamespace(model=model, recipe="quick", seed=0, spec=spec) for model in "ab"]
    without, with_it = ({figure.name for figure in figures.comparison_figures(two, have)} for have in ([], [stage]))
    assert with_it - without == names


def test_every_figure_has_a_module_and_a_caption_of_whole_sentences():
    for name, figure in {**EXPERIMENT_FIGURES, **COMPARISON_FIGURES}.items():
        assert callable(figures.load(name).draw)
        assert figure.name == name
        caption = figures.captions().get(name, figure.caption)
        assert caption.endswith(".")
        assert "  " not in caption
        assert not re.search(r"[a-z][.:,;][A-Za-z]", caption.replace("config.yaml", ""))
        assert "axis" in figure.caption or "rows" in figure.caption


def test_the_registry_does_not_load_matplotlib(root):
    code = "import deepnets.figures, sys; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(root / "scripts")}, check=True)
