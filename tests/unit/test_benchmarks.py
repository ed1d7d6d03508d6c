"""The benchmark measures all three ways, and its table says what the measurements say."""

import json
import shutil

import pandas as pd
import pytest

import measure
import speed
import speed_plots
import speed_table

PAIRS = [("mnist", "mobilenet_v2"), ("mnist", "resnet50")]
MS = {"plain": 8.0, "ours": 2.0, "ceiling": 1.9}


@pytest.fixture
def measurements() -> pd.DataFrame:
    """Two made-up rounds of the whole plan: in the second, everything takes half as long again."""
    rows = []
    for round_, factor in enumerate((1.0, 1.5)):
        for job in speed.plan(PAIRS, cores=2):
            ms = factor * MS[job["way"]]
            rows.append(
                {"round": round_, **job, "ms_per_image": ms, "seconds": ms, "peak_memory_mb": 900, "batch": 128}
            )
    return pd.DataFrame(rows)


def test_ratios_are_taken_within_a_round(measurements):
    ratios = speed_table.ratios(measurements[measurements["kind"] == "pairs"])
    assert len(ratios) == 4
    assert ratios["speedup"].tolist() == pytest.approx([4] * 4)
    assert ratios["share"].tolist() == pytest.approx([0.95] * 4)


def test_table_has_a_row_per_pair_with_medians_and_spread(measurements):
    text = speed_table.table(measurements, cores=2)
    rows = [line for line in text.splitlines() if line.startswith("| mnist")]
    assert len(rows) == 2
    assert "| ResNet50 | 128 | 10.00 (8.00 to 12.00) | 2.50 (2.00 to 3.00) |" in rows[1]
    assert "4.0 times as fast as the plain loop (geometric mean; least 4.0)" in text


def test_every_figure_is_drawn(measurements, tmp_path):
    speed_plots.draw_all(measurements, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"bench_{kind}.png" for kind in measurements["kind"].unique()}


def test_side_by_side_counts_the_images_of_all_copies(monkeypatch):
    def process(*_command, **_settings):
        result = {"ms_per_image": 4.0, "peak_memory_mb": 100}
        return type("Done", (), {"returncode": 0, "stdout": json.dumps(result)})

    monkeypatch.setattr(speed.subprocess, "run", process)
    result = speed.take({"kind": "threads", "threads": 1, "copies": 2}, seconds=1)
    assert (result["ms_per_image"], result["peak_memory_mb"]) == (2.0, 200)


@pytest.mark.parametrize("way", measure.WAYS)
def test_each_way_is_measured(monkeypatch, root, tmp_path, way):
    shutil.copy(root / "config.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(measure, "keep_freed_memory", lambda: None)  # for this whole process, tests and all
    measured = measure.measure(way, "mnist", "mobilenet_v2", threads=1, batch_size=4, images=24, epoch=True)
    assert measured["steps"] == 24 // 4 - measure.WARM_UP
    assert measured["ms_per_image"] > 0
    assert measured["precision"] == "fp32" or way != "plain"


def test_clock_stops_after_the_time_but_not_before_the_least_steps():
    clock = measure.Clock(seconds=0, steps=float("inf"))
    asked = 1
    while not clock():
        asked += 1
    assert asked == measure.WARM_UP + measure.LEAST_STEPS
    assert len(clock.step_seconds()) == measure.LEAST_STEPS
