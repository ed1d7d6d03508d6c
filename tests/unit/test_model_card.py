"""MODEL_CARD.md: what it says of a network, its header for Hugging Face's hub, and what users add to it."""

import re

import pytest
import yaml
from markdown_it import MarkdownIt
from safetensors.torch import load_file

import card as card_script
from deepnets.comparison import networks
from deepnets.comparison.macro_intervals import macro_intervals
from deepnets.evaluation.metrics import losses, predicted_classes
from deepnets.evaluation.predictions import read_predictions
from deepnets.evaluation.results import read_result
from deepnets.evaluation.temperature import own_temperature
from deepnets.reporting.audit import Audit
from deepnets.reporting.completed_card import NOTES_LINE
from deepnets.reporting.model_card import card
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json, write_json
from deepnets.utils.tensors import save_tensors


@pytest.fixture
def written(experiment):
    """Write the card of an experiment: `written(**options) -> (header, body)`."""

    def write(**options):
        text = card(read_result(experiment(**options)), None)
        _, header, body = text.split("---\n", 2)
        return yaml.safe_load(header), body

    return write


def section(body, title):
    return re.search(rf"^## {title}\n\n(.*?)(?=\n## |\Z)", body, re.MULTILINE | re.DOTALL)[1]


def test_header_has_the_metrics_of_the_test_split(experiment, written):
    header, _ = written(accuracy=0.97)
    test = read_json(experiment(accuracy=0.97) / "metrics.json")["test"]
    (model,) = header["model-index"]
    (result,) = model["results"]
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert values == pytest.approx(
        {"accuracy": test["accuracy"], "precision": test["precision_macro"]}
        | {"recall": test["recall_macro"], "f1": test["f1_macro"]},
        abs=1e-6,
    )
    assert header["metrics"] == list(values)
    assert result["dataset"] == {"type": "digits", "name": "digits", "split": "test"}
    assert (header["license"], header["pipeline_tag"]) == ("unknown", "image-classification")


def test_hugging_face_reads_the_header(experiment):
    hub = pytest.importorskip("huggingface_hub")
    found = hub.ModelCard(card(read_result(experiment()), None)).data
    assert found.library_name == "deeper-networks"
    assert {each.metric_type for each in found.eval_results} == {"accuracy", "precision", "recall", "f1"}


def test_body_has_intervals_worst_classes_cost_limits_and_how_to_use_it(experiment, written):
    _, body = written(accuracy=0.9, warnings=["the loss still fell"])
    metrics = read_json(experiment(accuracy=0.9, warnings=["the loss still fell"]) / "metrics.json")
    low, high = metrics["test"]["accuracy_ci95"]
    assert f"| Acc. (%) | {100 * metrics['test']['accuracy']:.2f} | {100 * low:.2f} to {100 * high:.2f} |" in body
    rows = re.findall(r"^\| (.*) \|$", section(body, "Known failures"), re.MULTILINE)[2:]
    *worst, average = [row.split(" | ") for row in rows]
    test = metrics["test"]
    assert average[2:] == ["360", f"{100 * test['recall_macro']:.1f}", f"{100 * test['precision_macro']:.1f}"]
    assert {support for _, _, support, *_ in worst} == {"36"}
    recalls = {row["class"]: row["recall"] for row in test["per_class"]}
    worst = [name for name, *_ in worst]
    assert len(worst) == 5
    assert max(recalls[name] for name in worst) <= min(recalls[name] for name in recalls.keys() - set(worst))
    assert re.search(r"\bepochs 8, .*\blr 0\.05, ", section(body, "Recipe"))
    cost = section(body, "Cost").replace("\xa0", " ")
    assert "23,519,690 parameters" in cost
    assert "| Epochs | Wall time | CPU time | Images/s | Peak memory (MB) |" in cost
    assert "| 8 | 1 min 00 s | 1 min 48 s | 172 | 900 |" in cost
    assert "The loss still fell." in section(body, "Limits")
    use = section(body, "How to use it")
    assert re.findall(r"^```(\w+)\n(.*?)\n```$", use, re.MULTILINE | re.DOTALL) == [
        ("bash", "python -m pip install --requirement requirements.txt\npython predict.py photo.png"),
        ("python", 'from deepnets import load\n\nmodel = load(".")\nprint(model.predict(["photo.png"])[0].top(3))'),
    ]
    assert re.search(r"add <code>\S+invert</code> for ink on paper", use)
    assert "clone the repository of Deeper Networks" in use
    assert "<code>model.safetensors</code>, is enough for <code>load</code>. " in use
    assert metrics["spec_sha256"] in body


def test_a_bundle_is_unpacked_before_its_example_is_called(written):
    _, body = written()
    start = section(body, "How to use it").partition("```bash")[0]
    assert start == "Unpack <code>bundle.zip</code>. In the folder that is inside, with Python alone:\n\n"


def test_macro_averages_have_intervals(experiment, written):
    _, body = written(accuracy=0.9)
    directory = experiment(accuracy=0.9)
    metrics = read_json(directory / "metrics.json")
    predictions = read_predictions(directory / "predictions.safetensors", metrics["spec_sha256"])
    bounds = macro_intervals(predicted_classes(predictions.test_logits), predictions.test_labels, 10)
    for title, name in (("Precision", "precision_macro"), ("Recall", "recall_macro"), ("F1", "f1_macro")):
        low, high = bounds[name]
        assert low < metrics["test"][name] < high
        value, *interval = (f"{100 * share:.2f}" for share in (metrics["test"][name], low, high))
        assert f"| {title} (%), macro | {value} | {' to '.join(interval)} |" in body
    assert "the mean over the 10 classes, each of which counts alike and has 36 test images" in section(body, "Results")


def test_loss_has_a_bootstrapped_interval(experiment, written):
    _, body = written(accuracy=0.9)
    directory = experiment(accuracy=0.9)
    result = read_result(directory)
    predictions = read_predictions(directory / "predictions.safetensors", result.metrics.spec_sha256)
    values = losses(predictions.test_logits, predictions.test_labels)
    half = 1.96 * values.std(ddof=1) / len(values) ** 0.5
    [row] = re.findall(r"^\| Loss \| (.*) \| (.*) to (.*) \|$", body, re.MULTILINE)
    _, low, high = map(float, row)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=half / 3)


STARTED = {"sha256": "ab" * 32, "tensors": 120, "parameters": 999, "parameters_of": 1000, "replaced": ["fc.weight"]}
STARTED |= {"adapted": [], "initialised": [], "unused": [], "normalised": "by the dataset"}


@pytest.mark.parametrize(
    ("weights", "name", "base_model"),
    [
        ({"file": "mine.pth", "sha256": "ab" * 32}, "mine.pth", None),
        ({"experiment": "birds/resnet50/quick/seed0", "spec_sha256": "0"}, "birds/resnet50/quick/seed0", None),
        (
            {"published": "timm/resnet18", "name": "resnet18.a1_in1k", "file": "resnet18.a1_in1k.safetensors"},
            "resnet18.a1_in1k",
            "timm/resnet18.a1_in1k",
        ),
        (
            {"published": "torchvision/resnet18", "name": "ResNet18_Weights.IMAGENET1K_V1", "file": "resnet18.pth"},
            "ResNet18_Weights.IMAGENET1K_V1",
            None,
        ),
    ],
)
def test_a_fine_tuned_network_names_its_weights_in_each_part_that_they_concern(experiment, weights, name, base_model):
    directory = experiment()
    write_json(
        directory / "metrics.json",
        read_json(directory / "metrics.json") | {"started_from": {**STARTED, "weights": weights}},
    )
    _, header, body = card(read_result(directory), None).split("---\n", 2)
    assert yaml.safe_load(header).get("base_model") == base_model
    assert f"Fine-tuned: it was started from <code>{name}</code> (SHA-256 {'ab' * 32}, 99.9" in section(body, "Recipe")
    assert "started from the weights of an earlier training run" in section(body, "Limits")
    licence = section(body, "Licence")
    assert f"started from, <code>{name}</code>: the terms of their licence hold for these weights, too" in licence


def test_a_network_from_scratch_says_nothing_of_other_weights(written):
    header, body = written()
    assert "base_model" not in header
    assert "started from" not in body


def test_a_network_in_a_users_file_names_that_file(experiment):
    directory = experiment()
    metrics = read_json(directory / "metrics.json")
    metrics["spec"]["model"]["architecture"] = "workflow/networks/resnet9.py:ResNet9"
    write_json(directory / "metrics.json", metrics)
    use = section(card(read_result(directory), None), "How to use it")
    file = "<code>workflow/networks/resnet9.py</code>, the file of its network, in the working directory"
    assert f"is enough for <code>load</code>, with {file}. " in use


def test_calibration_is_that_of_the_logits_and_after_the_temperature_that_users_get(experiment):
    directory = experiment(accuracy=0.9)
    result, file = read_result(directory), directory / "predictions.safetensors"
    tensors = load_file(file)  # each twenty times, enough to show that another temperature is better
    tensors |= {name: tensors[name].repeat_interleave(20, 0) for name in ("validation_logits", "validation_labels")}
    save_tensors(file, tensors, {"spec_sha256": result.metrics.spec_sha256})
    predictions = read_predictions(file, result.metrics.spec_sha256)
    numbers = networks.describe([predictions]).described
    temperature = own_temperature(directory, result.metrics.spec_sha256)
    text = section(card(result, None), "Calibration")
    for name, found in (
        ("as the network gives them", numbers),
        (f"after the temperature, {temperature:.2f}", numbers["with_temperature"]),
    ):
        low, high = (100 * bound for bound in found["ece_ci95"])
        assert f"| {name} | {100 * found['ece']:.2f} | {low:.2f} to {high:.2f} |" in text
    assert "the network is too sure: it states 94.3 % on average, and 90.0 % of its answers are right" in text


def test_a_calibration_error_whose_interval_has_0_is_no_miscalibration(experiment):
    """Of ten classes, each answer has 94.3 %, and 94.4 % are right."""
    text = section(card(read_result(experiment(accuracy=340 / 360)), None), "Calibration")
    assert "As it is, no miscalibration shows: the network states 94.3 % on average, and 94.4 % of its" in text


def test_network_without_mistakes_has_no_temperature_and_no_worst_class(written):
    _, body = written(accuracy=1.0)
    assert "after the temperature" not in body
    assert "The temperature is 1: the validation images do not show" in section(body, "Calibration")
    assert "No test image is predicted wrongly." in section(body, "Known failures")
    assert "| F1 (%), macro | 100.00 | 98.94 to 100.00 |" in body


def test_data_has_what_the_audit_found_in_the_words_of_the_report(experiment):
    members = [{"split": "train", "index": 7, "class": "a*b", "file": "a*b/7.png"}]
    split = {"images": 6, "distinct": 6}
    audit = {
        "classes": ["a*b", "c"],
        "splits": {"train": {**split, "per_class": [4, 2]}, "test": {**split, "per_class": [3, 3]}},
        "duplicates": {"within_train": 0, "within_test": 3, "across_splits": 0, "across_labels": 0},
        "groups": {"across_splits": [], "across_labels": []},
        "blank": {"images": 1, "members": members},
        "near_duplicates": {"bits": 4, "across_splits": 2, "across_labels": 0}
        | {"pairs": {"across_splits": [], "across_labels": []}},
        "files": {"formats": {"PNG": 12}, "sizes": [{"width": 9, "height": 9, "images": 12}], "distinct_sizes": 1}
        | {"shorter_side": [9, 9], "tiny": {"images": 12, "files": ["a*b/7.png"]}},
    }
    data = section(card(read_result(experiment()), Audit.model_validate(audit)), "Data")
    for sentence in (
        "Classes have from 2 (c) to 4 (a&#42;b) training and validation images.",
        "The files are 12 PNG, all of 9 x 9 pixels.",
        "1 image is blank (a&#42;b/7.png).",
        "12 images are tiny, enlarged more than twice",
        "By perceptual hash (at most 4 of 64 bits differ), 2 test images look like a training or validation image",
        "Images that are the same as another one, pixel for pixel at this size: 0 repeat one within the training split",
    ):
        assert f"\n- {sentence}" in data, sentence


def test_known_failures_have_the_accuracy_on_corrupted_pictures_the_worst_kind_first_or_how_to_measure_it(experiment):
    directory = experiment(accuracy=0.9)
    robustness = read_json(directory / "robustness.json")
    robustness["corruptions"] = {"noise": [0.8, 0.7, 0.6], "jpeg": [0.6, 0.5, 0.4]}
    write_json(directory / "robustness.json", robustness)
    failures = section(card(read_result(directory), None), "Known failures")
    assert "Accuracy on 360 test images as they are: 90.0 %; by kind of corruption" in failures
    assert "each the mean of three severities: JPEG 50.0 %, Noise 70.0 %." in failures
    for missing in ({**robustness, "spec_sha256": "of another"}, None):
        (directory / "robustness.json").unlink()
        if missing:
            write_json(directory / "robustness.json", missing)
        failures = section(card(read_result(directory), None), "Known failures")
        command = "<code>snakemake --cores 2 results/digits/resnet50/quick/seed0/robustness.json</code>"
        assert f"{command} does it, after <code>source .venv/bin/activate</code>, and" in failures
        assert "severities" not in failures


@pytest.mark.parametrize(
    ("dataset", "licence"), [("sklearn_digits", "CC BY 4.0"), ("FashionMNIST", "MIT"), ("birds", "not known")]
)
def test_licence_of_the_data_is_named_where_it_is_known(written, dataset, licence):
    _, body = written(dataset=dataset)
    assert licence in section(body, "Licence")


def test_class_names_do_no_harm(written):
    classes = ["a|b", "<script>", "$(x)", "# c", "--- d", "e: f", "g", "h", "i", "j"]
    header, body = written(classes=classes, accuracy=0.5)
    assert header["library_name"] == "deeper-networks"
    page = MarkdownIt("commonmark").enable("table").render(body)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    for table in re.findall(r"(?:^\|.*\n)+", body, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table


# -- the script, and what users add ------------------------------------------------------------------------------------


@pytest.fixture
def folder(experiment):
    return experiment()


@pytest.fixture
def write(folder, tmp_path):
    """Call scripts/card.py: `write(spec=...) -> MODEL_CARD.md`."""

    def call(**changes):
        metrics = read_json(folder / "metrics.json")
        job = {"experiment": metrics["experiment"], "spec": metrics["spec"], "code": {}}
        write_json(tmp_path / "job.json", job | changes)
        card_script.main(["digits/resnet50/quick/seed0", "--job", f"{tmp_path}/job.json", "--root", str(tmp_path)])
        return folder / "MODEL_CARD.md"

    return call


def completed(text):
    """Choose a licence, add notes, and edit another part of a card."""
    with_licence = text.replace("license: unknown", "license: other\nlicense_name: ours", 1)
    return with_licence.replace("## Limits", "## My limits") + "## Notes\n\nAsk Zoë. <!-- Not the line. -->\n"


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_licence_and_notes_stay_when_a_card_is_rebuilt_and_all_else_is_new(write, caplog):
    file = write()
    first = file.read_text(encoding="utf-8")
    assert first.endswith(f"\n\n{NOTES_LINE}\n")
    file.write_text(completed(first), encoding="utf-8")
    for _ in range(2):
        text = write().read_text(encoding="utf-8")
        assert text.startswith("---\nlicense: other\nlicense_name: ours\nlibrary_name: deeper-networks\n")
        assert text.endswith(f"\n\n{NOTES_LINE}\n## Notes\n\nAsk Zoë. <!-- Not the line. -->\n")
        assert "The weights: <code>other</code>." in section(text, "Licence")
        assert section(text, "Limits") == section(first, "Limits")
        assert "My limits" not in text
    assert warnings(caplog) == []
    assert not file.with_name("MODEL_CARD.old.md").exists()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252"])
def test_notes_of_an_editor_with_other_habits_stay(write, encoding):
    file = write()
    text = completed(file.read_text(encoding="utf-8"))
    file.write_bytes(text.replace("\n", "\r\n").encode(encoding))
    rebuilt = write().read_bytes().decode("utf-8")
    assert rebuilt.startswith("---\nlicense: other\n")
    assert rebuilt.endswith(f"{NOTES_LINE}\n## Notes\n\nAsk Zoë. <!-- Not the line. -->\n")


@pytest.mark.parametrize(
    ("old", "new"),
    [("license: other", "license: [other"), ("license: other", "license: 2024-13-45"), ("---\n", "")],
)
def test_header_that_cannot_be_read_is_a_warning_and_the_notes_stay(write, caplog, old, new):
    file = write()
    damaged = completed(file.read_text(encoding="utf-8")).replace(old, new, 1)
    file.write_text(damaged, encoding="utf-8")
    text = write().read_text(encoding="utf-8")
    assert text.startswith("---\nlicense: unknown\nlibrary_name")
    assert text.endswith(f"{NOTES_LINE}\n## Notes\n\nAsk Zoë. <!-- Not the line. -->\n")
    old_file = file.with_name("MODEL_CARD.old.md")
    lost = "its header cannot be read, so the licence in it is not kept"
    assert warnings(caplog) == [f"{file}: {lost}; copy what you need from {old_file}"]
    assert old_file.read_text(encoding="utf-8") == damaged


def test_a_card_without_the_line_for_notes_is_copied_with_a_warning(write, caplog):
    file = write()
    without = completed(file.read_text(encoding="utf-8")).replace(NOTES_LINE, "")
    file.write_text(without, encoding="utf-8")
    text = write().read_text(encoding="utf-8")
    assert text.startswith("---\nlicense: other\n")
    assert text.endswith(f"{NOTES_LINE}\n")
    old_file = file.with_name("MODEL_CARD.old.md")
    lost = f"it lacks the line {NOTES_LINE}, so no text of it is kept"
    assert warnings(caplog) == [f"{file}: {lost}; copy what you need from {old_file}"]
    assert old_file.read_text(encoding="utf-8") == without


def test_script_writes_the_card_without_what_a_killed_one_left_and_refuses_other_settings(folder, write):
    left, of_another = folder / ".MODEL_CARD.deepnets-abcdefgh.md", folder / ".metrics.deepnets-abcdefgh.json"
    left.touch()
    of_another.touch()
    assert write().read_text(encoding="utf-8").startswith("---\nlicense: unknown\n")
    assert (left.exists(), of_another.exists()) == (False, True)
    with pytest.raises(UserError, match="made with other settings"):
        write(spec=read_json(folder / "metrics.json")["spec"] | {"seed": 5})
