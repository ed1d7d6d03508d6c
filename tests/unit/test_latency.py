"""How fast a network predicts: latency.json, and what the report shows of it."""

import time

import pytest
import torch
from config_files import with_stages
from report_pages import tables
from torch import nn

from deepnets.config.loader import load_config
from deepnets.evaluation import timed_calls
from deepnets.evaluation.latency import measure, write_latency
from deepnets.evaluation.measurements import Latency
from deepnets.planning.jobs import Jobs
from deepnets.training.device import Device
from deepnets.utils.checked_json import read_checked
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json, sha256_file, write_json

CPU = Device(torch.device("cpu"), "fp32", 1, deterministic=True)
SPEC = {"model": {"architecture": "mobilenet_v2"}, "input_shape": [1, 8, 8], "num_classes": 3}


class Sleeping(nn.Module):
    """Takes 4 ms for any batch, and 40 ms for every tenth single image; each timed call has two before it."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert not self.training
        assert not torch.is_grad_enabled()
        self.calls += len(images) == 1
        time.sleep(0.04 if len(images) == 1 and self.calls % 30 == 0 else 0.004)
        return images.flatten(1)[:, :2]


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(timed_calls, "LEAST_SECONDS", 0.02)


def test_times_are_those_of_single_calls_and_of_a_full_batch():
    found = measure(Sleeping(), (1, 4, 4), CPU)
    assert found["latency"]["calls"] >= 30
    assert 0.004 <= found["latency"]["median_seconds"] < 0.04
    assert found["latency"]["p95_seconds"] >= 0.04
    assert found["throughput"]["batch"] == 128
    assert 128 / 0.1 < found["throughput"]["images_per_second"] <= 128 / 0.004


def test_the_file_has_the_network_the_times_and_the_conditions(tmp_path, process_as_it_was):
    file = tmp_path / "latency.json"
    write_latency(SPEC, "digits/mobilenet_v2", file, threads=1, gpus=0)
    found = read_checked(file, Latency)
    assert found.spec == SPEC
    assert 0 < found.latency.median_seconds <= found.latency.p95_seconds
    assert (found.measured_on.device, found.measured_on.threads) == ("cpu", 1)
    assert (tmp_path / ".latency.sha256").read_text() == f"{sha256_file(file)}  latency.json\n"


def test_an_error_in_a_network_of_the_user_is_a_line(own_module, tmp_path, process_as_it_was):
    own_module(
        "from deepnets.utils.option_types import StrictModel\n"
        "from torch import nn\n"
        "MIN_IMAGE_SIZE = 1\n"
        "class Options(StrictModel):\n    pass\n"
        "class Net(nn.Linear):\n    def forward(self, images):\n        raise ValueError('no')\n"
        "def build(num_classes, in_channels, options):\n    return Net(1, 1)\n"
    )
    with pytest.raises(UserError, match=r"my_net\.py:8: ValueError: no; correct this line"):
        write_latency(SPEC | {"model": {"architecture": "my_net"}}, "digits/my_net", tmp_path / "latency.json", gpus=0)
    assert not (tmp_path / "latency.json").exists()


# -- as a stage --------------------------------------------------------------------------------------------------------


def test_a_network_is_measured_once_for_all_recipes_and_seeds_of_the_studies_that_ask_for_it(root):
    def measured(overrides: dict) -> list[str]:
        jobs = Jobs(load_config(root / "config.yaml", {"study": "sweep", **overrides}), root)
        return [job.outputs[0] for job in jobs.of_study() if job.stage == "latency"]

    assert measured({}) == measured(with_stages(root, "demo", "latency")) == []
    assert measured(with_stages(root, "sweep", "latency")) == ["results/digits/mobilenet_v2/latency.json"]


# -- in the report -----------------------------------------------------------------------------------------------------


def costs(text: str) -> list[list[str]]:
    [found] = [table for table in tables(text) if "Multiply-adds" in table[0]]
    return found


def test_the_table_of_costs_has_the_file_of_weights_once_for_each_network(experiment, write_report):
    folders = [*(experiment(seed=seed) for seed in range(2)), experiment(model="mobilenet_v2")]
    text = write_report(*folders)
    table = costs(text)
    assert table[0] == ["Model", "Dataset", "Parameters", "Multiply-adds", "Weights file (MB)"]
    assert table[2:] == [
        ["ResNet50", "digits", "23,519,690", "100,000,000", "94.08"],
        ["MobileNetV2", "digits", "1,814,346", "100,000,000", "7.26"],
    ]
    assert "Latency is" not in text
    metrics = read_json(folders[-1] / "metrics.json")
    metrics.pop("weights_bytes")
    write_json(folders[-1] / "metrics.json", metrics)
    assert costs(write_report(*folders))[3][-1] == "–"


def test_tables_of_costs_have_the_order_of_the_results(experiment, write_report):
    runs = [("resnet50", 0.7), ("vgg16", 0.9), ("mobilenet_v2", 0.8)]
    text = write_report(
        *(
            experiment(dataset, model, validation_accuracy=share - seed / 100, seed=seed)
            for dataset in ("mnist", "digits")
            for model, share in runs
            for seed in range(2)
        )
    )
    order = ["VGG-16", "MobileNetV2", "ResNet50"]
    assert [row[:2] for row in costs(text)[2:]] == [[model, name] for name in ("mnist", "digits") for model in order]
    [of_runs] = [table for table in tables(text) if "Peak memory (MB)" in table[0]]
    expected = [[model, name, seed] for name in ("mnist", "digits") for model in order for seed in "01"]
    assert [[row[0], row[1], row[3]] for row in of_runs[2:]] == expected


def test_a_study_with_latency_has_it_in_the_table_of_costs_and_as_a_figure(experiment, write_report):
    text = write_report(experiment(model="mobilenet_v2"), experiment(accuracy=0.9), optional=("latency",))
    table = costs(text)
    assert table[0][2:3] + table[0][6:] == ["Latency on", "Latency (ms)", "95th percentile (ms)", "Images/s"]
    assert table[2][2] == "Some CPU, 4 threads, fp32"
    assert table[2][6:] == ["0.18", "0.36", "27,558"]
    assert "Latency is the median time of predicting one image" in text
    assert "digits/comparison/accuracy_vs_latency.png" in text
    assert "Latency was not measured" not in text


def test_a_report_without_latency_says_how_to_measure_it(experiment, write_report):
    text = write_report(experiment())
    assert "Latency was not measured: <code>latency: true</code> in an entry of the study measures it" in text


def test_the_latency_of_another_network_is_refused(experiment, write_report):
    directory = experiment()
    file = directory.parents[1] / "latency.json"
    write_json(file, read_json(file) | {"spec": SPEC})
    with pytest.raises(UserError, match=r"latency\.json: made with other settings \(.*input_shape was"):
        write_report(directory, optional=("latency",))
