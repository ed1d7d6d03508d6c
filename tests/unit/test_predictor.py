"""Trained networks in use: in Python, and by scripts/predict.py."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from predict_rows import predict_rows
from safetensors.torch import load_file, safe_open
from scipy.special import softmax
from tiny_dataset import build
from tiny_experiment import CLASSES, error_line, evaluate, job_with, set_temperature, train

import explain as explain_script
import predict as predict_script
import serve as serve_script
from deepnets import Model, load
from deepnets.data.pictures import prepare_picture
from deepnets.training.experiment_dir import load_model_file
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json
from deepnets.utils.tensors import save_tensors

pytestmark = pytest.mark.usefixtures("process_as_it_was")


@pytest.fixture(scope="module")
def expected(finished):
    """Probabilities of the test images, as the evaluation computed them."""
    return softmax(load_file(finished / "predictions.safetensors")["test_logits"].numpy(), axis=1)


@pytest.fixture(scope="module")
def images(data):
    """Return the test images, uint8 (21, 8, 8, 1)."""
    return np.load(data.parent / "test_images.npy")


@pytest.fixture(scope="module")
def folder(images, tmp_path_factory):
    """Write the test images as files; return their folder."""
    folder = tmp_path_factory.mktemp("pictures")
    for index, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(folder / f"{index:02}.png")
    return folder


@pytest.fixture
def rows(capfd):
    """Call scripts/predict.py; return the rows that it prints: `rows(*arguments, code=0) -> list of dicts`."""

    def call(*arguments, **options):
        found, call.errors = predict_rows(capfd, *arguments, **options)
        return found

    return call


def probabilities(predictions):
    return np.stack([each.probabilities for each in predictions])


def test_predictions_of_the_test_images_are_those_of_the_evaluation(finished, folder, images, expected):
    model = load(finished, device="cpu", temperature=1)
    files = sorted(folder.iterdir())
    assert np.abs(probabilities(model.predict(files)) - expected).max() < 1e-5
    assert np.abs(probabilities(model.predict(list(images))) - expected).max() < 1e-5
    assert np.abs(probabilities(model.predict([Image.open(file) for file in files])) - expected).max() < 1e-5
    best = model.predict(files[:1])[0]
    assert (best.label, best.probability) == best.top(2)[0] == (CLASSES[expected[0].argmax()], best.probability)


@pytest.mark.parametrize("non_square", ["pad", "squash"])
def test_files_become_the_arrays_of_the_dataset_that_the_network_was_trained_on(non_square, tmp_path):
    """They are larger than the network's images, not square, and of 12 bits."""
    draws, pictures, folder = np.random.default_rng(0), tmp_path / "pictures", tmp_path / "experiment"
    for index in range(42):
        file = pictures / ("train" if index < 33 else "test") / CLASSES[index % 3] / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        brightest = 1365 * (index % 3 + 1)
        Image.fromarray(draws.integers(brightest, size=(20, 30), dtype=np.uint16)).save(file)
    rules = {"non_square": non_square, "bit_depth": 12}
    data = build(tmp_path, "folder", path=str(pictures), size=8, channels=1, **rules)
    job = job_with()
    job["spec"]["dataset"] = read_json(data)["spec"] | {"horizontal_flip": False}
    train(data, folder, job)
    evaluate(data, folder, job)
    model, files = load(folder, device="cpu", temperature=1), sorted(pictures.glob("test/*/*"))
    prepared = [prepare_picture(file, model.form).pixels for file in files]
    assert np.array_equal(prepared, np.load(data.with_name("test_images.npy")))
    logits = load_file(folder / "predictions.safetensors")["test_logits"].numpy()
    assert np.abs(probabilities(model.predict(files)) - softmax(logits, axis=1)).max() < 1e-5


def test_a_weights_file_alone_is_enough(finished, images, expected, tmp_path):
    alone = shutil.copy(finished / "model.safetensors", tmp_path / "mine.safetensors")
    assert np.abs(probabilities(load(alone, device="cpu").predict(list(images))) - expected).max() < 1e-5
    with safe_open(alone, "np") as file:
        metadata = file.metadata()
    assert json.loads(metadata["preprocessing"])["pixel_scale"] == 255


def test_several_threads_may_predict_at_once(finished, folder, expected):
    model, files = load(finished, device="cpu", temperature=1), sorted(folder.iterdir())
    with ThreadPoolExecutor(4) as threads:
        for predictions in threads.map(model.predict, [files] * 12):
            assert np.abs(probabilities(predictions) - expected).max() < 1e-5


def test_temperature_divides_the_logits(finished, images):
    logits = load_file(finished / "predictions.safetensors")["test_logits"].numpy()
    found = probabilities(load(finished, device="cpu", temperature=2).predict(list(images)))
    assert np.abs(found - softmax(logits / 2, axis=1)).max() < 1e-5


def test_an_experiment_brings_the_temperature_of_its_validation_images(copy, images, caplog):
    logits = set_temperature(copy, 2.5)
    with caplog.at_level("INFO", "deepnets"):
        model = load(copy, device="cpu")
    assert model.temperature == pytest.approx(2.5, rel=2e-3)
    assert np.abs(probabilities(model.predict(list(images))) - softmax(logits / model.temperature, axis=1)).max() < 1e-5
    assert caplog.messages == [f"{copy}: temperature 2.5, fitted on its validation images"]


def test_an_experiment_without_predictions_leaves_the_logits_as_they_are(copy, images, expected, caplog):
    (copy / "predictions.safetensors").unlink()
    with caplog.at_level("INFO", "deepnets"):
        found = probabilities(load(copy, device="cpu").predict(list(images)))
    assert np.abs(found - expected).max() < 1e-5
    assert caplog.messages == [f"{copy}: temperature 1, as there is no predictions.safetensors to fit one"]


def test_an_experiment_that_gets_all_validation_images_right_has_no_temperature(copy, caplog):
    set_temperature(copy, 1, mistakes=False)
    with caplog.at_level("INFO", "deepnets"):
        assert load(copy, device="cpu").temperature == 1
    assert caplog.messages == [
        f"{copy}: temperature 1, as its validation images do not show that another one is better"
    ]


def test_a_temperature_is_not_fitted_on_predictions_of_other_settings(copy):
    tensors = load_file(copy / "predictions.safetensors")
    save_tensors(copy / "predictions.safetensors", tensors, {"spec_sha256": "0"})
    with pytest.raises(UserError, match=r"predictions\.safetensors: of other settings than .*model\.safetensors"):
        load(copy, device="cpu")
    assert load(copy, device="cpu", temperature=1).temperature == 1


def test_torch_keeps_its_settings(finished):
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    torch.use_deterministic_algorithms(not before[0])
    load(finished, device="cpu")
    assert (torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()) == (not before[0], before[1])
    torch.use_deterministic_algorithms(before[0])


def test_broken_pictures_are_all_named(finished, folder, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(UserError) as error:
        load(finished, device="cpu").predict([folder / "00.png", tmp_path / "text.png", np.zeros((8, 8))])
    assert [line.partition(": ")[0] for line in str(error.value).splitlines()] == [f"{tmp_path}/text.png", "picture 2"]


def test_what_is_no_trained_network_is_refused_and_never_to_be_deleted(finished, folder, tmp_path):
    with pytest.raises(UserError, match="does not exist; give the folder of a trained experiment"):
        load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    save_tensors(tmp_path / "of_timm.safetensors", {"a": torch.zeros(1)}, {"format": "pt"})
    (tmp_path / "model.onnx").write_bytes(b"\x08\x0a")
    for path in (tmp_path, folder / "00.png", tmp_path / "model.onnx", tmp_path / "of_timm.safetensors"):
        with pytest.raises(UserError) as error:
            load(path)
        assert "is no weights file of this program, or a damaged one; give the folder of a trained" in str(error.value)


def test_a_weights_file_that_breaks_off_is_to_be_copied_again_where_the_user_named_it(finished, tmp_path):
    content = (finished / "model.safetensors").read_bytes()
    (tmp_path / "mine.safetensors").write_bytes(content[:-1])
    with pytest.raises(UserError, match=r"damaged \(.*\); copy it again, or give another file\."):
        load(tmp_path / "mine.safetensors")


def test_what_the_workflow_wrote_and_is_damaged_may_be_deleted(copy):
    (copy / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"model\.safetensors: damaged, its checksum has changed; delete it"):
        load(copy)


@pytest.mark.parametrize("script", [predict_script, explain_script, serve_script])
def test_a_wrong_path_is_refused_before_torch_is_loaded(script, folder, tmp_path, caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # an import fails
    output = [] if script is serve_script else [str(folder), "--output", str(tmp_path / "out")]
    line = error_line(caplog, script.main, [str(folder / "00.png"), *output])
    assert line.startswith(f"error: {folder}/00.png: is no weights file of this program")


ARRAYS = [np.zeros(shape, np.uint8) for shape in ((8, 8), (8, 8, 1), (8, 8, 3), (8, 8, 4))]


@pytest.mark.parametrize("single", ["a.png", b"no list", Image.new("L", (8, 8)), *ARRAYS])
def test_a_single_picture_instead_of_a_list_is_refused(finished, single):
    with pytest.raises(UserError, match=r"write predict\(\[picture\]\)"):
        load(finished, device="cpu").predict(single)


def test_an_array_of_gray_pictures_is_many(finished):
    gray = np.random.default_rng(0).integers(256, size=(3, 9, 7), dtype=np.uint8)
    model = load(finished, device="cpu")
    found, expected = model.predict(gray), model.predict([*gray])
    assert [str(each) for each in found] == [str(each) for each in expected]
    assert len(found) == 3


@pytest.fixture
def without_numbers(monkeypatch):
    """Let networks answer NaN for pictures whose first pixel is below 30, of which there are some."""
    logits = Model.logits

    def broken(model, images):
        return np.where(images[:, 0, 0] < 30, np.float32(np.nan), logits(model, images))

    monkeypatch.setattr(Model, "logits", broken)


@pytest.mark.usefixtures("without_numbers")
def test_an_answer_that_is_no_number_is_a_line_for_each_such_picture(finished, folder, images, rows):
    broken = [f"{folder}/{index:02}.png" for index in np.flatnonzero(images[:, 0, 0, 0] < 30)]
    assert 0 < len(broken) < len(images)
    for options in ([], ["--committee", finished]):
        assert len(rows(finished, folder, *options, code=1)) == len(images) - len(broken)
        lines = [line for line in rows.errors if "the network's answer is not a number (NaN)" in line]
        assert [line.partition(": ")[0] for line in lines] == broken
    with pytest.raises(UserError) as error:
        load(finished, device="cpu").predict(sorted(folder.iterdir()))
    assert [line.partition(": the network's")[0] for line in str(error.value).splitlines()] == broken


@pytest.mark.parametrize("recipe", [{}, {"recipe": {"epochs": 1, "batch_size": 8, "warp": 3}}])
def test_weights_of_another_version_are_refused(finished, tmp_path, recipe):
    tensors, metadata = load_model_file(finished / "model.safetensors")
    spec = {key: value for key, value in metadata["spec"].items() if key != "recipe"} | recipe
    save_tensors(tmp_path / "model.safetensors", tensors, metadata | {"spec": spec})
    with pytest.raises(UserError, match="made by another version of this program"):
        load(tmp_path)


def test_script_predicts_files_folders_archives_and_patterns(finished, folder, expected, rows, tmp_path):
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    found = rows(finished, folder, packed, f"{folder}/0*.png", "--top", 3, "--temperature", 1)
    assert rows.errors == []
    found[21:] = sorted(found[21:], key=lambda row: row["file"])  # an archive has its own order
    assert [row["file"] for row in found] == [
        f"{where}/{index:02}.png" for where in (folder, packed) for index in range(21)
    ]
    for row, probabilities in zip(found, [*expected, *expected], strict=True):
        best = np.argsort(-probabilities)
        assert [row["class"], row["class_2"], row["class_3"]] == [CLASSES[index] for index in best]
        columns = ("probability", "probability_2", "probability_3")
        assert [float(row[column]) for column in columns] == pytest.approx(probabilities[best], abs=1e-5)


def test_script_does_the_others_and_reports_broken_pictures_at_the_end(finished, folder, rows, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    found = rows(finished, tmp_path / "a.png", "missing.png", folder / "03.png", code=1)
    assert [row["file"] for row in found] == [str(folder / "03.png")]
    assert rows.errors[0].startswith(f"{finished}: temperature ")
    assert rows.errors[1].startswith("missing.png: does not exist")
    assert rows.errors[2].startswith(f"{tmp_path}/a.png: is empty")


def test_script_reads_a_list_and_writes_json_lines_to_a_file(root, finished, folder, expected, tmp_path):
    command = [sys.executable, root / "scripts/predict.py", finished, "-", "--json", "--output", tmp_path / "lines"]
    names = [str(folder / f"{index:02}.png") for index in range(3)]
    command += ["--gpus", "0", "--temperature", "1"]
    done = subprocess.run(command, input="\n".join(names), capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    lines = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    assert [line["file"] for line in lines] == names
    assert [line["probability"] for line in lines] == pytest.approx(expected[:3].max(1), abs=1e-5)


def test_pictures_of_ink_on_paper_are_inverted(finished, images, rows, tmp_path):
    paper = [tmp_path / f"{index}.png" for index in range(3)]
    bright_on_black = [np.where(image >= 90, 255, 0).astype(np.uint8) for image in images[:3]]
    for file, image in zip(paper, bright_on_black, strict=True):
        Image.fromarray((200 - 0.6 * image[..., 0]).astype(np.uint8)).save(file)  # gray paper and ink
    model = load(finished, device="cpu", temperature=1)
    expected = probabilities(model.predict(bright_on_black))
    assert np.abs(probabilities(model.predict(paper, invert=True)) - expected).max() < 1e-5
    inverted = rows(finished, *paper, "--invert", "--temperature", 1)
    assert [float(row["probability"]) for row in inverted] == pytest.approx(expected.max(1), abs=1e-5)


def test_dim_pictures_of_16_bits_are_predicted_and_reported(finished, rows, tmp_path, caplog):
    Image.fromarray(np.full((8, 8), 1023, np.uint16)).save(tmp_path / "dim.png")
    assert len(rows(finished, tmp_path)) == 1
    assert rows.errors[1].startswith(f"{tmp_path}/dim.png: of 16 bits with hardly a value above a quarter of white")
    caplog.clear()
    load(finished, device="cpu", temperature=1).predict([tmp_path / "dim.png"])
    assert caplog.messages == [rows.errors[1]]


def test_pictures_may_be_as_large_as_those_of_the_dataset(finished, rows, tmp_path):
    tensors, metadata = load_model_file(finished / "model.safetensors")
    assert metadata["max_megapixels"] == 100  # of the tiny dataset
    weights, large = tmp_path / "model.safetensors", tmp_path / "large.png"
    save_tensors(weights, tensors, metadata | {"max_megapixels": 2})
    Image.new("1", (2000, 1100)).save(large)
    rows(weights, large, code=1)
    assert "more than 2; make it smaller, or take more with max_megapixels 3" in rows.errors[1]
    assert len(rows(weights, large, "--max-megapixels", 3)) == 1


@pytest.mark.parametrize(
    ("stored", "limit"), [({}, 100), ({"max_megapixels": 1e9}, 1000), ({"max_megapixels": ["many"]}, 100)]
)
def test_weights_set_no_limit_that_a_dataset_may_not_have(finished, tmp_path, stored, limit):
    tensors, metadata = load_model_file(finished / "model.safetensors")
    del metadata["max_megapixels"]
    save_tensors(tmp_path / "model.safetensors", tensors, metadata | stored)
    assert load(tmp_path / "model.safetensors", device="cpu").form.max_megapixels == limit


def test_a_committee_averages_probabilities(finished, folder, expected, rows, tmp_path):
    """The second member has its classes the other way round in its last layer, the third takes larger images."""
    tensors, metadata = load_model_file(finished / "model.safetensors")
    last = [name for name, tensor in tensors.items() if tensor.shape[:1] == (len(CLASSES),)]
    turned = {name: tensor.flip(0) if name in last else tensor for name, tensor in tensors.items()}
    others = [tmp_path / "turned.safetensors", tmp_path / "larger.safetensors"]
    save_tensors(others[0], turned, metadata)
    save_tensors(others[1], tensors, metadata | {"input_shape": [1, 16, 16]})
    of_larger = probabilities(load(others[1], device="cpu").predict(sorted(folder.iterdir())))
    found = rows(finished, folder, "--committee", *others, "--top", 3, "--temperature", 1)
    mean = (expected + expected[:, ::-1] + of_larger) / 3
    for row, of_picture in zip(found, mean, strict=True):
        assert float(row["probability"]) == pytest.approx(of_picture.max(), abs=1e-5)


def test_a_committee_divides_the_logits_of_each_member_by_its_own_temperature(finished, copy, folder, rows, tmp_path):
    other = shutil.copytree(finished, tmp_path / "other")
    logits = set_temperature(copy, 0.25)
    set_temperature(other, 4)
    both = rows(copy, folder, "--committee", other)
    assert [line.partition(", fitted")[0] for line in rows.errors] == [
        f"{copy}: temperature 0.25",
        f"{other}: temperature 4",
    ]
    mean = (softmax(logits / 0.25, axis=1) + softmax(logits / 4, axis=1)) / 2
    assert [float(row["probability"]) for row in both] == pytest.approx(mean.max(1), abs=1e-3)


def test_networks_of_other_classes_make_no_committee(finished, folder, caplog, tmp_path):
    tensors, metadata = load_model_file(finished / "model.safetensors")
    save_tensors(tmp_path / "other.safetensors", tensors, metadata | {"classes": ["zero", "one", "three"]})
    arguments = [str(finished), str(folder), "--committee", str(tmp_path / "other.safetensors"), "--gpus", "0"]
    assert "cannot be averaged" in error_line(caplog, predict_script.main, arguments)


@pytest.mark.parametrize(("page", "printed"), [("README.md", 1), ("docs/how-to/predict.md", 2)])
def test_python_of_the_pages_runs(root, finished, folder, tmp_path, monkeypatch, capsys, page, printed):
    block = re.search(r"^```python\n(.*?)^```", (root / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    shutil.copytree(finished, tmp_path / "results/digits/mobilenet_v2/quick/seed0")
    (tmp_path / "pictures").mkdir()
    for name in ("photo.png", "a.png", "pictures/1.jpg"):
        Image.open(folder / "00.png").save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    exec(block[1], {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == printed
    assert all(any(name in line for name in CLASSES) for line in lines)


def test_commands_of_the_page_run(root, finished, folder, tmp_path, monkeypatch, capfd):
    page = (root / "docs/how-to/predict.md").read_text(encoding="utf-8")
    commands = re.findall(r"^python scripts/predict.py (.*)$", page, re.MULTILINE)
    assert len(commands) == 4
    for model in ("mobilenet_v2", "resnet50"):  # of the demo
        shutil.copytree(finished, tmp_path / "results/digits" / model / "quick/seed0")
    shutil.copytree(folder, tmp_path / "pictures")
    shutil.copy(folder / "00.png", tmp_path / "a.png")
    shutil.make_archive(str(tmp_path / "more"), "zip", folder)
    (tmp_path / "list.txt").write_text("a.png\npictures/01.png\n")
    monkeypatch.chdir(tmp_path)
    for command in commands:
        arguments, _, given = command.partition(" < ")
        with open(given or "list.txt") as file:
            monkeypatch.setattr(sys, "stdin", file)
            predict_script.main([*shlex.split(arguments), "--gpus", "0", "--threads", "1"])
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == (1 + 1 + 21 + 21) + 2 + (1 + 21)
    assert len((tmp_path / "predicted.csv").read_text().splitlines()) == 22
