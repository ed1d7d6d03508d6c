"""The Makefile's commands: what they install, call, refuse and delete."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")

FAKE_PYTHON = """#!/bin/sh
# Stands in for Python and for the environment that it makes: records its calls and does nothing else.
echo "$@" >> "$CALLS"
case "$*" in
  *version_info*) exit ${WRONG_VERSION:-0};;
  "-m venv --clear --prompt deeper-networks .venv"*)
    find "$6/" -mindepth 1 -delete 2>/dev/null
    mkdir -p "$6/bin" && cp "$0" "$6/bin/python" && echo "prompt = 'deeper-networks'" > "$6/pyvenv.cfg";;
  "-m uv pip install"*) exit ${BROKEN_NETWORK:-0};;
  "-m snakemake"*) exit ${FAILED_STUDY:-0};;
esac
"""


@pytest.fixture
def make(root, tmp_path):
    """Call make in a folder of packaging files only, with a fake Python; `make.calls()` are Python's calls since."""
    folder = tmp_path / "clone"
    (folder / "results").mkdir(parents=True)
    (folder / "benchmarks").mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.txt", "benchmarks/requirements.txt"):
        shutil.copy(root / name, folder / name)
    fake, log = tmp_path / "python", tmp_path / "calls"
    fake.write_text(FAKE_PYTHON)
    fake.chmod(0o755)

    def call(*arguments, **environment):
        log.write_text("")
        return subprocess.run(
            ["make", *arguments, f"PYTHON={fake}"],
            cwd=folder,
            env={**os.environ, "CALLS": str(log), **environment},
            capture_output=True,
            text=True,
        )

    call.folder = folder
    call.calls = lambda: log.read_text()
    return call


def test_make_alone_lists_the_commands(make):
    listed = re.findall(r"make ([a-z]+)", make().stdout)
    assert {"setup", "report", "test", "lint", "requirements", "clean", "distclean"} <= set(listed)


def test_setup_installs_once_and_again_when_the_requirements_change(make):
    assert make("setup").returncode == 0
    assert "-m uv pip install --compile-bytecode --python .venv/bin/python" in make.calls()
    make("setup")
    assert make.calls() == ""
    changed = make.folder / "requirements.txt"
    os.utime(changed, (changed.stat().st_atime, changed.stat().st_mtime + 60))
    make("setup")
    assert "-m uv pip install" in make.calls()


def test_a_report_that_fails_ends_with_the_command_for_what_is_finished(make):
    failed = make("report", "STUDY=my study", "CONFIGFILE=a.yaml", FAILED_STUDY="1")
    assert failed.returncode == 2
    assert "are finished: make report-now CONFIGFILE=a.yaml STUDY=my study\n" in failed.stderr
    assert "show_report" not in make.calls()
    assert "report-now" not in make("report").stderr


def test_setup_installs_the_pinned_uv_first(make):
    make("setup")
    installs = re.findall(r"-m .* install .*", make.calls())
    pin = re.search(r"^uv==\S+$", (make.folder / "requirements.txt").read_text(), re.MULTILINE)[0]
    assert installs[0].endswith(pin)


def test_setup_links_the_library_into_the_environment_so_that_any_folder_can_import_it(make, root, tmp_path):
    (make.folder / "scripts").symlink_to(root / "scripts")
    make("setup")
    code = re.search(r"^-c (.*os\.symlink.*)$", make.calls(), re.MULTILINE)[1]
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv/bin/python"
    subprocess.run([python, "-c", code], cwd=make.folder, check=True)
    found = subprocess.run(
        [python, "-c", "import deepnets; print(deepnets.__file__)"], cwd=tmp_path, capture_output=True, text=True
    ).stdout
    assert Path(found.strip()).samefile(root / "scripts/deepnets/__init__.py")


def test_setup_hands_the_torch_backend_to_uv_when_there_is_one(make):
    make("setup", TORCH_BACKEND="cpu")
    assert "--torch-backend cpu " in make.calls()
    assert "--constraints requirements.txt" in make.calls(), "-r would install the CUDA libraries all the same"
    shutil.rmtree(make.folder / ".venv")
    make("setup")
    assert "torch-backend" not in make.calls()


def test_setup_that_fails_with_a_torch_backend_says_where_its_builds_are(make):
    failed = make("setup", TORCH_BACKEND="cpu", BROKEN_NETWORK="2")
    assert failed.returncode == 2
    assert "if a server was not reached: this build of torch is on the server of PyTorch alone" in failed.stderr
    assert "server of PyTorch alone" not in make("setup", BROKEN_NETWORK="2").stderr
    assert not (make.folder / ".venv/.installed").exists()


@pytest.mark.parametrize("backend", ["", "cpu"])
def test_bench_has_an_environment_of_its_own_with_the_build_of_torch_that_setup_was_given(make, backend):
    make("setup", f"TORCH_BACKEND={backend}")
    assert "--extra bench" not in make.calls()
    assert make("bench").returncode == 0
    lines = make.calls().splitlines()
    assert lines[0] == "-m venv --clear --prompt deeper-networks .venv-bench"
    given = "--torch-backend cpu " if backend else ""
    assert lines[1].endswith(
        f"--python .venv-bench/bin/python {given}--requirements pyproject.toml --extra bench"
        " --constraints benchmarks/requirements.txt"
    )
    measurements = [
        "benchmarks/speed.py",
        "benchmarks/time_to_accuracy.py --study paper_jpeg --max-minutes 15",
    ]
    assert lines[2:] == measurements
    make("bench")
    assert make.calls().splitlines() == measurements
    assert make("distclean").returncode == 0
    assert not (make.folder / ".venv-bench").exists()


@pytest.mark.parametrize("target", ["bench", "distclean"])
def test_environment_that_make_bench_has_not_made_is_refused(make, target):
    (make.folder / ".venv-bench").mkdir()
    (make.folder / ".venv-bench/thesis.tex").touch()
    done = make(target)
    assert done.returncode != 0
    assert "make: .venv-bench was not made by make bench, and this would delete it" in done.stderr
    assert (make.folder / ".venv-bench/thesis.tex").exists()


def test_setup_that_failed_is_tried_again(make):
    assert make("setup", BROKEN_NETWORK="1").returncode != 0
    assert make("setup").returncode == 0
    assert "-m uv pip install" in make.calls()


def test_setup_with_another_python_starts_from_nothing_after_a_failure(make):
    make("setup", BROKEN_NETWORK="1")
    of_the_first = make.folder / ".venv/bin/python3.11"
    of_the_first.touch()
    assert make("setup").returncode == 0
    assert not of_the_first.exists()


def test_setup_refuses_a_python_out_of_range_in_one_line(make):
    done = make("setup", WRONG_VERSION="1")
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert done.returncode != 0
    assert len(lines) == 1
    assert "needs Python 3.11, 3.12 or 3.13" in lines[0]
    assert not (make.folder / ".venv").exists()


def test_report_runs_the_study_of_config_yaml_unless_another_is_named(make):
    make("report")
    assert make.calls().splitlines()[-2:] == [
        "-m snakemake results/report.md all --cores 4",
        "scripts/show_report.py",
    ]
    make("report", "STUDY=paper", "CORES=2")
    assert "-m snakemake results/report.md all --cores 2 --config study=paper" in make.calls()


def test_report_now_is_of_the_study_of_config_yaml_unless_another_is_named(make):
    make("report-now")
    assert make.calls().splitlines()[-1] == "scripts/report_now.py"
    make("report-now", "STUDY=paper")
    assert make.calls().splitlines()[-1] == "scripts/report_now.py --study paper"


def test_status_and_watch_are_of_the_study_of_config_yaml_unless_another_is_named(make):
    make("status")
    make("watch", "STUDY=paper")
    assert make.calls().splitlines()[-1] == "scripts/status.py --watch --study paper"
    make("status")
    assert make.calls() == "scripts/status.py\n"


@pytest.mark.parametrize(
    ("target", "call"),
    [
        ("report", "-m snakemake results/report.md all --cores 4 {} --config study=a"),
        ("report-now", "scripts/report_now.py {} --study a"),
        ("search", "scripts/search.py a --cores 4 {}"),
        ("status", "scripts/status.py {} --study a"),
        ("watch", "scripts/status.py --watch {} --study a"),
        ("why", "scripts/why.py {} --study a"),
        ("bundle", "-m snakemake --cores 4 results/a/bundle.zip {}"),
    ],
)
def test_every_command_that_reads_the_configuration_takes_a_file_of_its_own(make, target, call):
    make(target, "STUDY=a", "EXPERIMENT=results/a", "CONFIGFILE=it's a.yaml")
    assert call.format("--configfile it's a.yaml") in make.calls().splitlines()


def test_compare_takes_two_states_whatever_is_in_their_names(make):
    make("compare", "A=HEAD~1:runs/it's", "B=new results")
    assert make.calls().splitlines()[-1] == "scripts/compare_states.py HEAD~1:runs/it's new results"
    done = make("compare", "A=HEAD")
    assert done.returncode == 2
    assert "name both states: make compare A=HEAD~1:docs/runs/demo B=results" in done.stderr


def test_search_is_the_one_that_is_named(make):
    make("search", "STUDY=rates", "CORES=2")
    assert make.calls().splitlines()[-1] == "scripts/search.py rates --cores 2"
    done = make("search")
    assert done.returncode == 2
    assert "name a search of config.yaml: make search STUDY=rates" in done.stderr


def test_bundle_makes_the_zip_of_an_experiment(make):
    make("bundle", "EXPERIMENT=results/a/b/quick/seed0/")
    assert make.calls().splitlines()[-1] == "-m snakemake --cores 4 results/a/b/quick/seed0/bundle.zip"
    done = make("bundle")
    assert done.returncode == 2
    assert "name an experiment: make bundle EXPERIMENT=" in done.stderr


def test_serve_takes_an_experiment_and_a_port(make):
    make("serve", "EXPERIMENT=results/it's", "PORT=8001")
    assert make.calls().splitlines()[-1] == "scripts/serve.py results/it's --port 8001"
    make("serve", "EXPERIMENT=a")
    assert make.calls() == "scripts/serve.py a\n"
    done = make("serve")
    assert done.returncode == 2
    assert "name an experiment: make serve EXPERIMENT=" in done.stderr


@pytest.mark.parametrize("value", ["0", "", "x", "-1", "04", "1.5", "a'b", "2 3"])
def test_wrong_number_of_cores_is_answered_before_anything_is_installed(make, value):
    done = make("report", f"CORES={value}")
    assert done.returncode == 2
    assert f"CORES='{value}' must be a number of cores from 1 up; write: make report CORES=2" in done.stderr
    assert make.calls() == ""


@pytest.mark.parametrize("setting", ["cores=2", "Cores=2", "study=paper", "configfile=a.yaml", "torch_backend=cpu"])
def test_setting_in_other_letters_is_answered(make, setting):
    done = make("report", setting)
    name, value = setting.split("=")
    assert done.returncode == 2
    assert f"write this setting in capitals: {name.upper()}={value}" in done.stderr
    assert make.calls() == ""


def test_study_with_a_quote_in_its_name_reaches_snakemake_as_it_is(make):
    assert make("report", "STUDY=a'b").returncode == 0
    assert "study=a'b" in make.calls()


@pytest.mark.parametrize(("home", "given"), [(None, True), ("/nonexistent", True), (".", False)])
def test_make_gives_a_home_to_whom_has_none(root, tmp_path, home, given):
    shutil.copy(root / "Makefile", tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    environment |= {} if home is None else {"HOME": home}
    command = ["make", "--silent", "--eval", "home: ; @echo $$HOME", "home"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (f"{tmp_path}/.snakemake/home" if given else ".")
    assert (tmp_path / ".snakemake/home").is_dir() == given


def test_report_uses_the_environment_and_ignores_pythonpath(make):
    make("report", PYTHONPATH="/elsewhere")
    (make.folder / ".venv/bin/python").write_text('#!/bin/sh\necho "path=$PYTHONPATH" >> "$CALLS"\n')
    make("report", PYTHONPATH="/elsewhere")
    assert set(make.calls().splitlines()) == {"path="}


OF_EXPERIMENT = ("metrics.json", "predictions.csv", "robustness.json", "model.onnx", "MODEL_CARD.md", "bundle.zip")
OF_EXPERIMENT += (".resume/a.json", ".train.lock", "model_onnx.json", "model_fp16.onnx", "model_int8.json", "model.pt2")
OF_EXPERIMENT += ("model_pt2.json",)


def test_clean_keeps_downloads_and_the_environment(make):
    """But raw.json goes: without Snakemake's records, it could describe images that have changed since."""
    kept = [f"data/mnist/raw/{name}" for name in ("images.gz", ".downloaded")] + [
        ".venv/bin/python",
        "results/.gitkeep",
    ]
    kept += ["results/thesis.tex", "results/predictions.csv", "results/mnist/vgg16/comparison/seed0/thesis.tex"]
    of_data = ("raw.json", "train_images.npy", "dataset.json", "audit.json", ".audit.sha256")
    gone = [f"data/mnist/{name}" for name in of_data] + [".snakemake/x"]
    gone += [f"results/mnist/vgg16/quick/seed0/{name}" for name in OF_EXPERIMENT]
    gone += [f"results/{name}" for name in ("report.md", "mnist/vgg16/summary.json", "mnist/comparison/accuracy.png")]
    gone += ["results/mnist/vgg16/latency.json", "results/report.pages/mnist/vgg16/quick/seed0.md"]
    gone += [f"results/{name}" for name in ("environment-a.json", "metrics-a.csv", "mnist/comparison-a/accuracy.png")]
    for name in kept + gone:
        (make.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (make.folder / name).touch()
    assert make("clean").returncode == 0
    assert [name for name in kept + gone if (make.folder / name).exists()] == kept
    (make.folder / ".venv/.installed").touch()
    assert make("distclean").returncode == 0
    assert [name for name in kept if (make.folder / name).exists()] == kept[3:]
    assert not (make.folder / "data").exists()


def test_published_weights_are_downloads_that_clean_keeps_and_distclean_removes(make):
    fetched = ["weights.safetensors", "weights.json", "resnet18-f37072fd.pth", ".fetch_weights.lock"]
    ours = [make.folder / f"data/_weights/{name}" for name in (f"torchvision/resnet18/{each}" for each in fetched)]
    ours.append(make.folder / "data/_weights/timm/convnext_atto/.fetch_weights.sha256")
    mine = make.folder / "data/_weights/mine.pth"
    for file in [*ours, mine]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert make("clean").returncode == 0
    assert all(file.exists() for file in ours)
    assert make("distclean").returncode == 0
    assert [path for path in (make.folder / "data").rglob("*") if path.is_file()] == [mine]


def test_distclean_deletes_no_weights_behind_a_link(make, tmp_path):
    weights = tmp_path / "disk/timm/resnet18/weights.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()
    (make.folder / "data").mkdir()
    (make.folder / "data/_weights").symlink_to(tmp_path / "disk")
    done = make("distclean")
    assert done.returncode != 0
    assert "make: data/_weights is a link" in done.stderr
    assert weights.exists()


@pytest.mark.parametrize("target", ["setup", "distclean"])
@pytest.mark.parametrize("kind", ["link", "link to nothing", "images", "environment", "file"])
def test_what_make_setup_has_not_made_is_refused_in_one_line_and_stays(make, tmp_path, target, kind):
    elsewhere, venv = tmp_path / "disk", make.folder / ".venv"
    elsewhere.mkdir()
    (elsewhere / "thesis.tex").write_text("years of work")
    if kind == "link to nothing":
        venv.symlink_to(tmp_path / "nowhere")
    elif kind == "file":
        venv.write_text("mine")
    elif kind == "link":
        venv.symlink_to(elsewhere)
    else:
        venv.mkdir()
        (venv / "photo.jpg").touch()
        if kind == "environment":
            (venv / "pyvenv.cfg").write_text("home = /usr/bin\nprompt = 'other'\n")
    before = sorted(venv.parent.rglob("*"))
    done = make(target)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert done.returncode != 0
    assert len(lines) == 1
    assert re.search(r"remove the link first: rm \.venv|move it away: mv \.venv other-venv", lines[0])
    assert sorted(venv.parent.rglob("*")) == before
    assert (elsewhere / "thesis.tex").read_text() == "years of work"
    assert "-m venv" not in make.calls()


def test_setup_takes_an_empty_folder_for_its_environment(make):
    (make.folder / ".venv").mkdir()
    assert make("setup").returncode == 0


@pytest.mark.parametrize("name", ["results", "data"])
def test_clean_deletes_nothing_behind_a_link(make, tmp_path, name):
    elsewhere = tmp_path / "disk"
    (elsewhere / "mnist").mkdir(parents=True)
    (elsewhere / "mnist/raw.json").touch()
    shutil.rmtree(make.folder / name, ignore_errors=True)
    (make.folder / name).symlink_to(elsewhere)
    done = make("clean")
    assert done.returncode != 0
    assert f"make: {name} is a link" in done.stderr
    assert (elsewhere / "mnist/raw.json").exists()


@pytest.mark.parametrize("target", ["clean", "distclean"])
def test_images_of_the_user_in_data_are_kept(make, target):
    mine = ["data/birds/train/owl/1.jpg", "data/birds/labels.csv", "data/birds/.git/HEAD", "data/photos.zip"]
    mine += ["data/birds/thermal_images.npy", "data/birds/.backup-20240101.tar", "data/birds/raw/1.CR2"]
    ours = ["data/birds/raw.json", "data/birds/.unfinished/ab/1.npz", "data/birds/.raw.deepnets-abcdefgh.json"]
    for name in [*mine, *ours]:
        (make.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (make.folder / name).touch()
    assert make(target).returncode == 0
    files = {path.relative_to(make.folder).as_posix() for path in (make.folder / "data").rglob("*") if path.is_file()}
    assert files == set(mine)
