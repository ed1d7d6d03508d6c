"""`make search`: rounds of trials that are ordinary experiments, continued from files; nothing is trained here."""

import json
import math
from pathlib import Path

import pytest
import yaml
from config_files import changed, load, refused, write

import search as search_script
from deepnets.config.loader import load_config
from deepnets.planning import search as searching
from deepnets.planning.jobs import Jobs
from deepnets.planning.search import SearchRun
from deepnets.planning.suggestions import Outcome
from deepnets.utils import paths
from deepnets.utils.command_line import TRY_AGAIN_LINE
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json, write_json
from deepnets.utils.logging import LOG

SEARCH = {
    "dataset": "digits",
    "model": "resnet50",
    "recipe": "quick",
    "values": {"lr": {"low": 0.001, "high": 1}},
    "trials": 6,
    "parallel": 2,
}
RATES = [0.001, 0.01, 0.1, 1, 0.003, 0.03]  # what the stand-in for Optuna suggests, in this order


def accuracy(spec: dict) -> float:
    """The made-up validation accuracy: best for a learning rate of 0.03, and better with more epochs."""
    return 0.9 - 0.1 * abs(math.log10(spec["recipe"]["lr"] / 0.03)) + 0.01 * spec["recipe"]["epochs"]


class Project:
    """A folder with config.yaml and results, and what trains there instead of Snakemake: it reads the study's file."""

    def __init__(self, folder: Path, **keys):
        self.folder, self.file = folder, write(folder, changed({"searches": {"rates": {**SEARCH, **keys}}}))
        self.calls: list[list[str]] = []
        self.diverging: set[float] = set()
        self.killed_after = 1_000_000  # trials

    def run(self) -> SearchRun:
        return SearchRun("rates", load_config(self.file), self.folder, self.train)

    def train(self, study: Path, targets: list[str]) -> None:
        self.calls.append(targets)
        experiments = load_config(self.file, yaml.safe_load(study.read_text())).experiments()
        of_file = {f"{each.directory}/metrics.json": each for each in experiments}
        for target in targets[: max(0, self.killed_after - len(self.trained()))]:
            spec = of_file[target].spec
            if spec["recipe"]["lr"] in self.diverging:
                log = self.folder / paths.log("train").format(**of_file[target].names)
                log.parent.mkdir(parents=True, exist_ok=True)
                log.write_text(f"error: the loss is not finite\n{TRY_AGAIN_LINE}\n")
            else:
                metrics = {"spec": spec, "validation": {"accuracy": accuracy(spec)}}
                write_json(self.folder / target, metrics)

    def trained(self) -> list[Path]:
        return list(self.folder.rglob("metrics.json"))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose search tries RATES: `project(trials=4)`."""

    def suggest(axes, outcomes, number, seed, fits):
        known = {outcome.values["lr"] for outcome in outcomes}
        return [{"lr": rate} for rate in RATES if rate not in known][:number]

    monkeypatch.setattr(searching, "suggest", suggest)
    return lambda **keys: Project(tmp_path, **keys)


# -- rounds ------------------------------------------------------------------------------------------------------------


def test_each_trial_is_an_experiment_with_its_values_in_its_path(project):
    made = project()
    trials = made.run().finish()
    assert [trial.values for trial in trials] == [{"lr": rate} for rate in RATES]
    assert made.calls == [
        [f"results/digits/resnet50/quick,lr={rate}/seed0/metrics.json" for rate in pair]
        for pair in (RATES[:2], RATES[2:4], RATES[4:])
    ]
    assert max(trials, key=lambda trial: trial.accuracy).values == {"lr": 0.03}
    record = read_json(made.folder / "results/search-rates.json")
    assert [each["state"] for each in record["trials"]] == ["done"] * 6


def test_a_search_that_was_killed_goes_the_same_way(project, tmp_path):
    made = project()
    made.killed_after = 3
    with pytest.raises(UserError, match=r"quick,lr=1/seed0: not finished"):
        made.run().finish()
    made.killed_after, before = 1_000_000, len(made.calls)
    trials = made.run().finish()
    assert [trial.values["lr"] for trial in trials] == RATES
    assert made.calls[before] == ["results/digits/resnet50/quick,lr=1/seed0/metrics.json"]  # nothing is trained twice


def test_finished_search_trains_nothing_and_a_larger_budget_trains_more(project):
    project(trials=4).run().finish()
    again = project(trials=4)
    assert len(again.run().finish()) == 4
    assert again.calls == []
    more = project(trials=6)
    assert [trial.values["lr"] for trial in more.run().finish()] == RATES
    assert len(more.calls) == 1


def test_trials_are_a_study_in_the_end(project):
    made = project()
    made.run().finish()
    config = load_config(made.file, yaml.safe_load((made.folder / "results/search-rates.yaml").read_text()))
    assert config.study == "rates"
    assert {each.recipe for each in config.experiments()} == {f"quick,lr={rate}" for rate in RATES}


def test_the_study_of_a_round_is_that_round_so_that_its_threads_are_those_of_any_other(project):
    made, sizes = project(), []
    run = made.run()
    train = run.run

    def count(study, targets):
        sizes.append(len(yaml.safe_load(study.read_text())["studies"]["rates"]))
        train(study, targets)

    run.run = count
    run.finish()
    assert sizes == [2, 2, 2]


def test_the_mean_over_seeds_counts(project):
    made = project(trials=2, seeds=[0, 1])
    trials = made.run().finish()
    assert [len(trial.runs.experiments) for trial in trials] == [2, 2]
    assert len(made.calls[0]) == 4


def test_metrics_of_many_classes_are_read_to_the_end(project, tmp_path):
    made = project(trials=1)
    (trial,) = made.run().finish()
    (file,) = made.trained()
    metrics = read_json(file)
    write_json(file, {"spec": metrics["spec"], "classes": ["c" * 100] * 20_000, "validation": metrics["validation"]})
    assert trial.runs.accuracy(tmp_path) == trial.accuracy


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text.partition(', "validation"')[0] + ', "vali', "not JSON"),
        (lambda text: text.replace("accuracy", "accurate"), "validation.accuracy: Field required"),
        (lambda text: text.replace('"accuracy": 0', '"accuracy": 7'), "validation.accuracy: Input should be less than"),
    ],
)
def test_damaged_metrics_are_one_line(project, damage, words):
    made = project(trials=1)
    made.run().finish()
    (file,) = made.trained()
    file.write_text(damage(json.dumps(read_json(file))))
    with pytest.raises(UserError, match=rf"metrics\.json: .*{words}"):
        made.run().finish()


# -- trials that stop early, and that fail -----------------------------------------------------------------------------


def test_a_trial_that_is_worse_than_the_median_stops_and_says_after_how_many_epochs(project, caplog):
    made = project(early_stopping=0.5)
    with caplog.at_level("INFO", LOG.name):
        trials = made.run().finish()
    assert [trial.state for trial in trials] == ["done", "done", "done", "stopped", "stopped", "done"]
    paths_of_first = {target.split("/")[3] for target in made.calls[0]}
    assert paths_of_first == {"quick,epochs=1,lr=0.001", "quick,epochs=1,lr=0.01"}
    assert "rates: trial 4 (lr 1): stopped after 1 of 2 epochs, validation 75.77%" in caplog.messages
    [stopped] = [each for each in read_json(made.folder / "results/search-rates.json")["trials"] if each["number"] == 4]
    assert (stopped["state"], stopped["epochs"]) == ("stopped", 1)
    assert stopped["experiments"] == ["results/digits/resnet50/quick,epochs=1,lr=1/seed0"]
    study = yaml.safe_load((made.folder / "results/search-rates.yaml").read_text())
    jobs = Jobs(load_config(made.file, study), paths.REPOSITORY, made.folder)
    for stage, names in (("report", {}), ("plot_comparison", {"dataset": "digits"})):
        assert jobs.settings(stage, names)["spec"]["stopped"] == [
            f"results/digits/resnet50/quick,epochs=1,lr={rate}/seed0" for rate in ("0.003", "1")
        ]
    assert not (made.folder / "results/digits/resnet50/quick,lr=1").exists()


def test_who_stopped_does_not_change_when_the_search_continues(project):
    states = [trial.state for trial in project(early_stopping=0.5).run().finish()]
    assert [trial.state for trial in project(early_stopping=0.5).run().finish()] == states


def test_a_trial_that_fails_is_named_and_not_tried_again(project, caplog):
    made = project()
    made.diverging = {0.1}
    trials = made.run().finish()
    assert [trial.state for trial in trials] == ["done", "done", "failed", "done", "done", "done"]
    assert any("the loss is not finite" in message for message in caplog.messages)
    calls = len(made.calls)
    assert [trial.state for trial in made.run().finish()][2] == "failed"
    assert len(made.calls) == calls


def test_a_search_of_which_nothing_can_be_trained_ends(project):
    made = project()
    made.diverging = set(RATES)
    with pytest.raises(UserError, match=r"searches\.rates: no trial can be trained, as in .*the loss is not finite"):
        made.run().finish()
    assert len(made.calls) == 2


def test_settings_that_changed_after_the_search_began_are_refused(project):
    project(trials=2).run().finish()
    with pytest.raises(UserError, match=r"search-rates\.json: of a search with other settings \(model was"):
        project(model="mobilenet_v2").run()


def test_a_recorded_trial_that_is_no_longer_possible_is_left_out_and_another_is_tried(project, caplog):
    made = project(trials=2)
    made.run().finish()
    record = made.folder / "results/search-rates.json"
    impossible = [{"augment.cutout": 28, "lr": 1.5}, {"accumulation": 3, "batch_size": 16}]
    write_json(record, {**read_json(record), "rounds": [impossible[:1], [{"lr": 0.001}, impossible[1]]]})
    trials = project(trials=3).run().finish()
    assert [trial.values for trial in trials] == [{"lr": rate} for rate in RATES[:3]]
    assert [message.partition("as long as it is not possible: ")[2][:50] for message in caplog.messages] == [
        "must be smaller than the images of digits (got 28 ",
        "accumulation 3 does not divide batch_size 16; choo",
    ]
    rounds = [impossible[:1], [{"lr": 0.001}, impossible[1]], [{"lr": 0.01}, {"lr": 0.1}]]
    assert read_json(record)["rounds"] == rounds
    write(made.folder, changed({"searches": {"rates": SEARCH}, "datasets/digits/size": 32}))
    assert [made.run().finish()[index].values for index in (0, 2)] == [impossible[0], {"lr": 0.01}]


def test_values_that_exclude_each_other_are_never_tried_together(tmp_path):
    pytest.importorskip("optuna")
    values = {"class_weights": ["none", "balanced"], "sampler": ["shuffled", "balanced"]}
    trials = Project(tmp_path, values=values, trials=9).run().finish()
    assert len(trials) == 3
    assert {"class_weights": "balanced", "sampler": "balanced"} not in [trial.values for trial in trials]


# -- config.yaml and the command ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"model": "resnet5"}, "searches.rates.model: unknown model (got 'resnet5'); did you mean 'resnet50'?"),
        ({"recipe": "slow"}, "searches.rates.recipe: unknown recipe (got 'slow'); valid: quick, long"),
        ({"values": {}}, "searches.rates: values has nothing to try; add an option"),
        (
            {"values": {"lr": {"low": 1, "high": 0.1}}},
            "searches.rates.values.lr: low must be below high (got 1 and 0.1)",
        ),
        ({"values": {"lr": {"low": 1, "high": 200}}}, "searches.rates: values: lr cannot be 200; choose low and high"),
        ({"values": {"optimizer": ["adamm"]}}, "searches.rates.values.optimizer[0]: must be 'sgd' or 'adamw'"),
        ({"values": {"lrr": [1]}}, "searches.rates.values.lrr: unknown key (got [1]); did you mean 'lr'?"),
        ({"trials": 0}, "searches.rates.trials: must be above 0 (got 0)"),
    ],
)
def test_a_mistake_in_a_search_is_one_line(tmp_path, keys, line):
    [found] = refused(tmp_path, {"searches": {"rates": {**SEARCH, **keys}}})
    assert found.startswith(f"config.yaml: {line}")


def test_a_search_that_leaves_out_a_fold_is_refused(tmp_path):
    folds = {"datasets/digits/folds": 2, "searches": {"rates": SEARCH}}
    [line] = refused(tmp_path, folds)
    assert line.startswith("config.yaml: searches.rates.seeds: must test each of the 2 folds of digits equally often")
    load(tmp_path, {**folds, "searches": {"rates": {**SEARCH, "seeds": [0, 1]}}})


def test_a_search_and_a_study_of_one_name_are_refused(tmp_path):
    config = load(tmp_path, {"searches": {"demo": SEARCH}})
    with pytest.raises(UserError, match=r"^config\.yaml: searches\.demo: a study has this name, too"):
        SearchRun("demo", config, tmp_path, lambda study, targets: None)


def test_what_is_tried_of_a_table_has_the_keys_of_its_options(tmp_path):
    values = {"augment": {"mixup": {"low": 0, "high": 1}, "cutout": [0, 2]}, "clip_norm": [None, 1], "epochs": [2, 4]}
    axes = load(tmp_path, {"searches": {"rates": {**SEARCH, "values": values}}}).searches["rates"].values.axes()
    assert list(axes) == ["augment.cutout", "augment.mixup", "clip_norm", "epochs"]
    assert (axes["augment.cutout"], axes["clip_norm"]) == ([0, 2], [None, 1])


def test_an_unknown_search_and_a_missing_package_are_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, changed({"searches": {"rates": SEARCH}}))
    with pytest.raises(UserError, match="unknown search 'rate'; did you mean 'rates'"):
        search_script.main(["rate"])
    with pytest.raises(UserError, match=r"^--config study=demo: the trials of a search are a study by themselves"):
        search_script.main(["rates", "--config", "equivalence_margin=0.01", "study=demo"])
    monkeypatch.setattr("deepnets.planning.suggestions.find_spec", lambda name: None)
    with pytest.raises(UserError, match="a search needs the package optuna: python -m pip install optuna"):
        search_script.main(["rates"])


@pytest.fixture
def command(tmp_path, project, monkeypatch):
    """Call the script for a search of two trials, which are trained at once; return what Snakemake gets besides."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("deepnets.planning.suggestions.find_spec", lambda name: True)

    def call(*arguments):
        made, others = project(trials=2), []

        def train(given):
            start = given.index("--configfile")
            others.append(given[start:])
            made.train(tmp_path / "results/search-rates.yaml", given[:start])

        monkeypatch.setattr(search_script, "_snakemake", train)
        if "birds.yaml" in arguments:
            sections = yaml.safe_load(made.file.read_text())
            (tmp_path / "birds.yaml").write_text(yaml.safe_dump({"searches": sections.pop("searches")}))
            write(tmp_path, sections)
        search_script.main(list(arguments))
        [given] = others
        return given

    return call


def test_other_options_go_to_snakemake_and_the_best_values_are_printed(command, caplog):
    with caplog.at_level("INFO", LOG.name):
        given = command("rates", "--profile", "profiles/slurm")
    assert given == ["--configfile", "results/search-rates.yaml", "--profile", "profiles/slurm"]
    assert "rates: the best is trial 2 (lr 0.01): validation 87.23%" in caplog.messages
    assert "digits/resnet50: {lr: 0.01}" in caplog.messages


def test_a_search_of_another_file_is_found_and_snakemake_reads_that_file_too(command, caplog):
    with caplog.at_level("INFO", LOG.name):
        given = command("rates", "--configfiles", "birds.yaml", "-C", "equivalence_margin=0.01", "--cores", "2")
    options = ["--configfile", "birds.yaml", "results/search-rates.yaml", "--config", "equivalence_margin=0.01"]
    assert given == [*options, "--cores", "2"]
    assert caplog.messages[-1].endswith(f"results/report.md {' '.join(options)}")
    with pytest.raises(UserError, match=r"^config\.yaml or birds\.yaml: searches: unknown search 'rate'"):
        search_script.main(["rate", "--configfile", "birds.yaml"])


# -- what Optuna suggests ----------------------------------------------------------------------------------------------


@pytest.fixture
def suggest():
    """Ask Optuna for values of an option: `suggest({"lr": ...}, outcomes, number=2)`."""
    pytest.importorskip("optuna")
    from deepnets.config.search import RecipeSpace
    from deepnets.planning.suggestions import suggest

    def ask(values, outcomes=(), number=4, seed=0):
        return suggest(RecipeSpace(**values).axes(), outcomes, number, seed, lambda values: True)

    return ask


def test_suggestions_lie_within_their_range_have_few_digits_and_are_never_repeated(suggest):
    values = {"lr": {"low": 0.00123, "high": 0.5}, "batch_size": {"low": 8, "high": 64}}
    found = suggest(values, number=30)
    assert all(0.00123 <= each["lr"] <= 0.5 and len(f"{each['lr']:g}".strip("0.")) <= 4 for each in found)
    assert all(isinstance(each["batch_size"], int) for each in found)
    assert sum(each["lr"] < 0.0249 for each in found) > 8  # the logarithms are spread evenly
    again = suggest(values, [Outcome(each, "done", 0.5) for each in found], number=30)
    assert not [each for each in again if each in found]


def test_the_same_trials_give_the_same_suggestions(suggest):
    outcomes = [Outcome({"lr": 0.01 * (number + 1)}, "done", 0.5 + 0.01 * number) for number in range(12)]
    values = {"lr": {"low": 0.001, "high": 1}}
    assert suggest(values, outcomes) == suggest(values, outcomes)
    assert suggest(values, outcomes, seed=1) != suggest(values, outcomes)


def test_suggestions_are_near_the_best_trials(suggest):
    rates = [10 ** (-3 + 3 * number / 19) for number in range(20)]
    outcomes = [Outcome({"lr": rate}, "done", 1 - abs(math.log10(rate / 0.03))) for rate in rates]
    found = suggest({"lr": {"low": 0.001, "high": 1}}, outcomes, number=8)
    assert sum(0.006 < each["lr"] < 0.15 for each in found) >= 6


def test_a_short_list_is_tried_once(suggest):
    found = suggest({"optimizer": ["sgd", "adamw"], "augment": [{}, {"mixup": 0.2}]}, number=10)
    assert len(found) == 4
    assert {"optimizer": "adamw", "augment": {"mixup": 0.2}} in found


def test_trials_that_stopped_or_whose_values_are_no_longer_tried_do_no_harm(suggest):
    outcomes = [Outcome({"lr": 0.5}, "stopped", 0.3), Outcome({"lr": 5}, "done", 0.9), Outcome({"a": 1}, "failed", 0.0)]
    assert len(suggest({"lr": {"low": 0.001, "high": 1}}, outcomes, number=3)) == 3
