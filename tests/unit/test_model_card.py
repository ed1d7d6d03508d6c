"""MODEL_CARD.md: what it says of a network, its header for Hugging Face's hub, and what users add to it."""

import re

import pytest
import yaml
from markdown_it import MarkdownIt

import card as card_script
from deepnets.evaluation.results import read_result
from deepnets.reporting.completed_card import NOTES_LINE
from deepnets.reporting.model_card import card
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json, write_json


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
    worst = [row.split(" | ")[0].strip("| ") for row in section(body, "Worst classes").splitlines()[2:]]
    recalls = {row["class"]: row["recall"] for row in metrics["test"]["per_class"]}
    assert len(worst) == 5
    assert max(recalls[name] for name in worst) <= min(recalls[name] for name in recalls.keys() - set(worst))
    assert "23,519,690 parameters" in section(body, "Cost")
    assert "The loss still fell." in section(body, "Limits")
    assert 'load("results/digits/resnet50/quick/seed0")' in section(body, "How to use it")
    assert metrics["spec_sha256"] in body


def test_limits_have_the_accuracy_on_corrupted_pictures_the_worst_kind_first_if_it_was_measured(experiment):
    directory = experiment(accuracy=0.9)
    robustness = read_json(directory / "robustness.json")
    robustness["corruptions"] = {"noise": [0.8, 0.7, 0.6], "jpeg": [0.6, 0.5, 0.4]}
    write_json(directory / "robustness.json", robustness)
    limits = section(card(read_result(directory), None).split("---\n", 2)[2], "Limits")
    assert "Accuracy on 360 test images as they are: 90.0 %; by kind of corruption" in limits
    assert "each the mean of three severities: JPEG 50.0 %, Noise 70.0 %." in limits
    for missing in ({**robustness, "spec_sha256": "of another"}, None):
        (directory / "robustness.json").unlink()
        if missing:
            write_json(directory / "robustness.json", missing)
        assert "corrupted" not in card(read_result(directory), None)


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
