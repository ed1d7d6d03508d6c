"""The jobs that the studies of the repository's config.yaml plan."""

import importlib.util
import re
import resource
from collections import Counter
from pathlib import Path

import pytest

from deepnets.config.loader import load_config
from deepnets.figures import COMPARISON_FIGURES
from deepnets.utils.machine import usable_memory_mb

STATS = re.compile(r"^(\w+) +(\d+)$", re.MULTILINE)


def counts(dry_run) -> dict[str, int]:
    """Return the number of jobs of each rule from Snakemake's table."""
    return {rule: int(number) for rule, number in STATS.findall(dry_run.output)}


def of_stage(dry_run, verb: str) -> set[str]:
    return {job.removeprefix(f"{verb} ") for job in dry_run.jobs if job.startswith(f"{verb} ")}


def test_demo_plans_every_stage_of_four_experiments(clone, dry_run):
    assert counts(dry_run(clone)) == {
        **{"download": 1, "prepare": 1, "summarize": 4, "train": 4, "evaluate": 4},
        **{"plot_experiment": 4, "compare": 1, "plot_comparison": 11, "audit": 1, "report": 1},
        **{"all": 1, "total": 33},
    }


def test_the_report_alone_plans_the_same_jobs_as_all(clone, dry_run):
    assert dry_run(clone, "results/report.md").jobs == dry_run(clone).jobs


def test_no_training_run_waits_for_the_audit(clone, dry_run):
    planned = dry_run(clone, "results/digits/vgg16/quick/seed0/metrics.json").jobs
    assert "Prepare the arrays of digits" in planned
    assert "Look at the images of digits" not in planned


def test_the_report_of_any_study_is_a_target_by_its_name(clone, dry_run):
    chosen = dry_run(clone, "--config", "study=sweep").jobs
    own = [job for job in chosen if job.startswith(("Compare ", "Plot ")) and "of the models" in job]
    own += ["Compare the models on digits", "Write the report of the study"]
    expected = chosen.difference(own).union(f"{job} (sweep)" for job in own)
    for target in ("report-sweep.md", "report-sweep.html", "metrics-sweep.csv", "environment-sweep.json"):
        assert dry_run(clone, f"results/{target}").jobs == expected
    assert dry_run(clone, "results/report-sweep.md", "--config", "study=sweep").jobs == expected


def test_paper_plans_the_six_published_pairs(clone, dry_run):
    trained = of_stage(dry_run(clone, "--config", "study=paper"), "Train")
    assert Counter(re.fullmatch(r"(\w+) on (\w+), recipe \w+, seed 0", name).groups() for name in trained) == {
        **{(model, "mnist"): 1 for model in ("vgg16", "inception_v3", "resnet50", "mobilenet_v2")},
        **{(model, "cifar10"): 1 for model in ("resnet50", "mobilenet_v2")},
    }


def test_every_study_plans_a_training_run_for_each_of_its_experiments(root, clone, dry_run, archives):
    config = load_config(root / "config.yaml")
    for study in config.studies:
        trained = of_stage(dry_run(clone, "--config", f"study={study}", DEEPNETS_MIRROR=archives), "Train")
        assert trained == {
            f"{e.model} on {e.dataset}, recipe {e.recipe}, seed {e.seed}" for e in config.experiments(study)
        }


def test_a_dry_run_gives_every_job_a_message_and_a_reason(clone, dry_run):
    output = dry_run(clone).output
    jobs = re.findall(r"^Job \d+: (.+)\nReason: (.+)$", output, re.MULTILINE)
    assert len(jobs) == 33
    assert max(len(reason) for _, reason in jobs) < 250  # the report's would name every file of the study
    assert not re.search(r"^(local)?rule ", output, re.MULTILINE)


@pytest.mark.parametrize(("arguments", "limit"), [((), usable_memory_mb()), (("--resources", "mem_mb=9999"), 9999)])
def test_jobs_side_by_side_share_the_memory_that_there_is(own_clone, snakemake, arguments, limit):
    assert f'"mem_mb", {limit})' in snakemake(own_clone, "data/digits/raw.json", *arguments).stdout


@pytest.mark.slow
def test_500_experiments_are_planned_in_seconds(edited_clone, snakemake):
    name = "a-network-with-the-longest-name-that-the-configuration-may-have_"
    entry = f"{{datasets: [digits], models: [{name}], recipe: paper, seeds: {list(range(500))}}}"
    folder = edited_clone(
        ("\nmodels:\n", f"\nmodels:\n  {name}: {{architecture: mobilenet_v2}}\n"),
        ("\nstudies:\n", f"\nstudies:\n  many:\n    - {entry}\n"),
    )
    before = processor_seconds()
    planned = snakemake(folder, "--dry-run", "--printshellcmds", "--config", "study=many")
    assert dict(STATS.findall(planned.stdout))["train"] == "500", planned.stdout[-2000:]
    assert processor_seconds() - before < 45  # 8 to 17 on shared machines: a cost that squares takes minutes
    lines = [line for line in planned.stdout.splitlines() if "/scripts/" in line]
    assert len(lines) > 1500
    assert max(map(len, lines)) < 1000  # however many experiments a report or a comparison has
    assert '"code"' not in planned.stdout  # no digests of code


def processor_seconds() -> float:
    """Return the CPU time of the processes that have ended; other work on this machine does not count."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize(
    ("installed", "arguments", "asked"),
    [
        (0, (), 0),
        (2, (), 1),
        (0, ("--resources", "gpu=2"), 1),
        (2, ("--resources", "gpu=0"), 0),
        (4, ("--set-resources", "train:gpu=4"), 4),
        (2, ("--set-resources", "train:gpu=4"), 2),  # as many as there are
        # --jobs with --cores counts jobs of this machine; with --local-cores, as in a cluster's profile, it does not
        (2, ("--jobs", "8"), 1),
        (2, ("--jobs", "8", "--local-cores", "2"), 0),
    ],
)
def test_training_runs_ask_for_a_gpu_each_where_there_are_any(
    clone, dry_run, fake_gpus, tmp_path, installed, arguments, asked
):
    environment, _uuids = fake_gpus(tmp_path, installed)
    target = "results/digits/resnet50/quick/seed0/history.csv"
    planned = dry_run(clone, "--printshellcmds", target, *arguments, **environment)
    assert f"--gpus {asked} --processes 1" in planned.output


def test_training_runs_write_event_files_where_config_yaml_asks_for_them(own_clone, dry_run):
    (own_clone / "scripts/tensorboard.py").touch()  # stands in for the package
    target = "results/digits/resnet50/quick/seed0/history.csv"
    assert "--tensorboard" not in dry_run(own_clone, "--printshellcmds", target).output
    planned = dry_run(own_clone, "--printshellcmds", target, "--config", "tensorboard=true")
    assert " --processes 1 --tensorboard --log " in planned.output


def test_a_training_run_on_a_gpu_books_no_memory_for_its_batch(own_clone, dry_run, fake_gpus, tmp_path):
    environment, _uuids = fake_gpus(tmp_path, 2)
    rules = own_clone / "workflow/rules/train.smk"
    rules.write_text(rules.read_text().replace('"Train {wildcards', '"Train in {resources.mem_mb} MB {wildcards', 1))
    target = "results/digits/mobilenet_v2/quick/seed0/history.csv"

    def booked(*gpus: str) -> int:
        planned = dry_run(own_clone, target, "--resources", "mem_mb=99999", *gpus, **environment)
        return int(re.search(r"Train in (\d+) MB", planned.output)[1])

    assert booked("gpu=2") == booked() < booked("gpu=0")


def test_a_dry_run_needs_no_torch(clone, snakemake, tmp_path):
    for package in ("torch", "torchvision", "sklearn", "matplotlib"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(f"raise ImportError('{package} is not for parsing')")
    [real] = importlib.util.find_spec("torchvision").submodule_search_locations
    (tmp_path / "torchvision/models").symlink_to(Path(real, "models"))  # its source text has the networks' names
    done = snakemake(clone, "--dry-run", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stdout


def test_any_experiment_can_be_asked_for_whether_or_not_a_study_lists_it(clone, dry_run):
    run = dry_run(clone, "results/svhn/resnet50/quick/seed7/metrics.json")
    assert of_stage(run, "Train") == {"resnet50 on svhn, recipe quick, seed 7"}


def test_an_experiment_with_other_values_can_be_asked_for_by_its_path(clone, dry_run):
    recipe = "quick,augment.crop_padding=2,lr=0.03"
    run = dry_run(clone, f"results/digits/mobilenet_v2/{recipe}/seed0/metrics.json")
    assert of_stage(run, "Train") == {f"mobilenet_v2 on digits, recipe {recipe}, seed 0"}


def test_a_node_of_a_cluster_runs_the_job_with_all_values(clone, dry_run):
    """Snakemake splits at each comma what it is asked for there."""
    target = 'train:dataset=digits,model=mobilenet_v2,recipe="quick,augment.crop_padding=2,lr=0.03",seed=0'
    for option in (target, target.replace('"', "")):  # SLURM's shell takes the quotes away
        run = dry_run(clone, "--target-jobs", option)
        assert "Train mobilenet_v2 on digits, recipe quick,augment.crop_padding=2,lr=0.03, seed 0" in run.jobs


def test_a_sweep_trains_each_value_with_each_seed_in_its_own_folder(clone, dry_run):
    run = dry_run(clone, "--config", "study=sweep")
    assert of_stage(run, "Train") == {
        f"mobilenet_v2 on digits, recipe {recipe}, seed {seed}"
        for recipe in ("quick", "quick,lr=0.02", "quick,lr=0.1")
        for seed in range(3)
    }


def test_every_comparison_can_be_asked_for(clone, dry_run):
    for figure in COMPARISON_FIGURES:
        run = dry_run(clone, f"results/digits/comparison/{figure}.png")
        assert f"Plot {figure} of the models on digits" in run.jobs


def test_the_workflow_runs_from_another_folder(clone, dry_run, tmp_path):
    run = dry_run(tmp_path, "--snakefile", str(clone / "Snakefile"))
    assert counts(run)["total"] == 33
