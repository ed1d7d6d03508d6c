"""A user's mistake is reported before any job starts."""

import json
import re

import pytest


def refusal(run) -> list[str]:
    """Return the output of a run that must fail, without Snakemake's line on its profile."""
    assert run.returncode == 1, run.output
    assert "Traceback" not in run.output
    return [line for line in run.output.splitlines() if not line.startswith("Using workflow specific profile")]


def test_all_mistakes_of_a_configuration_are_named_a_line_each_and_nothing_else(edited_clone, dry_run):
    folder = edited_clone(
        ("study: demo", "study: dmo"),
        ("epochs: 10\n", "epochs: 0\n    epoch: 1\n"),
        ("seeds: [0]", "seeds: [0, 0]"),
    )
    lines = refusal(dry_run(folder))
    assert [re.match(r"config\.yaml: [\w.\[\]]+: ", line).group() for line in sorted(lines)] == [
        "config.yaml: recipes.quick.epoch: ",
        "config.yaml: recipes.quick.epochs: ",
        "config.yaml: studies.demo[0].seeds: ",
        "config.yaml: study: ",
    ]


def test_every_name_that_is_more_than_a_name_is_refused(edited_clone, dry_run):
    names = ["a;touch x", "$(touch x)", "<script>", "a|b", "../x", "a b", "a/b", "ünïcödé", "{seed}", "-x", ""]
    for section in ("datasets", "models", "recipes", "studies"):
        folder = edited_clone((f"\n{section}:", "".join([f"\n{section}:", *(f"\n  {name!r}: {{}}" for name in names)])))
    lines = refusal(dry_run(folder))
    for section in ("datasets", "models", "recipes", "studies"):
        refused = [line for line in lines if re.match(rf"config\.yaml: {section}.*: not a valid name", line)]
        assert len(refused) == len(names)
    assert not list(folder.rglob("x"))


@pytest.mark.parametrize("target", ["results/digits/a;touch x/quick/seed0/metrics.json", "data/$(touch x)/raw.json"])
def test_a_target_with_such_a_name_is_no_target(clone, dry_run, target):
    run = dry_run(clone, target)
    assert run.returncode == 1
    assert "Traceback" not in run.output
    assert not list(clone.rglob("x"))


@pytest.mark.parametrize(
    "target",
    [
        "results/digits/comparison/accurac.png",
        "results/digits/comparison-swep/accuracy.png",
        "results/digits/resnet50/quick/seed00/metrics.json",
        "results/digits/resnet50/quick,lr=$(touch x)/seed0/metrics.json",
        "results/digits/resnet50/quick,lr/seed0/metrics.json",
    ],
)
def test_a_target_that_is_almost_a_result_is_no_target(clone, dry_run, target):
    run = dry_run(clone, target)
    assert run.returncode == 1
    assert "MissingRuleException" in run.output


@pytest.mark.parametrize(
    ("recipe", "line"),
    [
        ("quick,lrr=0.03", "quick,lrr=0.03: lrr: unknown key (got 0.03); did you mean 'lr'?"),
        ("quick,lr=0", "quick,lr=0: lr: must be above 0 (got 0)"),
        ("quick,lr=0.030", "quick,lr=0.030: paths have quick,lr=0.03 for these values; write that"),
    ],
)
def test_a_target_with_a_wrong_value_is_refused_in_one_line(clone, dry_run, recipe, line):
    assert refusal(dry_run(clone, f"results/digits/resnet50/{recipe}/seed0/metrics.json"))[-1] == line


@pytest.mark.parametrize(
    ("dataset", "hint"),
    [
        (
            "mnist",
            "choose another study, --config study=paper|paper_jpeg|paper_hour|paper_hour_jpeg|record|budget",
        ),
        ("svhn", "add one to config.yaml"),
    ],
)
def test_a_comparison_of_nothing_is_refused_with_the_studies_that_have_one(clone, dry_run, dataset, hint):
    lines = refusal(dry_run(clone, f"results/{dataset}/comparison/accuracy.png"))
    assert lines[-1] == f"results/{dataset}/comparison: study demo has no experiment on {dataset}; {hint}"


def test_a_study_that_is_not_there_is_named_with_the_nearest(clone, dry_run):
    assert refusal(dry_run(clone, "--config", "study=papr")) == [
        "--config: study: unknown study (got 'papr'); did you mean 'paper'?"
    ]


def test_the_report_of_a_study_that_is_not_there_is_refused_with_the_nearest(clone, dry_run):
    line = "unknown study (got 'swep'); did you mean 'sweep'?"
    assert refusal(dry_run(clone, "results/report-swep.md"))[-1] == line


@pytest.mark.parametrize(("more", "place"), [([], "own.yaml"), (["--config", "study=paper"], "own.yaml or --config")])
def test_a_mistake_in_a_configfile_is_reported_with_its_name(own_clone, dry_run, more, place):
    (own_clone / "own.yaml").write_text("recipes: {quick: {lr: x}}")
    assert refusal(dry_run(own_clone, "--configfile", "own.yaml", *more)) == [
        f"{place}: recipes.quick.lr: must be a number (got 'x')"
    ]


def test_a_number_in_nested_config_is_read_as_a_number(clone, dry_run):
    [line] = refusal(dry_run(clone, "--config", "recipes={quick: {epochs: 0, lr: 1e-2, clip_norm: null}}"))
    assert line == "--config: recipes.quick.epochs: must be above 0 (got 0)"


def test_no_config_file_is_reported_in_one_line(own_clone, dry_run):
    (own_clone / "config.yaml").unlink()
    (line,) = refusal(dry_run(own_clone))
    assert "config.yaml: no such file" in line


def test_broken_yaml_is_reported_with_its_line(edited_clone, dry_run):
    folder = edited_clone(("models:\n", "models: [\n"))
    (line,) = refusal(dry_run(folder))
    assert re.match(r"config\.yaml: line \d+", line)


def test_code_that_is_not_python_is_reported_with_its_line(own_clone, dry_run):
    with open(own_clone / "scripts/deepnets/training/trainer.py", "a") as file:
        file.write("def broken(:\n")
    assert re.search(r"^.*trainer\.py:\d+: not valid Python", dry_run(own_clone).output, re.MULTILINE)


def test_a_mistake_in_a_network_of_the_user_is_one_line(own_clone, dry_run):
    (own_clone / "scripts/deepnets/models/my_net.py").write_text("from torchvison import models\n")
    (line,) = refusal(dry_run(own_clone))
    assert re.search(r"models/my_net\.py:1: ModuleNotFoundError: No module named 'torchvison'", line)


def test_an_experiment_that_no_study_lists_is_refused_like_those_that_one_lists(edited_clone, dry_run):
    folder = edited_clone(("name: KMNIST}", "name: KMNIST, size: 4}"))
    assert refusal(dry_run(folder, "results/kmnist/vgg16/quick/seed0/metrics.json"))[-1] == (
        "config.yaml: datasets.kmnist.size: images too small for vgg16 (got 4x4 pixels); set size to 8 or more"
    )


def with_birds(edited_clone, **changes: object):
    """Return a checkout whose study has a dataset of the user's own, with two classes in birds/."""
    birds = {"source": "folder", "path": "birds", "classes": 2, "size": 32} | changes
    folder = edited_clone(
        ("\ndatasets:\n", f"\ndatasets:\n  birds: {json.dumps(birds)}\n"),
        ("datasets: [digits]", "datasets: [digits, birds]"),
    )
    for name in ("train/owl", "train/wren", "test/owl", "test/wren"):
        (folder / "birds" / name).mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"path": "brids"}, r"config\.yaml: datasets\.birds\.path is 'brids', which does not exist \(searched: "),
        (
            {"path": "birds/train"},
            r"config\.yaml: datasets\.birds\.path: birds/train: no images found: it has owl, wren; expected",
        ),
        ({"classes": 3}, r"config\.yaml: datasets\.birds\.path: birds: 2 class folders, but `classes` is 3"),
    ],
)
def test_wrong_images_are_named_by_a_dry_run_and_by_make_why(edited_clone, dry_run, run_why, changes, problem):
    folder = with_birds(edited_clone, **changes)
    (line,) = refusal(dry_run(folder))
    assert re.match(problem, line)
    why = run_why(folder)
    assert why.returncode == 2
    assert re.match(f"error: {problem}", why.output)
    assert dry_run(folder, "data/digits/raw.json", "--config", "study=paper").returncode == 0


def test_right_images_are_planned(edited_clone, dry_run):
    assert "Download birds" in dry_run(with_birds(edited_clone)).jobs
