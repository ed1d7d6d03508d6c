"""The benchmark measures all three ways, and its table says what the measurements say."""

import json
import shutil

import pandas as pd
import pytest
from torchvision.models import MobileNetV2

import measure
import speed
import speed_plots
import speed_table
import step_profile
from deepnets.config import load_config
from deepnets.engine import Part, Trainer
from deepnets.errors import UserError

PAIRS = [("mnist", "mobilenet_v2"), ("mnist", "resnet50")]
MACHINE = {"cores": 2, "cpu": "a CPU"}
MS = {"plain": 8.0, "ours": 2.0, "ceiling": 1.9}


@pytest.fixture
def measurements() -> pd.DataFrame:
    """Two made-up rounds of the whole plan: in the second, everything takes half as long again."""
    rows = []
    for job in speed.plan(PAIRS, cores=2, rounds=2):
        ms = (1.0, 1.5)[job["round"]] * MS[job["way"]]
        precision = "fp32" if job["way"] == "plain" else "bf16"
        result = {"ms_per_image": ms, "seconds": ms, "peak_memory_mb": 900, "precision": precision, "batch": 128}
        rows.append({**job, **result})
    return pd.DataFrame(rows)


def test_pairs_are_measured_in_every_round_and_the_rest_in_the_first(measurements):
    rounds = measurements.groupby("kind")["round"].unique().map(sorted).to_dict()
    assert rounds == {"pairs": [0, 1], "threads": [0], "batch": [0], "images": [0]}


def test_ratios_are_taken_within_a_round(measurements):
    ratios = speed_table.ratios(measurements[measurements["kind"] == "pairs"])
    assert len(ratios) == 4
    assert ratios["speedup"].tolist() == pytest.approx([4] * 4)
    assert ratios["share"].tolist() == pytest.approx([0.95] * 4)


def test_table_has_a_row_per_pair_with_medians_and_spread(measurements):
    text = speed_table.table(measurements, MACHINE)
    rows = [line for line in text.splitlines() if line.startswith("| mnist")]
    assert len(rows) == 2
    assert "| ResNet50 | 128 | bf16 | 10.00 (8.00 to 12.00) | 2.50 (2.00 to 3.00) |" in rows[1]
    assert "4.0 times as fast as the plain loop (geometric mean; least 4.0)" in text


@pytest.mark.parametrize(
    ("way", "factor", "outcome"),
    [
        ("ours", 1.0, "met"),  # 4 times the plain loop, 95 % of the ceiling: just
        ("ceiling", 0.98, "missed: ResNet50 on mnist 93.1 % of the ceiling"),
        ("plain", 0.9, "missed: 3.79 times the plain loop in the geometric mean"),
    ],
)
def test_table_says_which_aims_are_missed_and_where(measurements, way, factor, outcome):
    one = (measurements["way"] == way) & (measurements["model"] == "resnet50")
    measurements.loc[one, "ms_per_image"] *= factor
    assert speed_table.table(measurements, MACHINE).rstrip().endswith(f"of the ceiling in each, are {outcome}.")


@pytest.mark.parametrize(("ceiling", "told"), [(2.2, True), (0.5, False)])
def test_table_says_where_no_work_on_data_is_to_blame(measurements, ceiling, told):
    one = measurements["model"] == "resnet50"
    measurements.loc[one & (measurements["way"] == "plain"), "ms_per_image"] *= 0.6
    measurements.loc[one & (measurements["way"] == "ceiling"), "ms_per_image"] *= ceiling / MS["ceiling"]
    text = speed_table.table(measurements, MACHINE)
    assert "missed: 3.10 times the plain loop in the geometric mean, ResNet50 on mnist 2.40 times the plain" in text
    assert ("no more than these times as fast as the plain loop: ResNet50 on mnist 2.18." in text) == told


@pytest.mark.parametrize("left_out", [(), ("images",), ("images", "batch")])
def test_every_figure_is_drawn_that_there_are_measurements_for(measurements, tmp_path, left_out):
    measurements = measurements[~measurements["kind"].isin(left_out)]
    speed_plots.draw_all(measurements, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"bench_{kind}.png" for kind in measurements["kind"].unique()}


def test_table_and_figures_come_from_what_was_measured_at_the_time_or_later(monkeypatch, tmp_path):
    taken = []

    def take(job, seconds):
        taken.append(job)
        return {"ms_per_image": MS[job["way"]], "seconds": seconds, "peak_memory_mb": 9, "precision": "x", "batch": 8}

    monkeypatch.setattr(speed, "take", take)
    speed.main(["--output", str(tmp_path), "--rounds", "1"])
    written = (tmp_path / "bench.md").read_text()
    assert "4.0 times as fast" in written
    assert len(taken) == len(json.loads((tmp_path / "bench.json").read_text())["measurements"])
    (tmp_path / "bench.md").unlink()
    speed.main(["--output", str(tmp_path), "--measured"])
    assert (tmp_path / "bench.md").read_text() == written


def test_no_round_at_all_is_refused(capsys):
    with pytest.raises(SystemExit):
        speed.main(["--rounds", "0"])
    assert "argument --rounds: invalid positive value: '0'" in capsys.readouterr().err


def test_pair_that_the_study_lacks_is_named_with_those_it_has(root, monkeypatch):
    monkeypatch.chdir(root)
    with pytest.raises(UserError, match=r"mnist resnet5: no pair of .* which has mnist mobilenet_v2, mnist vgg16"):
        measure.Job.of("mnist", "resnet5", images=8)


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("aten::upsample_bilinear2d", "input"),
        ("aten::addcmul", "input"),
        ("aten::mkldnn_convolution", "convolution"),
        ("ConvolutionBackward0", "convolution"),
        ("aten::addmm", "linear layers"),
        ("aten::add_", "activations and sums"),
        ("aten::copy_", "casts, copies and zeros"),
        ("aten::einsum", step_profile.OTHER),
    ],
)
def test_kind_of_work_is_told_by_the_operators_name(operator, kind):
    assert step_profile.kind_of(operator) == kind


def test_every_pair_is_measured_once_however_many_seeds_it_has(root):
    experiments = load_config(root / "config.yaml").experiments("paper")
    assert len(speed.pairs_of(experiments * 2)) == 6


def test_side_by_side_counts_the_images_of_all_copies(monkeypatch):
    def process(*_command, **_settings):
        result = {"ms_per_image": 4.0, "peak_memory_mb": 100}
        return type("Done", (), {"returncode": 0, "stdout": json.dumps(result)})

    monkeypatch.setattr(speed.subprocess, "run", process)
    result = speed.take({"kind": "threads", "threads": 1, "copies": 2}, seconds=1)
    assert (result["ms_per_image"], result["peak_memory_mb"]) == (2.0, 200)


STEPS = 6


@pytest.fixture
def measured(monkeypatch, root, tmp_path):
    """Measure an epoch of six steps: `measured("ours", "mnist") -> (result, batches taken, the network's inputs)`."""
    shutil.copy(root / "config.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(measure, "keep_freed_memory", lambda: None)  # for this whole process, tests and all
    taken, inputs = [], []
    take, forward = Part.take, MobileNetV2.forward
    monkeypatch.setattr(Part, "take", lambda *arguments: taken.append(arguments) or take(*arguments))
    monkeypatch.setattr(MobileNetV2, "forward", lambda self, images: inputs.append(images) or forward(self, images))

    def run(way, dataset):
        result = measure.measure(way, dataset, "mobilenet_v2", threads=1, batch_size=4, images=4 * STEPS, epoch=True)
        return result, len(taken), inputs

    return run


@pytest.mark.parametrize(("way", "batches_taken"), [("plain", 0), ("ours", STEPS), ("ceiling", 1)])
def test_each_way_is_measured_and_the_ceiling_does_no_work_on_data(measured, way, batches_taken):
    result, taken, inputs = measured(way, "mnist")
    assert result["steps"] == STEPS - measure.WARM_UP
    assert result["ms_per_image"] > 0
    assert result["precision"] == "fp32" or way != "plain"
    assert (taken, len(inputs)) == (batches_taken, STEPS)


@pytest.mark.parametrize(("way", "is_nchw"), [("plain", True), ("ours", False)])
def test_plain_loop_has_images_in_the_default_layout_and_ours_has_not(measured, way, is_nchw):
    _, _, inputs = measured(way, "cifar10")  # three channels: of one, both layouts are the same
    assert [images.is_contiguous() for images in inputs] == [is_nchw] * STEPS


def test_clock_stops_after_the_time_but_not_before_the_least_steps():
    clock = measure.Clock(seconds=0, steps=float("inf"))
    asked = 1
    while not clock():
        asked += 1
    assert asked == measure.WARM_UP + measure.LEAST_STEPS
    assert len(clock.step_seconds()) == measure.LEAST_STEPS


def test_profile_of_a_step_finds_the_convolutions_and_leaves_little_unnamed(root, monkeypatch):
    monkeypatch.chdir(root)
    job = measure.Job.of("mnist", "mobilenet_v2", images=64, epochs=1, batch_size=4)
    trainer = job.trainer(Trainer, threads=1)
    spent = step_profile.step_milliseconds(trainer)
    assert {"convolution", "batch normalisation", "optimizer", "input"} <= set(spent.index)
    assert spent[step_profile.OTHER] < spent.sum() / 4
    assert step_profile.convolution_flops(trainer) > 1e6
