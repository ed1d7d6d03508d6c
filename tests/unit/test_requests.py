"""The memory, time, threads and priority that jobs ask Snakemake for."""

import json

import pytest

from deepnets.config.loader import load_config
from deepnets.planning.jobs import Jobs
from deepnets.planning.requests import CLUSTER_THREADS, DAY, Requests, scale_by_attempt

VGG = {"dataset": "mnist", "model": "vgg16", "recipe": "paper", "seed": "0"}
MOBILENET = VGG | {"model": "mobilenet_v2"}


@pytest.fixture
def requests(root, tmp_path):
    """Requests of a study of config.yaml: `requests(cores=2, study="paper", on_cluster=False, on_gpu=False)`."""

    def make(cores: int = 2, study: str = "paper", on_cluster: bool = False, on_gpu: bool = False) -> Requests:
        config = load_config(root / "config.yaml", {"study": study})
        return Requests(Jobs(config, root, tmp_path), cores, on_cluster, on_gpu)

    return make


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (6, 1), (11, 1), (12, 2), (64, 10)])
def test_threads_are_the_cores_divided_by_the_study_s_training_runs(requests, cores, threads):
    assert requests(cores).train_threads(VGG) == threads  # the study has six


def test_every_training_run_of_a_study_has_the_same_threads_listed_or_not(requests):
    unlisted = VGG | {"seed": "7"}
    assert {requests(24).train_threads(names) for names in (VGG, MOBILENET, unlisted)} == {4}


def test_threads_on_a_cluster_do_not_depend_on_the_login_node(requests):
    assert {requests(cores, on_cluster=True).train_threads(VGG) for cores in (1, 64)} == {CLUSTER_THREADS}


def test_longest_training_run_comes_first(requests):
    assert requests().train_priority(VGG) > requests().train_priority(MOBILENET) > 0


def test_memory_doubles_at_each_attempt_and_at_most_twice(requests):
    first, second, third, fourth = (requests().train_memory_mb(VGG, attempt) for attempt in (1, 2, 3, 4))
    assert (second, third, fourth) == (2 * first, 4 * first, 4 * first)
    assert [scale_by_attempt(30, attempt) for attempt in (1, 2, 3, 4)] == [30, 60, 120, 120]


def test_host_of_a_gpu_holds_no_activations(requests):
    assert requests(on_gpu=True).train_memory_mb(VGG, 1) < requests().train_memory_mb(VGG, 1)


def test_more_threads_shorten_the_time_limit_and_more_images_lengthen_it(requests, tmp_path):
    one, four = (requests().train_runtime(VGG, threads) for threads in (1, 4))
    assert 15 < four < one < DAY
    (tmp_path / "data/mnist").mkdir(parents=True)
    (tmp_path / "data/mnist/dataset.json").write_text(json.dumps({"splits": {"train": 600}}))
    assert requests().train_runtime(VGG, 1) < four  # what the prepared dataset says goes before the usual number


def test_time_limit_is_a_day_at_most(requests, tmp_path):
    (tmp_path / "data/mnist").mkdir(parents=True)
    (tmp_path / "data/mnist/dataset.json").write_text(json.dumps({"splits": {"train": 10**9}}))
    assert requests().train_runtime(VGG, 1) == DAY


@pytest.mark.parametrize("splits", [5, None, [], {}, {"train": "x"}, {"train": -1}])
def test_a_dataset_json_that_is_damaged_stops_no_planning(requests, tmp_path, splits):
    usual = requests().train_runtime(VGG, 1)
    (tmp_path / "data/mnist").mkdir(parents=True)
    (tmp_path / "data/mnist/dataset.json").write_text(json.dumps({"splits": splits}))
    assert requests().train_runtime(VGG, 1) == usual


def test_only_image_files_are_decoded_in_several_processes(requests):
    folder, arrays = {"dataset": "cifar10-jpeg"}, {"dataset": "mnist"}
    assert requests(4).prepare_processes(arrays, 1) == 1
    assert requests(4).prepare_processes(folder, 1) == 4
    assert requests(64).prepare_processes(folder, 1) == 8
    assert requests(64, on_cluster=True).prepare_processes(folder, 1) == 1
    assert requests(64, on_cluster=True).prepare_processes(folder, 8) == 8


@pytest.mark.parametrize(("spec", "counts"), [("its own", True), ("of another network", False), ("damaged", False)])
def test_a_summary_that_is_there_decides_what_a_network_without_measured_cost_asks_for(root, tmp_path, spec, counts):
    names = {"dataset": "mnist", "model": "new", "recipe": "paper", "seed": "0"}
    config = load_config(root / "config.yaml", {"models": {"new": {"architecture": "timm/resnet18"}}})
    jobs = Jobs(config, root, tmp_path)
    asked = Requests(jobs, 2, on_cluster=False, on_gpu=False)
    before = asked.train_memory_mb(names, 1), asked.evaluate_memory_mb(names, 1), asked.train_runtime(names, 1)
    summary = {"spec": jobs.settings("summarize", {"dataset": "mnist", "model": "new"})["spec"]}
    if spec == "of another network":
        summary["spec"] = {**summary["spec"], "num_classes": 3}
    summary |= {"parameters": 11_000_000, "mult_adds": 30_000_000, "size_mb": 46.0, "weights_mb": 44.0}
    if spec == "damaged":
        del summary["mult_adds"]
    folder = tmp_path / "results/mnist/new"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(summary))
    after = asked.train_memory_mb(names, 1), asked.evaluate_memory_mb(names, 1), asked.train_runtime(names, 1)
    assert all(new < old for new, old in zip(after, before, strict=True)) is counts
    assert (after == before) is not counts
