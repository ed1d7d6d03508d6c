"""What the studies of the repository's own config.yaml plan, and what stops before any job."""

import os
import re
import resource
from collections import Counter
from pathlib import Path

import pytest

from deepnets.config.loader import load_config
from deepnets.figures.comparison import FIGURES
from deepnets.utils.machine import usable_memory_mb

STATS = re.compile(r"^(\w+) +(\d+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def clone(checkout, tmp_path_factory):
    """A checkout in which nothing has run; dry runs leave nothing behind."""
    return checkout(tmp_path_factory.mktemp("clone"))


def counts(dry_run) -> dict[str, int]:
    """Number of jobs of each rule, as Snakemake's table has them."""
    return {rule: int(number) for rule, number in STATS.findall(dry_run.output)}


def of_stage(dry_run, verb: str) -> set[str]:
    return {job.removeprefix(f"{verb} ") for job in dry_run.jobs if job.startswith(f"{verb} ")}


def test_demo_plans_every_stage_of_four_experiments(clone, dry_run):
    assert counts(dry_run(clone)) == {
        **{"download": 1, "prepare": 1, "summarize": 4, "train": 4, "evaluate": 4},
        **{"plot_learning_curves": 4, "plot_confusion_matrix": 4, "plot_comparison": 3, "report": 1},
        **{"all": 1, "total": 27},
    }


def test_the_report_alone_plans_the_same_jobs_as_all(clone, dry_run):
    assert dry_run(clone, "results/report.md").jobs == dry_run(clone).jobs


def test_paper_plans_the_six_published_pairs(clone, dry_run):
    trainings = of_stage(dry_run(clone, "--config", "study=paper"), "Train")
    assert Counter(re.fullmatch(r"(\w+) on (\w+), recipe \w+, seed 0", name).groups() for name in trainings) == {
        **{(model, "mnist"): 1 for model in ("vgg16", "inception_v3", "resnet50", "mobilenet_v2")},
        **{(model, "cifar10"): 1 for model in ("resnet50", "mobilenet_v2")},
    }


def test_every_study_plans_a_training_for_each_of_its_experiments(root, clone, dry_run):
    config = load_config(root / "config.yaml")
    for study in config.studies:
        trainings = of_stage(dry_run(clone, "--config", f"study={study}"), "Train")
        assert trainings == {
            f"{e.model} on {e.dataset}, recipe {e.recipe}, seed {e.seed}" for e in config.experiments(study)
        }


def test_a_dry_run_gives_every_job_a_message_and_a_reason(clone, dry_run):
    output = dry_run(clone).output
    jobs = re.findall(r"^Job \d+: (.+)\nReason: (.+)$", output, re.MULTILINE)
    assert len(jobs) == 26  # all but `all`
    assert not re.search(r"^(local)?rule (?!all:)", output, re.MULTILINE)


@pytest.mark.parametrize(("arguments", "limit"), [((), usable_memory_mb()), (("--resources", "mem_mb=9999"), 9999)])
def test_jobs_side_by_side_share_the_memory_that_there_is(own_clone, snakemake, arguments, limit):
    assert f'"mem_mb", {limit})' in snakemake(own_clone, "data/digits/raw.json", *arguments).stdout


@pytest.mark.slow
def test_500_experiments_are_planned_in_15_seconds_of_the_processor(own_clone, snakemake):
    entry = f"{{datasets: [digits], models: [mobilenet_v2], recipe: paper, seeds: {list(range(500))}}}"
    edited(own_clone, ("\nstudies:\n", f"\nstudies:\n  many:\n    - {entry}\n"))
    before = processor_seconds()
    planned = snakemake(own_clone, "--dry-run", "--config", "study=many")
    assert dict(STATS.findall(planned.stdout))["train"] == "500", planned.stdout[-2000:]
    assert processor_seconds() - before < 15


def processor_seconds() -> float:
    """Of the processes that have ended; what others do on this machine is not in it."""
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
        # --jobs beside --cores is of this machine, but where local cores are another thing, as in a cluster's profile
        (2, ("--jobs", "8"), 1),
        (2, ("--jobs", "8", "--local-cores", "2"), 0),
    ],
)
def test_trainings_ask_for_a_gpu_each_where_there_are_any(
    clone, snakemake, fake_gpus, tmp_path, installed, arguments, asked
):
    environment, _uuids = fake_gpus(tmp_path, installed)
    target = "results/digits/resnet50/quick/seed0/history.csv"
    planned = snakemake(clone, "--dry-run", "--printshellcmds", target, *arguments, **environment)
    assert f"--gpus {asked} --processes 1" in planned.stdout


def test_a_training_on_a_gpu_books_no_memory_for_its_batch(own_clone, snakemake, fake_gpus, tmp_path):
    environment, _uuids = fake_gpus(tmp_path, 2)
    rules = own_clone / "workflow/rules/train.smk"
    rules.write_text(rules.read_text().replace('"Train {wildcards', '"Train in {resources.mem_mb} MB {wildcards', 1))
    target = "results/digits/mobilenet_v2/quick/seed0/history.csv"

    def booked(*gpus: str) -> int:
        planned = snakemake(own_clone, target, "--dry-run", "--resources", "mem_mb=99999", *gpus, **environment)
        return int(re.search(r"Train in (\d+) MB", planned.stdout)[1])

    assert booked("gpu=2") == booked() < booked("gpu=0")


def test_a_dry_run_needs_no_torch(clone, snakemake, tmp_path):
    for package in ("torch", "torchvision", "sklearn", "matplotlib"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(f"raise ImportError('{package} is not for parsing')")
    done = snakemake(clone, "--dry-run", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stdout


def test_any_experiment_can_be_asked_for_whether_or_not_a_study_lists_it(clone, dry_run):
    run = dry_run(clone, "results/svhn/resnet50/quick/seed7/metrics.json")
    assert of_stage(run, "Train") == {"resnet50 on svhn, recipe quick, seed 7"}


def test_an_experiment_that_no_study_lists_is_refused_like_those_that_one_lists(own_clone, dry_run):
    edited(own_clone, ("name: KMNIST}", "name: KMNIST, size: 4}"))
    assert refusal(dry_run(own_clone, "results/kmnist/vgg16/quick/seed0/metrics.json"))[-1] == (
        "config.yaml: datasets.kmnist.size: images too small for vgg16 (got 4x4 pixels); set size to 8 or more"
    )


def test_every_comparison_can_be_asked_for(clone, dry_run):
    for figure in FIGURES:
        run = dry_run(clone, f"results/digits/comparison/{figure}.png")
        assert f"Plot {figure} of the models on digits" in run.jobs


def test_the_workflow_runs_from_another_folder(clone, dry_run, tmp_path):
    run = dry_run(tmp_path, "--snakefile", str(clone / "Snakefile"))
    assert counts(run)["total"] == 27


# -- which job starts when, and with what ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("experiments", "cores", "usable_cores", "memory_gb", "threads"),
    [
        # one experiment has all cores, but no more than there are
        *[(1, 1, 12, 16, 1), (1, 4, 12, 16, 4), (1, 16, 12, 16, 12)],
        # several have a thread each, and more only of cores that would be idle
        *[(3, 2, 12, 16, 1), (3, 5, 12, 16, 1), (3, 6, 12, 16, 2), (3, 6, 4, 16, 1)],
        *[(6, 2, 12, 16, 1), (6, 6, 12, 16, 1), (6, 12, 12, 16, 2)],
        # for want of experiments, or of memory: each takes 1.6 GB
        *[(6, 6, 12, 4, 3), (6, 6, 12, 2, 6), (6, 6, 12, 1, 6)],
    ],
)
def test_equal_trainings_share_the_cores_and_the_memory(
    own_clone, dry_run, experiments, cores, usable_cores, memory_gb, threads
):
    own_study(
        own_clone, f"{{datasets: [digits], models: [resnet50], recipe: budget1, seeds: {list(range(experiments))}}}"
    )
    run = dry_run(own_clone, "--printshellcmds", cores=cores, usable_cores=usable_cores, memory_gb=memory_gb)
    assert threads_by_seed(run) == {str(seed): {threads} for seed in range(experiments)}


UNEQUAL = (
    "{datasets: [digits], models: [resnet50], recipe: budget1, seeds: [0], set: {epochs: 100}}",
    "{datasets: [digits], models: [resnet50], recipe: budget1, seeds: [1, 2, 3]}",
)


@pytest.mark.parametrize(("cores", "longest"), [(1, 1), (2, 2), (4, 4)])
def test_a_training_that_is_much_longer_than_the_others_has_more_threads(own_clone, dry_run, cores, longest):
    own_study(own_clone, *UNEQUAL)
    run = dry_run(own_clone, "--printshellcmds", cores=cores, usable_cores=12, memory_gb=16)
    assert threads_by_seed(run) == {"0": {longest}, "1": {1}, "2": {1}, "3": {1}}


def test_threads_are_those_of_the_whole_study_whatever_is_asked_for_and_there(own_clone, dry_run):
    """So that a rerun, or a part of the study, has the same bytes."""
    own_study(own_clone, *UNEQUAL)
    (own_clone / "data/digits").mkdir(parents=True)
    (own_clone / "data/digits/dataset.json").write_text('{"splits": {"train": 5}}')
    one = [f"results/digits/resnet50/budget1/seed{seed}/metrics.json" for seed in (0, 2)]
    run = dry_run(own_clone, "--printshellcmds", *one, cores=4, usable_cores=12, memory_gb=16)
    assert threads_by_seed(run) == {"0": {4}, "2": {1}}


@pytest.mark.parametrize(
    ("limit", "memory_gb", "threads"), [("mem_mb=2000", 16, 6), ("mem=2GB", 16, 6), ("mem_mb=99999", 2, 1)]
)
def test_the_memory_that_is_said_goes_before_that_of_the_machine(own_clone, dry_run, limit, memory_gb, threads):
    own_study(own_clone, "{datasets: [digits], models: [resnet50], recipe: budget1, seeds: [0, 1, 2, 3, 4, 5]}")
    arguments = ("--printshellcmds", "--resources", limit)
    run = dry_run(own_clone, *arguments, cores=6, usable_cores=12, memory_gb=memory_gb)
    assert set.union(*threads_by_seed(run).values()) == {threads}


def test_on_gpus_each_training_has_its_share_of_the_cores(own_clone, dry_run):
    own_study(own_clone, *UNEQUAL)
    run = dry_run(own_clone, "--printshellcmds", "--resources", "gpu=2", cores=9, usable_cores=12)
    assert set.union(*threads_by_seed(run).values()) == {2}


def test_an_experiment_that_the_study_does_not_list_has_all_cores(clone, dry_run):
    target = "results/svhn/resnet50/quick/seed7/metrics.json"
    assert threads_by_seed(dry_run(clone, "--printshellcmds", target, cores=5, usable_cores=12)) == {"7": {5}}


def test_threads_that_are_said_go_before_those_that_are_chosen(own_clone, dry_run):
    own_study(own_clone, *UNEQUAL)
    said = ("--set-threads", "train=3", "evaluate=3")
    run = dry_run(own_clone, "--printshellcmds", *said, cores=4, usable_cores=12)
    assert set.union(*threads_by_seed(run).values()) == {3}


def own_study(folder: Path, *entries: str) -> None:
    """Make a study of these entries the one that is about to run."""
    edited(folder, ("study: demo", "study: own"), ("\nstudies:\n", f"\nstudies:\n  own: [{', '.join(entries)}]\n"))


def threads_by_seed(run) -> dict[str, set[int]]:
    """Threads of training and evaluation, by the experiment's seed."""
    found: dict[str, set[int]] = {}
    for seed, threads in re.findall(r"scripts/(?:train|evaluate)\.py .*/seed(\d+) .*--threads (\d+)", run.output):
        found.setdefault(seed, set()).add(int(threads))
    return found


@pytest.mark.parametrize(
    ("cores", "usable_cores", "arguments", "processes"),
    [(1, 12, (), 1), (4, 12, (), 4), (16, 3, (), 3), (16, 12, (), 8), (16, 12, ("--set-threads", "prepare=12"), 12)],
)
def test_image_files_are_decoded_by_a_process_for_each_core(clone, dry_run, cores, usable_cores, arguments, processes):
    arguments = [*arguments, "--printshellcmds", "--config", "study=paper_jpeg"]
    run = dry_run(clone, *arguments, cores=cores, usable_cores=usable_cores)
    commands = re.findall(r"scripts/prepare\.py --dataset (\S+) .* --processes (\d+)", run.output)
    assert dict(commands) == {"mnist": "1", "cifar10-jpeg": str(processes)}


FAKE_PYTHON = """#!/bin/sh
# Stands for Python in the jobs: notes the script and its output, and makes the files that its rule promises.
script=$(basename "$1" .py)
until [ "$1" = --output ] || [ "$1" = --json ]; do shift; done
echo "$script $2" >> starts
case $script in
    download) touch "$2";;
    prepare) touch "$2"; cd "${2%/*}"; touch train_images.npy train_labels.npy test_images.npy test_labels.npy;;
    summarize) touch "$2" "${2%json}txt";;
    train) cd "$2"; touch model.safetensors history.csv timing.json;;
    evaluate) cd "$2"; touch metrics.json predictions.safetensors;;
esac
"""


@pytest.fixture(scope="module")
def starts(root, checkout, snakemake, tmp_path_factory):
    """Script and output of each job up to the evaluations of the study paper, as they start on one core."""
    folder = checkout(tmp_path_factory.mktemp("starts") / "clone")
    fake = folder / "bin/python"
    fake.parent.mkdir()
    fake.write_text(FAKE_PYTHON)
    fake.chmod(0o755)
    experiments = load_config(root / "config.yaml").experiments("paper")
    path = f"{fake.parent}{os.pathsep}{os.environ['PATH']}"
    # One core, so that the order is the priorities' alone, whatever takes how long; memory for each job.
    arguments = ["--resources", "mem_mb=999999", "--config", "study=paper"]
    done = snakemake(folder, *(f"{each.directory}/metrics.json" for each in experiments), *arguments, PATH=path)
    assert done.returncode == 0, done.stdout
    return [tuple(line.split()) for line in (folder / "starts").read_text().splitlines()]


def test_what_needs_no_training_comes_before_the_first(starts):
    assert Counter(script for script, _ in starts[:-12]) == {"download": 2, "prepare": 2, "summarize": 6}


def test_each_training_is_evaluated_before_the_next(starts):
    assert [script for script, _ in starts[-12:]] == ["train", "evaluate"] * 6
    assert [output for _, output in starts[-12::2]] == [output for _, output in starts[-11::2]]


def test_the_longest_trainings_start_first(starts):
    trained = [output.removeprefix("results/").removesuffix("/paper/seed0") for _, output in starts[-12::2]]
    cifar10 = ["cifar10/resnet50", "cifar10/mobilenet_v2"]
    assert trained == [*cifar10, "mnist/inception_v3", "mnist/resnet50", "mnist/vgg16", "mnist/mobilenet_v2"]


# -- what stops before any job -----------------------------------------------------------------------------------------


def edited(folder: Path, *changes: tuple[str, str]) -> Path:
    text = (folder / "config.yaml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (folder / "config.yaml").write_text(text)
    return folder


@pytest.fixture
def own_clone(checkout, tmp_path):
    return checkout(tmp_path / "clone")


def refusal(run) -> list[str]:
    """What a run that must fail says, without Snakemake's line on its profile."""
    assert run.returncode == 1, run.output
    assert "Traceback" not in run.output
    return [line for line in run.output.splitlines() if not line.startswith("Using workflow specific profile")]


def test_all_mistakes_of_a_configuration_are_named_a_line_each_and_nothing_else(own_clone, dry_run):
    edited(
        own_clone,
        ("study: demo", "study: dmo"),
        ("epochs: 10,", "epochs: 0, epoch: 1,"),
        ("seeds: [0]", "seeds: [0, 0]"),
    )
    lines = refusal(dry_run(own_clone))
    assert [re.match(r"config\.yaml: [\w.\[\]]+: ", line).group() for line in sorted(lines)] == [
        "config.yaml: recipes.quick.epoch: ",
        "config.yaml: recipes.quick.epochs: ",
        "config.yaml: studies.demo[0].seeds: ",
        "config.yaml: study: ",
    ]


def test_every_name_that_is_more_than_a_name_is_refused(own_clone, dry_run):
    names = ["a;touch x", "$(touch x)", "<script>", "a|b", "../x", "a b", "a/b", "ünïcödé", "{seed}", "-x", ""]
    for section in ("datasets", "models", "recipes", "studies"):
        edited(own_clone, (f"\n{section}:", "".join([f"\n{section}:", *(f"\n  {name!r}: {{}}" for name in names)])))
    lines = refusal(dry_run(own_clone))
    for section in ("datasets", "models", "recipes", "studies"):
        refused = [line for line in lines if re.match(rf"config\.yaml: {section}.*: not a valid name", line)]
        assert len(refused) == len(names)
    assert not list(own_clone.rglob("x"))


@pytest.mark.parametrize("target", ["results/digits/a;touch x/quick/seed0/metrics.json", "data/$(touch x)/raw.json"])
def test_a_target_with_such_a_name_is_no_target(clone, dry_run, target):
    run = dry_run(clone, target)
    assert run.returncode == 1
    assert "Traceback" not in run.output
    assert not list(clone.rglob("x"))


@pytest.mark.parametrize(
    "target", ["results/digits/comparison/accurac.png", "results/digits/resnet50/quick/seed00/metrics.json"]
)
def test_a_target_that_is_almost_a_result_is_no_target(clone, dry_run, target):
    run = dry_run(clone, target)
    assert run.returncode == 1
    assert "MissingRuleException" in run.output


@pytest.mark.parametrize(
    ("dataset", "way_out"),
    [
        ("mnist", "ask for another study, --config study=paper|paper_jpeg|record|budget_small|budget"),
        ("svhn", "add one to config.yaml"),
    ],
)
def test_a_comparison_of_nothing_is_refused_with_the_studies_that_have_one(clone, dry_run, dataset, way_out):
    lines = refusal(dry_run(clone, f"results/{dataset}/comparison/accuracy.png"))
    assert lines[-1] == f"results/{dataset}/comparison: study demo has no experiment on {dataset}; {way_out}"


def test_a_study_that_is_not_there_is_named_with_the_nearest(clone, dry_run):
    assert refusal(dry_run(clone, "--config", "study=papr")) == [
        "--config: study: unknown study (got 'papr'); did you mean 'paper'?"
    ]


@pytest.mark.parametrize(("more", "place"), [([], "own.yaml"), (["--config", "study=paper"], "own.yaml or --config")])
def test_a_mistake_in_a_configfile_is_said_with_its_name(own_clone, dry_run, more, place):
    (own_clone / "own.yaml").write_text("recipes: {quick: {lr: x}}")
    assert refusal(dry_run(own_clone, "--configfile", "own.yaml", *more)) == [
        f"{place}: recipes.quick.lr: must be a number (got 'x')"
    ]


def test_no_config_file_is_said_in_one_line(own_clone, dry_run):
    (own_clone / "config.yaml").unlink()
    (line,) = refusal(dry_run(own_clone))
    assert "config.yaml: no such file" in line


def test_broken_yaml_is_said_with_its_line(own_clone, dry_run):
    edited(own_clone, ("models:\n", "models: [\n"))
    (line,) = refusal(dry_run(own_clone))
    assert re.match(r"config\.yaml: line \d+", line)


def test_code_that_is_not_python_is_said_with_its_line(own_clone, dry_run):
    with open(own_clone / "scripts/deepnets/training/trainer.py", "a") as file:
        file.write("def broken(:\n")
    assert re.search(r"^.*engine\.py:\d+: not valid Python", dry_run(own_clone).output, re.MULTILINE)


def test_a_mistake_in_a_network_of_ones_own_is_one_line(own_clone, dry_run):
    (own_clone / "scripts/deepnets/models/my_net.py").write_text("from torchvison import models\n")
    (line,) = refusal(dry_run(own_clone))
    assert re.search(r"models/my_net\.py:1: ModuleNotFoundError: No module named 'torchvison'; mend it", line)
