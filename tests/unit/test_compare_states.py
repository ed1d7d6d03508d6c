"""`make compare`: what differs between two states of a study, what moved, which test images flipped."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import compare_states
from deepnets.comparison.changes import IMAGES, SAME_IMAGES
from deepnets.reporting.state_changes import compare_states as page_of
from deepnets.reporting.states import open_state
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json, write_json

BETTER_BY_MCNEMAR = "**better**, beyond the noise of the flipped images (McNemar, p = 0.0078)"


@pytest.fixture
def write_experiment(experiment, tmp_path) -> Callable[..., Path]:
    """Write one finished experiment into a folder of results, without predictions; return its directory."""

    def write(folder: Path, **options) -> Path:
        written = experiment(**options)
        (written / "predictions.safetensors").unlink(missing_ok=True)
        target = folder / written.relative_to(tmp_path / "results")
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        return written.rename(target)

    return write


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def compare(before: str = "a", after: str = "b") -> str:
    with open_state(before) as old, open_state(after) as new:
        return page_of(old, new)


def predictions(folder: Path, wrong: dict[int, int], n: int = 360) -> None:
    """Write predictions of ten classes; `wrong` gives the wrong class of an image by its index."""
    labels = np.arange(n) % 10
    predicted = labels.copy()
    for index, label in wrong.items():
        predicted[index] = label
    logits = np.eye(10, dtype=np.float32)[predicted]
    save_file({"test_logits": logits, "test_labels": labels}, folder / "predictions.safetensors")


def cells(page: str, start: str) -> list[str]:
    """The cells of the first row of a table that starts so."""
    return next(line for line in page.splitlines() if line.startswith(f"| {start}")).strip("| ").split(" | ")


# -- what differs ----------------------------------------------------------------------------------------------------


def test_equal_states_differ_in_nothing(write_experiment):
    for folder in ("a", "b"):
        write_experiment(Path(folder))
    page = compare()
    assert page.startswith("# From <code>a</code> to <code>b</code>\n\nSettings, code and versions are the same")
    assert cells(page, "ResNet50")[-1] == "the same"
    assert "## Settings" not in page
    assert "## Test images" not in page


def test_a_seed_that_one_state_lacks_makes_no_other_fold_a_difference(write_experiment):
    for folder, seeds in {"a": (0, 1), "b": (1,)}.items():
        for seed in seeds:
            file = write_experiment(Path(folder), seed=seed, n_test=40 - seed) / "metrics.json"
            metrics = read_json(file)
            metrics["spec"]["dataset"] |= {"fold": seed, "folds": 2}
            write_json(file, metrics)
    page = compare()
    assert cells(page, "seeds")[:3] == ["seeds", "0, 1", "1"]
    assert "dataset.fold" not in page
    assert "test_images" not in page


def test_only_settings_that_differ_are_listed_with_both_values(write_experiment):
    write_experiment(Path("a"), lr=0.1)
    write_experiment(Path("b"), lr=0.2)
    page = compare()
    assert cells(page, "recipe.lr") == ["recipe.lr", "0.1", "0.2", "ResNet50 on digits, quick"]
    assert "recipe.epochs" not in page
    assert "spec_sha256" not in page


def test_a_setting_that_differs_everywhere_is_listed_once(write_experiment):
    for model in ("resnet50", "vgg16"):
        write_experiment(Path("a"), model=model, epochs=2)
        write_experiment(Path("b"), model=model, epochs=3)
    assert cells(compare(), "recipe.epochs") == ["recipe.epochs", "2", "3", "all experiments"]


def test_experiments_of_one_state_only_are_named(write_experiment):
    write_experiment(Path("a"))
    write_experiment(Path("b"), model="vgg16")
    page = compare()
    assert "Only in <code>a</code>: ResNet50 on digits, quick." in page
    assert "Only in <code>b</code>: VGG-16 on digits, quick." in page
    assert "so no metric is compared" in page


def test_other_versions_machines_and_seeds_are_listed(write_experiment):
    write_experiment(Path("a"), threads=1)
    write_experiment(Path("b"), threads=2)
    write_experiment(Path("b"), threads=2, seed=1)
    for folder, version in (("a", "2.14.0"), ("b", "2.15.0")):
        write_json(f"{folder}/environment.json", {"python": "3.12", "packages": {"torch": version, "numpy": "2"}})
    page = compare()
    assert cells(page, "torch") == ["torch", "2.14.0", "2.15.0"]
    assert cells(page, "threads") == ["threads of training", "1", "2"]
    assert cells(page, "seeds")[1:3] == ["0", "0, 1"]
    assert "numpy" not in page
    assert "python" not in page


def test_table_of_a_study_by_its_name_is_read_with_its_own_environment(write_experiment):
    for folder, version in (("a", "2.14.0"), ("b", "2.15.0")):
        write_experiment(Path(folder))
        table_of(Path(folder)).rename(f"{folder}/metrics-sweep.csv")
        write_json(f"{folder}/environment.json", {"packages": {"torch": "1.0.0"}})
        write_json(f"{folder}/environment-sweep.json", {"packages": {"torch": version}})
    assert cells(compare("a/metrics-sweep.csv", "b/metrics-sweep.csv"), "torch") == ["torch", "2.14.0", "2.15.0"]


def test_commits_and_the_code_files_that_differ_between_them_are_named(write_experiment, monkeypatch):
    for folder in ("a", "b"):
        write_experiment(Path(folder))
    commits = git_history(write_experiment, Path("repository"))
    write_json("a/environment.json", {"git_commit": commits[0], "git_modified": False})
    write_json("b/environment.json", {"git_commit": commits[1], "git_modified": True})
    a, b = Path("a").resolve(), Path("b").resolve()
    monkeypatch.chdir("repository")
    page = compare(str(a), str(b))
    assert f"<code>{commits[0][:12]}</code> and by <code>{commits[1][:12]}</code> with changes" in page
    assert "1 files of code and configuration differ: <code>config.yaml</code>." in page
    monkeypatch.chdir(a)
    assert "not known here" in compare(str(a), str(b))


# -- what moved ------------------------------------------------------------------------------------------------------


def test_one_seed_is_judged_by_the_test_images(write_experiment):
    write_experiment(Path("a"), accuracy=0.90)
    write_experiment(Path("b"), accuracy=0.97)
    row = cells(compare(), "ResNet50")
    assert row[:5] == ["ResNet50 on digits, quick", "1", "90.00", "96.94", "+6.94"]
    assert row[-1] == "**better**, beyond the noise of the images"
    write_experiment(Path("b"), accuracy=0.91)
    assert cells(compare(), "ResNet50")[-1] == "within the noise of the images"
    assert "that takes several seeds): Validation accuracy" not in compare()
    assert "Test loss" in compare()


def test_several_seeds_are_judged_by_their_spread(write_experiment):
    for seed, accuracy in enumerate((0.80, 0.90, 0.70)):
        write_experiment(Path("a"), seed=seed, accuracy=accuracy)
        write_experiment(Path("b"), seed=seed, accuracy=accuracy + 0.05)
    assert cells(compare(), "ResNet50")[-1] == "within the noise of the spread over seeds"


def test_other_metrics_that_moved_are_listed_with_their_noise(write_experiment):
    for seed in range(3):
        write_experiment(Path("a"), seed=seed, accuracy=0.95 - seed / 1000, wall_seconds=60 + seed)
        write_experiment(Path("b"), seed=seed, accuracy=0.95 - seed / 1000, wall_seconds=20 + seed)
    page = compare().partition("## Other metrics that moved")[2]
    assert cells(page, "ResNet50")[:4] == ["ResNet50 on digits, quick", "Training (s)", "61.0", "21.0"]
    assert cells(page, "ResNet50")[-1] == "the spread over seeds"


# -- which images flipped --------------------------------------------------------------------------------------------


def test_flipped_images_are_counted_named_and_tested(write_experiment):
    folders = [write_experiment(Path(folder), accuracy=0.97) for folder in ("a", "b")]
    predictions(folders[0], {7: 1, 20: 2, 30: 3})
    predictions(folders[1], {7: 1, 20: 4, 41: 5})
    page = compare()
    section = page.partition("## Test images that flipped")[2]
    assert cells(section, "ResNet50") == ["ResNet50 on digits, quick", "0", "1", "1", "1", "1"]
    assert "image 20 (0): 2, now 4; image 30 (0): 3, now 0; image 41 (1): 1, now 5." in section
    assert "image 7 " not in section


def test_one_seed_with_predictions_is_judged_by_mcnemar(write_experiment):
    folders = [write_experiment(Path(folder), accuracy=accuracy) for folder, accuracy in (("a", 0.95), ("b", 0.97))]
    predictions(folders[0], {index: 9 - index % 10 for index in range(18)})
    predictions(folders[1], {index: 9 - index % 10 for index in range(10)})
    assert cells(compare(), "ResNet50")[-1] == BETTER_BY_MCNEMAR


def test_one_seed_with_predictions_has_its_other_metrics_judged(write_experiment):
    folders = [write_experiment(Path(folder), accuracy=accuracy) for folder, accuracy in (("a", 0.85), ("b", 1.0))]
    predictions(folders[0], {index: 9 - index % 10 for index in range(54)})
    predictions(folders[1], {})
    section = compare().partition("## Other metrics that moved beyond their noise")[2]
    for title in ("Test precision macro (%), better", "Test recall macro (%), better", "Test loss, better"):
        assert cells(section, f"ResNet50 on digits, quick | {title}")[-1] == SAME_IMAGES


def test_several_seeds_with_predictions_are_paired_by_seed(write_experiment):
    for seed, wrong in enumerate((72, 36, 108)):
        for folder, fewer in (("a", 0), ("b", 18)):
            accuracy = 1 - (wrong - fewer) / 360
            written = write_experiment(Path(folder), seed=seed, accuracy=accuracy)
            predictions(written, {index: 9 - index % 10 for index in range(fewer, wrong)})
    assert cells(compare(), "ResNet50")[-1] == "**better**, beyond the noise of the images and seeds, the same for both"
    (Path("a/digits/resnet50/quick/seed1/predictions.safetensors")).unlink()
    assert cells(compare(), "ResNet50")[-1] == "within the noise of the spread over seeds"


def test_folds_which_share_no_image_are_not_paired(write_experiment):
    for folder in ("a", "b"):
        for seed in range(2):
            written = write_experiment(Path(folder), seed=seed, accuracy=0.9 if folder == "a" else 0.95)
            predictions(written, {}, n=360 - seed)
            metrics = read_json(written / "metrics.json")
            metrics["spec"]["dataset"]["fold"] = seed
            write_json(written / "metrics.json", metrics)
    assert cells(compare(), "ResNet50")[-1].endswith(f"the noise of {IMAGES}")


def test_predictions_of_other_images_are_not_compared(write_experiment):
    folders = [write_experiment(Path(folder)) for folder in ("a", "b")]
    predictions(folders[0], {})
    predictions(folders[1], {}, n=350)
    assert "## Test images" not in compare()


def test_a_model_with_the_name_of_another_network_is_called_as_the_user_wrote_it(write_experiment):
    for folder, accuracy in (("a", 0.9), ("b", 0.95)):
        write_experiment(Path(folder), model="convnext", architecture="resnet50", accuracy=accuracy)
    page = compare()
    assert "| convnext on digits, quick |" in page
    assert "ConvNeXt" not in page


def test_damaged_predictions_are_named(write_experiment):
    folders = [write_experiment(Path(folder)) for folder in ("a", "b")]
    predictions(folders[0], {})
    (folders[1] / "predictions.safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match=r"predictions\.safetensors: damaged \(.*delete it"):
        compare()
    logits = np.zeros((5, 3), np.float32)
    for wrong_logits, wrong_labels, said in (
        (logits, np.arange(4), "test_logits and test_labels are float32"),
        (logits, np.arange(5), "test_labels are not all from 0 to 2"),
        (np.zeros(5), np.zeros(5), "test_logits and test_labels are float64"),
    ):
        save_file({"test_logits": wrong_logits, "test_labels": wrong_labels}, folders[1] / "predictions.safetensors")
        with pytest.raises(UserError, match=rf"predictions\.safetensors: damaged \({said}"):
            compare()


# -- states ----------------------------------------------------------------------------------------------------------


def table_of(folder: Path) -> Path:
    """Write the metrics.csv of a folder's experiments, as the report does."""
    from deepnets.evaluation.results import read_result
    from deepnets.reporting.tables import metrics_csv

    results = [read_result(file.parent) for file in sorted(folder.rglob("metrics.json"))]
    file = folder / "metrics.csv"
    file.write_text(metrics_csv(results))
    return file


def test_two_tables_alone_are_compared_by_the_hash_of_their_settings(write_experiment):
    for folder, lr in (("a", 0.1), ("b", 0.2)):
        write_experiment(Path(folder), lr=lr)
        Path(f"{folder}.csv").write_text(table_of(Path(folder)).read_text())
    page = compare("a.csv", "b.csv")
    assert cells(page, "all settings")[0] == "all settings together (SHA-256)"
    assert cells(compare("a/metrics.csv", "b/metrics.csv"), "recipe.lr")[1:3] == ["0.1", "0.2"], "files next to it"


def test_results_of_another_version_may_lack_metrics_and_have_others(write_experiment):
    folders = [write_experiment(Path(folder)) for folder in ("a", "b")]
    metrics = read_json(folders[0] / "metrics.json")
    del metrics["test"]["ece"], metrics["test"]["per_class"]
    write_json(folders[0] / "metrics.json", {**metrics, "schema_version": 0, "new": [1]})
    assert cells(compare(), "ResNet50")[-1] == "the same"
    write_json(folders[0] / "metrics.json", {"spec": metrics["spec"]})
    with pytest.raises(UserError, match=r"metrics\.json: damaged \(KeyError\('train'\)\); delete it"):
        compare()


def test_a_project_folder_stands_for_its_results(write_experiment):
    write_experiment(Path("old/results"))
    write_experiment(Path("b"))
    assert "# From <code>old</code>" in compare("old", "b")


def git_history(write_experiment: Callable[..., Path], folder: Path) -> list[str]:
    """Make a repository with two commits, each with a run in docs/run; return the commits."""
    commits = []
    for lr in (0.1, 0.2):
        write_experiment(folder / "docs/run", lr=lr)
        table_of(folder / "docs/run")
        (folder / "config.yaml").write_text(f"lr: {lr}\n")
        author = ("-c", "user.name=A", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false")
        for arguments in (("init", "--quiet"), ("add", "."), (*author, "commit", "--quiet", "--message", "run")):
            subprocess.run(["git", *arguments], cwd=folder, check=True)
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True)
        commits.append(head.stdout.strip())
    return commits


def test_two_git_revisions_are_compared_by_the_files_that_they_hold(write_experiment, monkeypatch):
    git_history(write_experiment, Path("repository"))
    monkeypatch.chdir("repository")
    for before, after in (
        ("HEAD~1", "HEAD"),
        ("HEAD~1:docs/run", "docs/run"),
        ("HEAD~1:docs/run/metrics.csv", "HEAD:docs/run/metrics.csv"),
    ):
        assert cells(compare(before, after), "recipe.lr")[1:3] == ["0.1", "0.2"]
    table_of(write_experiment(Path("docs/other")).parents[3])
    subprocess.run(["git", "add", "."], check=True)
    author = ("-c", "user.name=A", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *author, "commit", "--quiet", "-m", "two"], check=True)
    with pytest.raises(UserError, match=r"^HEAD: this revision has several \(.*\); write HEAD:docs/other$"):
        compare("HEAD", "HEAD")
    with pytest.raises(UserError, match=r"^HEAD:runs: HEAD has no runs; write HEAD:docs/other$"):
        compare("HEAD:runs", "HEAD")


def test_what_is_no_state_is_a_plain_line():
    Path("empty").mkdir()
    Path("wrong.csv").write_text("a,b\n1,2\n")
    for given, message in (
        ("missing", "no such folder, metrics.csv or git revision"),
        ("--output=x", "no such folder, metrics.csv or git revision"),
        ("empty", "no results: neither metrics.csv nor"),
        ("wrong.csv", "not a metrics.csv of a study"),
    ):
        with pytest.raises(UserError, match=message):
            compare(given, given)


def test_script_prints_the_page_and_ends_with_0(write_experiment, capsys):
    for folder in ("a", "b"):
        write_experiment(Path(folder))
    compare_states.main(["a", "b"])
    assert capsys.readouterr().out == compare()


def test_committed_run_of_the_demo_is_equal_to_itself(root):
    demo = str(root / "docs/runs/demo")
    page = compare(demo, f"{demo}/metrics.csv")
    assert "Settings, code and versions are the same" in page
    assert page.count("the same") == 5
