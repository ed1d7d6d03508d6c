"""MODEL_CARD.md: what it says of a network, and its header for Hugging Face's hub."""

import json
import re

import pytest
import yaml
from markdown_it import MarkdownIt

import card as card_script
from deepnets.evaluation.results import read_result
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


def test_script_writes_the_card_without_what_a_killed_one_left_and_refuses_other_settings(experiment, tmp_path):
    folder = experiment()
    metrics = read_json(folder / "metrics.json")
    job = {"experiment": metrics["experiment"], "spec": metrics["spec"], "code": {}}
    write_json(tmp_path / "job.json", job)
    call = ["digits/resnet50/quick/seed0", "--job", str(tmp_path / "job.json"), "--root", str(tmp_path)]
    left, of_another = folder / ".MODEL_CARD.deepnets-abcdefgh.md", folder / ".metrics.deepnets-abcdefgh.json"
    left.touch()
    of_another.touch()
    card_script.main(call)
    assert (left.exists(), of_another.exists()) == (False, True)
    assert (folder / "MODEL_CARD.md").read_text(encoding="utf-8").startswith("---\nlicense: unknown\n")
    (tmp_path / "job.json").write_text(json.dumps(job | {"spec": metrics["spec"] | {"seed": 5}}))
    with pytest.raises(UserError, match="made with other settings"):
        card_script.main(call)
