"""Each training run can tell how long the rest of the study takes."""

import pytest

from deepnets.planning.study_time import StudyTime, write_study_plan

A, B, C = (f"results/digits/{model}/quick/seed0" for model in ("a", "b", "c"))


@pytest.fixture(autouse=True)
def plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_study_plan({A: 100, B: 200, C: 50}, side_by_side=2)


def finish(tmp_path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "model.safetensors").touch()


def test_rest_is_scaled_by_this_runs_pace_and_shared_out(tmp_path):
    # This run takes twice its estimate, so the others will take 500 s; with its own 40 s, two at a time.
    assert StudyTime(tmp_path, A).seconds_left(own_left=40, own_total=200) == (40 + 500) / 2


def test_finished_runs_count_no_more(tmp_path):
    finish(tmp_path, B)
    assert StudyTime(tmp_path, A).seconds_left(own_left=40, own_total=200) == (40 + 100) / 2


def test_study_takes_no_less_than_this_run(tmp_path):
    finish(tmp_path, B)
    assert StudyTime(tmp_path, A).seconds_left(own_left=150, own_total=100) == 150


def test_last_run_has_nothing_to_add(tmp_path):
    finish(tmp_path, B)
    finish(tmp_path, C)
    assert StudyTime(tmp_path, A).seconds_left(own_left=40, own_total=200) is None


def test_run_by_hand_knows_no_study(tmp_path):
    assert StudyTime(tmp_path, "results/digits/other/quick/seed0").seconds_left(40, 200) is None


def test_text_is_in_minutes_and_empty_where_there_is_nothing_to_add(tmp_path):
    assert StudyTime(tmp_path, A).text(own_left=40, own_total=200) == "study: about 4 min left"
    assert StudyTime(tmp_path, "results/digits/other/quick/seed0").text(40, 200) == ""
