"""The benchmark measures every variant, and its table says what the measurements say."""

import io
import json
import shutil
from itertools import product

import pandas as pd
import pytest
import torch
from torchvision.models import VGG, MobileNetV2

import measure
import peers
import peers_table
import speed
import speed_plots
import speed_table
import step_profile
from deepnets.config.loader import load_config
from deepnets.data.splits import Split
from deepnets.training.trainer import Trainer
from deepnets.utils.errors import UserError
from peers import BEST, PEERS, common

PAIRS = [("mnist", "mobilenet_v2"), ("mnist", "resnet50")]
MACHINE = {"cores": 2, "cpu": "a CPU"}
MS = {"plain": 8.0, "plain_best": 4.0, "ours": 2.0, "ceiling": 1.9}


@pytest.fixture
def measurements() -> pd.DataFrame:
    """Two made-up rounds of the whole plan: in the second, everything takes half as long again."""
    rows = []
    for jobs, rounds in speed.plan(PAIRS, cores=2, rounds=2, peers=["plain"]):
        for round_, job in product(range(rounds), jobs):
            ms = (1.0, 1.5)[round_] * MS[job["way"]]
            precision = "fp32" if job["way"] == "plain" else "bf16"
            result = {"ms_per_image": ms, "peak_memory_mb": 900, "precision": precision, "batch": 128}
            rows.append({"round": round_, **job, **result})
    return pd.DataFrame(rows)


def test_the_ways_of_a_pair_take_turns_in_every_round_and_the_rest_is_measured_once(measurements):
    plan = speed.plan(PAIRS, cores=2, rounds=2, peers=["timm"])
    turns = [
        [(job["way"], job["threads"], job.get("copies", 1)) for job in jobs] for jobs, rounds in plan if rounds == 2
    ]
    with_timm = [[("timm", cores, 1), ("timm_best", cores, 1), ("ours", cores, 1)] for cores in (2, 1)]
    assert turns == [[("plain", 2, 1), ("ours", 2, 1), ("ceiling", 2, 1), ("ours", 1, 2)], *with_timm] * len(PAIRS)
    once = {job["kind"] for jobs, rounds in plan if rounds == 1 for job in jobs}
    assert once == {"threads", "precision", "batch", "images"}


def test_ratios_are_taken_within_a_round(measurements):
    ratios = speed_table.ratios(measurements[measurements["kind"] == "pairs"])
    assert len(ratios) == 4
    assert ratios["speedup"].tolist() == pytest.approx([4] * 4)
    assert ratios["share"].tolist() == pytest.approx([0.95] * 4)


def test_table_has_a_row_per_pair_with_medians_and_spread(measurements):
    text = speed_table.table(measurements, MACHINE)
    rows = [line for line in text.partition("\n\n")[0].splitlines() if line.startswith("| mnist")]
    assert len(rows) == 2
    assert "| ResNet50 | 128 | bf16 | 10.00 (8.00 to 12.00) | 2.50 (2.00 to 3.00) |" in rows[1]
    assert "4.0 times as fast as the plain loop (geometric mean; least 4.0), which computes in float32, and 2.0" in text


def test_table_says_what_cores_and_bfloat16_gain(measurements):
    measurements.loc[(measurements["kind"] == "threads") & (measurements["copies"] == 2), "ms_per_image"] *= 0.8
    measurements.loc[measurements["kind"] == "precision", "ms_per_image"] *= 2
    text = speed_table.table(measurements, MACHINE)
    assert "a thread each, take 1.25 to 1.25 times as many images" in text
    assert "ours would take longer, by these factors: MobileNetV2 on mnist 1.6, ResNet50 on mnist 1.6." in text


@pytest.mark.parametrize("left_out", [(), ("images",), ("images", "batch")])
def test_every_figure_is_drawn_that_there_are_measurements_for(measurements, tmp_path, left_out):
    measurements = measurements[~measurements["kind"].isin(left_out)]
    speed_plots.draw_all(measurements, tmp_path)
    kinds = set(measurements["kind"]) - {"precision"}  # a line under the table
    assert {path.name for path in tmp_path.iterdir()} == {f"bench_{kind}.png" for kind in kinds}


def test_table_and_figures_come_from_what_was_measured_at_the_time_or_later(monkeypatch, tmp_path):
    taken = []

    class Measurement(speed.Measurement):
        def __init__(self, job):
            self.job, self.processes, self.errors = job, [], io.StringIO()

        def window(self, seconds):
            taken.append(self.job)
            return {"ms_per_image": MS[self.job["way"]], "peak_memory_mb": 9, "precision": "x", "batch": 8}

    monkeypatch.setattr(speed, "Measurement", Measurement)
    monkeypatch.setattr(speed, "installed_peers", lambda: ["plain"])
    speed.main(["--output", str(tmp_path), "--rounds", "1"])
    written = (tmp_path / "bench.md").read_text()
    assert "4.0 times as fast" in written
    assert "in brackets the least: plain loop 4.00 (4.00); plain loop, best 2.00 (2.00)." in written
    measured = json.loads((tmp_path / "bench.json").read_text())["measurements"]
    warmed_up = [row for row in measured if not row.get("epoch")]
    assert len(taken) == len(measured) + len(warmed_up)
    (tmp_path / "bench.md").unlink()
    speed.main(["--output", str(tmp_path), "--measured"])
    assert (tmp_path / "bench.md").read_text() == written


def test_a_run_that_was_stopped_is_continued_with_the_first_group_that_is_not_whole(monkeypatch, tmp_path):
    plan = [([{"way": "a"}, {"way": "b"}], 2), ([{"way": "c"}], 1), ([{"way": "d"}, {"way": "e"}], 1)]
    file, taken = tmp_path / "bench.json", []

    def take_turns(jobs, rounds, seconds):
        for round_, job in product(range(rounds), jobs):
            if len(taken) == stop_after:
                raise KeyboardInterrupt
            taken.append(job["way"])
            yield job, {"round": round_, "ms_per_image": 1.0, "peak_memory_mb": len(taken)}

    monkeypatch.setattr(speed, "take_turns", take_turns)
    stop_after = 6
    with pytest.raises(KeyboardInterrupt):
        speed.measure_all(plan, 1.0, file)
    stop_after = -1
    speed.measure_all(plan, 1.0, file)
    assert "".join(taken) == "ababc" + "d" + "de"
    measured = json.loads(file.read_text())["measurements"]
    assert "".join(row["way"] for row in measured) == "ababcde"
    assert [row["peak_memory_mb"] for row in measured] == [1, 2, 3, 4, 5, 7, 8]
    speed.measure_all(plan, 1.0, file)
    assert len(taken) == 8, "all is measured"
    speed.measure_all(plan, 2.0, file)
    assert len(taken) == 8 + 7, "other windows are another run"
    described = speed.environment.describe(speed.ROOT)
    monkeypatch.setattr(speed.environment, "describe", lambda _: described | {"cpu": "another one"})
    speed.measure_all(plan, 2.0, file)
    assert len(taken) == 8 + 7 + 7, "so is another machine"


def test_each_round_begins_with_another_way(monkeypatch):
    monkeypatch.setattr(speed.Measurement, "__init__", lambda self, job: setattr(self, "job", job))
    monkeypatch.setattr(speed.Measurement, "__exit__", lambda *_: None)
    monkeypatch.setattr(speed.Measurement, "window", lambda self, seconds: {})
    order = [job["way"] for job, _ in speed.take_turns([{"way": way} for way in "abc"], rounds=3, seconds=1)]
    assert "".join(order) == "abcbcacab"


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
def test_kind_of_work_is_printed_by_the_operators_name(operator, kind):
    assert step_profile.kind_of(operator) == kind


def test_every_pair_is_measured_once_however_many_seeds_it_has(root):
    experiments = load_config(root / "config.yaml").experiments("paper")
    assert len(speed.pairs_of(experiments * 2)) == 6


@pytest.fixture
def processes(monkeypatch, tmp_path):
    """Have measurements run a script instead of measure.py: `processes(source)`."""

    def replace(source: str) -> None:
        (tmp_path / "measure.py").write_text(source)
        monkeypatch.setattr(speed, "BENCHMARKS", tmp_path)

    return replace


def test_side_by_side_counts_the_images_of_all_copies(processes):
    processes("""for line in open(0): print('{"ms_per_image": 4.0, "peak_memory_mb": 100}', flush=True)""")
    with speed.Measurement({"kind": "threads", "threads": 1, "copies": 2}) as measurement:
        results = [measurement.window(1) for _ in range(2)]
    assert results == [{"ms_per_image": 2.0, "peak_memory_mb": 200}] * 2


def test_measurement_that_fails_is_named_with_its_reason(processes):
    processes("raise SystemExit('no such pair')")
    printed = pytest.raises(UserError, match=r'failed on \{"kind": "pairs", "model": "x"\}:\nno such pair')
    with speed.Measurement({"kind": "pairs", "model": "x"}) as measurement, printed:
        measurement.window(1)


STEPS = 6


@pytest.fixture
def measured(monkeypatch, root, tmp_path):
    """Measure an epoch of six steps: `measured("ours", "mnist") -> (result, batches taken, inputs, precisions)`."""
    shutil.copy(root / "config.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(measure, "disable_malloc_trim", lambda: None)  # for this whole process, tests and all
    taken, inputs, precisions = [], [], []
    take, forward = Split.get_batch, MobileNetV2.forward

    def watched(self, images):
        inputs.append(images)
        precisions.append("bf16" if torch.is_autocast_enabled("cpu") else str(images.dtype))
        return forward(self, images)

    monkeypatch.setattr(Split, "get_batch", lambda *arguments: taken.append(arguments) or take(*arguments))
    monkeypatch.setattr(MobileNetV2, "forward", watched)

    def run(way, dataset, **changes):
        if peer := peers.peer_of(way):
            pytest.importorskip(peer.package)
        job = {"way": way, "dataset": dataset, "model": "mobilenet_v2", "threads": 1, "batch_size": 4} | changes
        results = []
        measure.measure(**job, images=4 * STEPS, epoch=True, requests=iter(["0"]), report=results.append)
        return results[0], len(taken), inputs, precisions

    return run


@pytest.mark.parametrize(("way", "batches_taken"), [("plain", 0), ("plain_best", 0), ("ours", STEPS), ("ceiling", 1)])
def test_each_way_is_measured_and_the_ceiling_does_no_work_on_data(measured, way, batches_taken):
    result, taken, inputs, _ = measured(way, "mnist")
    assert result["steps"] == STEPS
    assert result["ms_per_image"] > 0
    assert (taken, len(inputs)) == (batches_taken, STEPS)


@pytest.mark.parametrize(("way", "precision", "seen"), [("plain", "bf16", "torch.float32"), ("ours", "bf16", "bf16")])
def test_plain_loop_is_in_float32_whatever_ours_is_in(measured, way, precision, seen):
    _, _, _, precisions = measured(way, "mnist", precision=precision)
    assert precisions == [seen] * STEPS


@pytest.mark.parametrize(("way", "is_nchw"), [("plain", True), ("ours", False)])
def test_plain_loop_has_images_in_the_default_layout_and_ours_has_not(measured, way, is_nchw):
    _, _, inputs, _ = measured(way, "cifar10")  # three channels: of one, both layouts are the same
    assert [images.is_contiguous() for images in inputs] == [is_nchw] * STEPS


@pytest.mark.filterwarnings("ignore")  # the libraries' own
@pytest.mark.parametrize("way", [key + end for key in PEERS for end in ("", BEST)])
def test_each_peer_takes_an_epochs_steps_and_its_best_is_bfloat16_and_channels_last(measured, monkeypatch, way):
    monkeypatch.setattr(common, "multiplies_bfloat16", lambda device: True)
    best = way.endswith(BEST)
    result, _, inputs, precisions = measured(way, "cifar10")
    assert (result["steps"], result["precision"]) == (STEPS, "bf16" if best else "fp32")
    assert precisions == ["bf16" if best else "torch.float32"] * STEPS
    if not way.startswith("fastai"):  # its callback changes the layout of weights only
        assert [images.is_contiguous() for images in inputs] == [not best] * STEPS


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("key", [key for key, peer in PEERS.items() if key != "plain"])
def test_each_library_trains_by_its_recommended_recipe_until_it_is_stopped(root, monkeypatch, key):
    pytest.importorskip(PEERS[key].package)
    monkeypatch.chdir(root)
    job = measure.Job.of("mnist", "mobilenet_v2", images=256)
    network, steps = job.network(), iter(range(2))
    before = network.classifier[1].weight.detach().clone()
    data = job.pixels, job.labels, job.options.flips
    PEERS[key].load().train_recommended(network, *data, 2, lambda: next(steps) == 1)
    assert next(steps, "stopped") == "stopped"
    assert not torch.equal(network.classifier[1].weight, before)


def test_best_flags_have_no_bfloat16_where_the_processor_would_emulate_it(monkeypatch):
    monkeypatch.setattr(common, "multiplies_bfloat16", lambda device: False)
    assert not common.use_bfloat16(best=True)
    assert common.layout(best=True) == torch.channels_last


def test_peers_train_torchvisions_vgg_on_the_same_parameters(root, monkeypatch):
    monkeypatch.chdir(root)
    network = measure.Job.of("mnist", "vgg16", images=8).network()
    plain = measure.as_torchvision(network)
    assert type(plain).forward is VGG.forward
    assert all(a is b for a, b in zip(plain.parameters(), network.parameters(), strict=True))
    images = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(plain.eval()(images), network.eval()(images))


def test_a_run_is_confined_to_the_cores_that_it_may_use(monkeypatch):
    confined = []
    monkeypatch.setattr(measure.os, "sched_getaffinity", lambda process: {5, 2, 7}, raising=False)
    monkeypatch.setattr(measure.os, "sched_setaffinity", lambda process, cores: confined.append(cores), raising=False)
    measure.use_cores(2)
    assert confined == [[2, 5]]


def test_peers_that_are_not_installed_are_left_out_with_the_name_of_the_extra(monkeypatch, capsys):
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda package: package == "torch" or None)
    assert peers.installed_peers() == ["plain"]
    printed = capsys.readouterr().out
    assert "timm, Lightning, fastai (the extra `bench` of pyproject.toml" in printed


def test_table_of_peers_has_images_per_second_and_names_the_fastest_peer(measurements):
    measured = measurements[measurements["kind"] == "peers"].copy()
    slow = (measured["model"] == "resnet50") & (measured["way"] == "ours") & (measured["threads"] == 1)
    measured.loc[slow, "ms_per_image"] *= 2.5
    text = peers_table.table(measured)
    rows = [line for line in text.splitlines() if line.startswith("| mnist")]
    assert len(rows) == 2 * len(PAIRS)
    assert rows[0] == (
        "| mnist | MobileNetV2 | 2 | 104 (83 to 125) | 208 (167 to 250) | 417 (333 to 500) "
        "| 2.00 (2.00 to 2.00) plain loop, best |"
    )
    assert "Not installed, so not measured: timm, Lightning, fastai." in text
    assert "Ours is slower on ResNet50 on mnist (0.80 of plain loop, best)." in text
    assert "Ours is slower on no pair." in text


@pytest.mark.slow
def test_quick_benchmark_measures_one_pair_without_any_peer_installed(root, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(root / "scripts"))
    monkeypatch.setattr(speed, "installed_peers", lambda: ["plain"])
    monkeypatch.setattr(speed, "usable_cores", lambda: 1)  # fewer processes
    speed.main(["--quick", "--output", str(tmp_path)])
    measured = json.loads((tmp_path / "quick/bench.json").read_text())["measurements"]
    assert {(row["dataset"], row["model"]) for row in measured} == {speed.SMALL}
    assert {row["way"] for row in measured} == {"plain", "plain_best", "ours", "ceiling"}
    assert {"bench.md", "bench_pairs.png", "bench_peers.png"} <= {path.name for path in (tmp_path / "quick").iterdir()}


def test_a_training_run_waits_between_windows_and_settles_at_the_start_of_each(monkeypatch):
    now, printed = iter(range(100)), []
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(now))
    windows = measure.TimedWindows(iter(["0\n", "5\n"]), lambda seconds, steps: printed.append((seconds, steps)))
    assert windows.open()
    asked = 1
    while not windows():
        asked += 1
    # A step takes a second, so that the first two are over the settling time; then two at least, or five seconds.
    assert printed == [(1, measure.LEAST_STEPS), (1, 5)]
    assert asked == 2 + measure.LEAST_STEPS + 2 + 5


def test_profile_of_a_step_finds_the_convolutions_and_leaves_little_unnamed(root, monkeypatch):
    monkeypatch.chdir(root)
    job = measure.Job.of("mnist", "mobilenet_v2", images=64, epochs=1, batch_size=4, optimizer="sgd")
    trainer = job.trainer(Trainer, threads=1)
    spent = step_profile.step_milliseconds(trainer)
    assert {"convolution", "batch normalisation", "optimizer", "input"} <= set(spent.index)
    assert spent[step_profile.OTHER] < spent.sum() / 4
    assert step_profile.convolution_flops(trainer) > 1e6
