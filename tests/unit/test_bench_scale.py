"""The measurement of the cost of size: the study is valid, its jobs run, and the tables show the measurements."""

import json
import shutil
import sys

import pandas as pd
import pytest

import prepare_speed
import read_speed
import scale
import scale_study
from deepnets.config.loader import load_config
from deepnets.planning.jobs import Jobs
from deepnets.utils.errors import UserError


@pytest.mark.parametrize("experiments", [10, 300])
def test_study_of_any_size_is_a_valid_configuration(root, tmp_path, experiments):
    shutil.copy(root / "config.yaml", tmp_path)
    scale_study.configure(tmp_path / "config.yaml", experiments)
    assert len(load_config(tmp_path / "config.yaml").experiments()) == experiments


@pytest.mark.parametrize(("experiments", "others"), [(10, 19), (100, 20)])
def test_study_has_as_many_jobs_as_the_documentation_says(root, tmp_path, experiments, others):
    shutil.copy(root / "config.yaml", tmp_path)
    scale_study.configure(tmp_path / "config.yaml", experiments)
    jobs = [*Jobs(load_config(tmp_path / "config.yaml"), root, tmp_path).of_study()]
    assert len(jobs) + 1 == 3 * experiments + others  # and `all`
    text = " ".join((root / "docs/scaling.md").read_text(encoding="utf-8").split())
    assert "three jobs for each experiment, and 19 others" in text
    assert "and the figure of learning rates where there are several" in text
    assert f"so {3 * 10 + 19} to {3 * 1500 + 20:,} jobs" in text


@pytest.mark.parametrize("size", ["15", "0", "-10", "many"])
def test_size_that_no_study_has_is_refused(size, capsys):
    with pytest.raises(SystemExit):
        scale.main(["--sizes", size])
    assert "--sizes" in capsys.readouterr().err


def test_folder_of_an_earlier_run_is_not_written_into(tmp_path):
    (tmp_path / "10").mkdir()
    with pytest.raises(UserError, match=r"--keep: .*10 is there already; remove it"):
        scale.main(["--sizes", "10", "--keep", str(tmp_path)])


def test_table_has_what_a_further_job_costs():
    cpu = {10: 3.0, 100: 3.9, 1000: 21.9}
    rows = [
        {
            "experiments": n,
            "jobs": 4 * n + 10,
            "what": "dry run",
            "cpu_seconds": seconds,
            "wall_seconds": 30,
            "peak_memory_mb": 1200,
        }
        for n, seconds in cpu.items()
    ]
    rows += [{**each, "what": "figure of rates"} for each in rows if each["experiments"] > 10]  # ten have one rate
    text = scale.table(pd.DataFrame(rows))
    assert "| figure of rates | – | 3.9 | 21.9 | – | 5.0 | 30.0 | 1,200 |" in text
    assert "| dry run | 3.0 | 3.9 | 21.9 | 2.5 | 5.0 | 30.0 | 1,200 |" in text


def test_command_that_fails_is_named_with_its_last_words(tmp_path):
    with pytest.raises(UserError, match=r"no-such-script.* failed in .*\n.*No such file"):
        scale.measure([sys.executable, "no-such-script.py"], tmp_path)


@pytest.mark.slow
@pytest.mark.full
def test_small_study_is_run_by_stand_ins_and_then_there_is_nothing_to_do(tmp_path):
    scale.main(["--sizes", "10", "--output", str(tmp_path)])
    measured = json.loads((tmp_path / "bench-scale.json").read_text())["measurements"]
    assert [each["what"] for each in measured][:6] == [
        scale.DRY,
        scale.ALL,
        scale.NOTHING,
        scale.WHY,
        "compare",
        "report",
    ]
    assert {each["jobs"] for each in measured} == {3 * 10 + 19}
    assert all(each["cpu_seconds"] > 0 and each["peak_memory_mb"] > 20 for each in measured)


@pytest.mark.slow
def test_folder_of_images_is_prepared_by_any_number_of_processes(tmp_path):
    prepare_speed.main(["--images", "600", "--output", str(tmp_path)])
    measured = json.loads((tmp_path / "bench-prepare.json").read_text())["measurements"]
    assert [each["command"] for each in measured][:2] == ["download", "prepare"]


def test_reading_is_measured_each_way(tmp_path):
    read_speed.main(["--gigabytes", "0", "--output", str(tmp_path)])
    measured = json.loads((tmp_path / "bench-read.json").read_text())["measurements"]
    ways = [read_speed.FAULTS, read_speed.ALONE, read_speed.AHEAD, read_speed.MEMORY]
    assert [each["way"] for each in measured] == ways
    assert all(each["us_per_image"] > 0 for each in measured)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []  # the images are gone
