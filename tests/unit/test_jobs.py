"""The jobs of a study, and the files that they read and write."""

import json

import pytest
from config_files import with_stages

from deepnets.config.loader import load_config
from deepnets.planning.jobs import Jobs
from deepnets.utils import paths
from deepnets.utils.errors import UserError

EXPERIMENT = {"dataset": "digits", "model": "resnet50", "recipe": "quick", "seed": "0"}


@pytest.fixture(scope="module")
def jobs(root, tmp_path_factory):
    return Jobs(load_config(root / "config.yaml"), root, tmp_path_factory.mktemp("nothing_built"))


def test_files_of_the_study_are_those_of_its_experiments_in_their_order(jobs):
    networks = ("vgg16", "inception_v3", "resnet50", "mobilenet_v2")
    expected = [f"results/digits/{network}/quick/seed0/metrics.json" for network in networks]
    pattern = "results/{dataset}/{model}/{recipe}/seed{seed}/metrics.json"
    assert jobs.study_files(pattern) == jobs.study_files(pattern, dataset="digits") == expected
    assert jobs.study_files(pattern, dataset="mnist") == []


def test_a_figure_depends_on_the_architecture_where_the_model_has_the_name_of_another_network(root):
    jobs = Jobs(load_config(root / "config.yaml", {"models": {"convnext": {"architecture": "resnet50"}}}), root)
    names = ("resnet50", "convnext")
    specs = [jobs.settings("plot_experiment", EXPERIMENT | {"model": name})["spec"] for name in names]
    assert [spec.get("architecture") for spec in specs] == [None, "resnet50"]
    assert specs[1]["style"]["convnext"].startswith("convnext ")


def test_every_experiment_has_every_figure(jobs):
    figures = jobs.experiment_figures()
    assert len(figures) == 8
    assert figures[1] == "results/digits/vgg16/quick/seed0/figures/confusion_matrix.png"


def test_results_of_the_study_are_all_outputs_below_results(jobs):
    files = jobs.result_files()
    assert len(files) == len(set(files))
    assert set(jobs.comparison_files()) | {"results/report.md", "results/digits/vgg16/summary.txt"} < set(files)
    assert all(path.startswith("results/") for path in files)


def test_the_report_of_a_study_by_its_name_has_comparisons_of_its_own(jobs):
    outputs = {path for job in jobs.of_study("-sweep") for path in job.outputs}
    assert {"results/report-sweep.md", "results/environment-sweep.json"} < outputs
    assert {path for path in outputs if "/comparison" in path} == {
        "results/digits/comparison-sweep/statistics.json",
        *jobs.comparison_files("-sweep"),
    }
    settings = jobs.settings("report", {"suffix": "-sweep"})["spec"]
    assert (settings["study"], len(settings["experiments"])) == ("sweep", 9)
    assert outputs.isdisjoint(
        path for job in jobs.of_study() for path in job.outputs if job.stage in ("compare", "report")
    )


def test_the_optional_stages_are_those_of_the_study_that_a_report_is_about(root):
    jobs = Jobs(load_config(root / "config.yaml", with_stages(root, "sweep", "robustness")), root)
    assert jobs.optional_files() == []
    files = jobs.study_files("results/{dataset}/{model}/{recipe}/seed{seed}/robustness.json", suffix="-sweep")
    assert jobs.optional_files(suffix="-sweep") == files
    assert files == [job.outputs[0] for job in jobs.of_study("-sweep") if job.stage == "robustness"]
    assert "results/digits/comparison-sweep/corruptions.png" in jobs.comparison_files("-sweep")
    optional = [jobs.settings("report", {"suffix": suffix})["spec"]["optional"] for suffix in ("", "-sweep")]
    assert optional == [[], ["robustness"]]


def test_stages_come_in_the_order_of_the_work(jobs):
    stages = list(dict.fromkeys(job.stage for job in jobs.of_study()))
    first, last = ["download", "prepare", "summarize", "train", "evaluate"], "report"
    assert stages == [*first, "compare", "plot_experiment", "plot_comparison", "audit", last]


def test_fingerprint_of_training_holds_settings_and_code_and_nothing_of_the_machine(jobs):
    fingerprint = json.loads(jobs.fingerprint("train", EXPERIMENT))
    assert fingerprint.keys() == {"code", "experiment", "spec"}
    assert fingerprint["spec"].keys() == {"dataset", "model", "recipe", "seed"}
    assert "scripts/deepnets/models/resnet50.py" in fingerprint["code"]
    assert "scripts/deepnets/models/vgg16.py" not in fingerprint["code"]


def test_mirror_averaging_concerns_the_evaluation_alone_and_only_where_images_may_be_mirrored(root):
    def fingerprints(option: str) -> dict[str, str]:
        overrides = {"study": "paper", "recipes": {"paper": {"test_time_augmentation": option}}}
        jobs = Jobs(load_config(root / "config.yaml", overrides), root)
        return {job.outputs[0]: jobs.fingerprint(job.stage, job.wildcards) for job in jobs.of_study()}

    plain, mirror = fingerprints("none"), fingerprints("mirror")
    assert [path for path, fingerprint in plain.items() if mirror[path] != fingerprint] == [
        "results/cifar10/resnet50/paper/seed0/metrics.json",
        "results/cifar10/mobilenet_v2/paper/seed0/metrics.json",
    ]


def test_how_duplicates_are_counted_concerns_the_audit_alone(jobs):
    for job in jobs.of_study():
        code = json.loads(jobs.fingerprint(job.stage, job.wildcards))["code"]
        assert ("scripts/deepnets/data/duplicates.py" in code) == (job.stage == "audit"), job.stage


def test_audit_is_a_result_as_long_as_its_arrays_are_there(root, jobs, tmp_path):
    study = Jobs(jobs.config, root, tmp_path)
    audit, sheet = "data/digits/audit.json", "results/digits/images/samples.png"
    (job,) = [job for job in study.of_study() if job.stage == "audit"]
    assert job.required_outputs(tmp_path) == [sheet]
    assert not {audit} & set(study.result_files())
    for path in paths.OUTPUTS["prepare"]:
        file = tmp_path / path.format(dataset="digits")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert job.required_outputs(tmp_path) == [sheet, audit]
    assert {audit, sheet} < set(study.result_files())
    file.unlink()
    assert job.required_outputs(tmp_path) == [sheet]


def test_fingerprints_are_the_same_wherever_results_are(root, jobs, tmp_path):
    elsewhere = Jobs(jobs.config, root, tmp_path)
    for job in jobs.of_study():
        assert elsewhere.fingerprint(job.stage, job.wildcards) == jobs.fingerprint(job.stage, job.wildcards)


@pytest.mark.parametrize(
    ("stage", "wildcards", "message"),
    [
        ("prepare", {"dataset": "digit"}, "unknown dataset 'digit'; did you mean 'digits'?"),
        ("summarize", {"dataset": "digits", "model": "resnet5"}, "unknown model 'resnet5'"),
        ("train", EXPERIMENT | {"recipe": "quik"}, "unknown recipe"),
        *(
            ("train", EXPERIMENT | {"seed": seed}, "seed must be a whole number")
            for seed in ("x", "00", "01", "\u0663", "1_0", "-1", "9" * 5000)
        ),
        ("plot_comparison", {"dataset": "digits", "figure": "curves"}, "unknown figure 'curves'"),
        ("plot_comparison", {"dataset": "svhn", "figure": "accuracy"}, "no experiment on svhn; add one to config.yaml"),
        ("compare", {"dataset": "svhn"}, "no experiment on svhn; add one to config.yaml"),
        (
            "compare",
            {"dataset": "mnist", "suffix": "-demo"},
            "comparison-demo: study demo has .*; choose another study, paper",
        ),
        ("report", {"suffix": "-dem"}, "unknown study"),
    ],
)
def test_unknown_name_is_refused_with_what_to_do(jobs, stage, wildcards, message):
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        jobs.fingerprint(stage, wildcards)
