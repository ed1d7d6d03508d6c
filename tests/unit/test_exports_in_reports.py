"""Files for other programs in the report, in the model card and in what the report depends on."""

import pytest
from made_up_results import LOST, MEASURED_ON, write_exported
from matplotlib.figure import Figure
from report_pages import tables

from deepnets.config.loader import load_config
from deepnets.evaluation.results import read_result
from deepnets.figures.style import save
from deepnets.planning.jobs import Jobs
from deepnets.reporting.model_card import card
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json, sha256_file, write_json
from deepnets.utils.specs import settings_sha256


def exported_files(text):
    return [row[4:] for table in tables(text) if "Largest difference" in table[0] for row in table[2:]]


def test_report_has_size_latency_and_loss_of_each_file(experiment, write_report):
    directory, other = experiment(model="mobilenet_v2"), experiment(seed=1)
    text = write_report(directory, other)
    assert exported_files(text) == []
    assert "Files for other programs" not in text
    write_exported(directory, "export_int8", **LOST)
    write_exported(other, "export", measured_on=MEASURED_ON | {"precision": "fp32"})
    text = write_report(directory, other)
    on, times = "Some CPU, 4 threads", ["2.50", "1.20", "2.00", "1.5e-03"]
    assert exported_files(text) == [
        ["<code>model_int8.onnx</code>", f"{on}, int8", *times, "2.00"],
        ["<code>model.onnx</code>", f"{on}, fp32", *times, "–"],
    ]
    assert "Accuracy lost is that of validation images" in text


@pytest.mark.parametrize(
    ("model", "share", "precision", "is_said"),
    [
        ("vgg16", 0.25, "fp32", True),
        ("vgg16", 1.001, "fp32", False),
        ("vgg16", 0.25, "int8", False),
        ("resnet50", 0.25, "fp32", False),
    ],
)
def test_report_says_why_a_file_of_vgg16_is_smaller_than_its_weights(
    experiment, write_report, model, share, precision, is_said
):
    directory = experiment(model=model)
    size = round(share * read_json(directory / "metrics.json")["weights_bytes"])
    stage = "export_int8" if precision == "int8" else "export"
    write_exported(directory, stage, bytes=size, measured_on=MEASURED_ON | {"precision": precision})
    assert ("smaller than its weights file" in write_report(directory)) == is_said


def test_files_of_other_weights_or_settings_are_left_out(experiment, write_report):
    directory = experiment()
    (directory / ".train.sha256").write_text(f"{'0' * 64}  model.safetensors\n")
    record = write_exported(directory, "export_int8")
    assert len(exported_files(write_report(directory))) == 1
    write_exported(directory, "export_int8", spec_sha256="of another")
    assert exported_files(write_report(directory)) == []
    write_exported(directory, "export_int8", weights_sha256="1" * 64)
    assert exported_files(write_report(directory)) == []
    write_exported(directory, "export_int8")
    (directory / "model_int8.onnx").unlink()
    assert exported_files(write_report(directory)) == []
    (directory / "model_int8.onnx").touch()
    write_json(record, {"spec_sha256": ""})
    with pytest.raises(UserError, match=r"model_int8\.json: damaged \(weights_sha256: Field required\); delete it"):
        write_report(directory)


def test_a_warning_about_a_file_is_one_of_the_report(experiment, write_report):
    directory = experiment()
    write_exported(directory, "export_int8", **LOST, warnings=["model_int8.onnx loses 2.00 points of accuracy"])
    (line,) = [line for line in write_report(directory).splitlines() if "loses 2.00 points" in line]
    assert "**ResNet50 on digits, recipe quick, seed 0**: model_int8.onnx loses 2.00 points of accuracy." in line


def test_of_a_recipe_that_validation_did_not_choose_files_are_warned_about_and_its_own_warnings_counted(
    experiment, write_report
):
    chosen, other = (
        experiment(recipe=recipe, validation_accuracy=value, warnings=[f"under-trained: {recipe}"])
        for recipe, value in (("chosen", 0.95), ("other", 0.9))
    )
    write_exported(other, "export_int8", **LOST, warnings=["model_int8.onnx loses 2.00 points of accuracy"])
    text = write_report(chosen, other, experiment(model="vgg16"))
    assert "**ResNet50 on digits, recipe other, seed 0**: model_int8.onnx loses 2.00 points of accuracy." in text
    assert "There is 1 warning of recipes that validation did not choose; [metrics.csv]" in text
    assert "under-trained: other" not in text.partition("## Results")[0]


def test_model_card_names_the_files_that_are_there(experiment):
    directory = experiment()
    write_exported(directory, "export_int8", **LOST)
    write_exported(directory, "export_program", measured_on=MEASURED_ON | {"precision": "fp32"})
    text = card(read_result(directory), None).partition("## How to use it")[2]
    assert "<code>model_int8.onnx</code> (int8, 2.5 MB): onnxruntime runs it, pixels in, probabilities out." in text
    assert "It costs 2.00 points of accuracy on validation images." in text
    assert "<code>model.pt2</code> (fp32, 2.5 MB): torch.export.load opens it" in text
    assert "model_fp16" not in text


def test_model_card_names_model_onnx_in_the_same_words_before_and_after_its_export(experiment):
    directory = experiment()
    before = card(read_result(directory), None)
    named = "<code>model.onnx</code>, if it is next to this card: onnxruntime runs it, pixels in, probabilities out."
    assert named in before.partition("## How to use it")[2]
    write_exported(directory, "export")
    assert card(read_result(directory), None) == before


def test_the_report_depends_on_the_files_that_are_there(root, tmp_path, experiment):
    def exports(key="exports"):
        return Jobs(load_config(root / "config.yaml", {}), root, tmp_path).settings("report", {})["spec"][key]

    directory = experiment(model="mobilenet_v2")
    assert exports() == {}
    record = write_exported(directory, "export_int8", **LOST)
    assert exports() == {"results/digits/mobilenet_v2/quick/seed0/model_int8.json": sha256_file(record)}
    (directory / "model_int8.onnx").unlink()
    assert exports() == {}
    (directory / "figures").mkdir()
    (directory / "figures/saliency.png").write_bytes(b"a figure")
    figure = "results/digits/mobilenet_v2/quick/seed0/figures/saliency.png"
    assert exports() == {}
    assert exports("saliency") == {figure: sha256_file(tmp_path / figure)}


def test_report_shows_where_a_network_looked_if_that_was_asked_for(experiment, write_report):
    directory = experiment(model="mobilenet_v2")
    names = "digits/mobilenet_v2/quick/seed0/figures/saliency.png"
    command, shown = f"<code>snakemake --cores 2 results/{names}</code>", f'<img src="{names}"'
    metrics, figure = read_json(directory / "metrics.json"), directory / "figures/saliency.png"
    figure.parent.mkdir()
    save(Figure(), figure, "that of other settings")
    text = write_report(directory)
    assert (text.count(command), text.count(shown)) == (1, 0)
    save(Figure(), figure, settings_sha256({key: metrics[key] for key in ("experiment", "spec")}))
    text = write_report(directory)
    assert (text.count(command), text.count(shown)) == (0, 2), "in the section on behaviour, and of the experiment"
