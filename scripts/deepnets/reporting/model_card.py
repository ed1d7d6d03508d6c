"""MODEL_CARD.md of an experiment: what a reader must know of a trained network before they use it.

Its header is the YAML that Hugging Face's hub reads.
"""

from collections.abc import Iterable
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from deepnets.comparison import calibration
from deepnets.comparison.crossed import Floats
from deepnets.comparison.macro_intervals import macro_intervals, mean_interval
from deepnets.config.experiment import spec_sha256
from deepnets.evaluation import metrics
from deepnets.evaluation.confidence import probabilities_of
from deepnets.evaluation.measurements import Exported, corruption_title, find_robustness, read_exports
from deepnets.evaluation.predictions import Predictions, read_predictions
from deepnets.evaluation.results import Result, check_specs, read_result
from deepnets.evaluation.temperature import own_temperature
from deepnets.models import named
from deepnets.reporting.audit import Audit, read_audit
from deepnets.reporting.completed_card import NOTES_LINE, NOTHING, Kept, read_kept
from deepnets.reporting.cost_tables import cost_table
from deepnets.reporting.duplicates import counted, leakage
from deepnets.reporting.image_audit import sentences
from deepnets.reporting.markdown import Markdown, code, escape, table
from deepnets.reporting.settings import departures, networks_table, recipes
from deepnets.reporting.started_from import source, started_from
from deepnets.reporting.tables import MISSING
from deepnets.utils import paths
from deepnets.utils.files import remove_leftovers, write_text

LIBRARY = "deeper-networks"
_CLASSES_NAMED, _WORST_CLASSES = 20, 5
_IN_AND_OUT = "pixels in, probabilities out"  # of an exported file
_PREDICT = """python -m pip install --requirement requirements.txt
python predict.py photo.png"""  # of bundle.zip
_LOAD = """from deepnets import load

model = load(".")
print(model.predict(["photo.png"])[0].top(3))"""
_FINE_TUNED = (
    "It was started from the weights of an earlier training run. It may have kept what these got wrong or left out."
)
# Of a source, or of a dataset of torchvision's. The authors of others state no licence, or several are said of them.
_LICENCES = {
    "sklearn_digits": "CC BY 4.0, as all of the UCI Machine Learning Repository",
    "FashionMNIST": "MIT, as its authors state",
    "KMNIST": "CC BY-SA 4.0, as its authors state",
}
_ON_HUB = {"MNIST": "ylecun/mnist", "FashionMNIST": "zalando-datasets/fashion_mnist", "CIFAR10": "uoft-cs/cifar10"}
_HUB_METRICS = {"accuracy": "accuracy", "precision_macro": "precision", "recall_macro": "recall", "f1_macro": "f1"}


def write_card(job: dict[str, Any], root: Path) -> None:
    """Write MODEL_CARD.md next to an experiment's results.

    It has no checksum: users complete it, with the licence of the weights for example. That, and the text below the
    line for it, stay from a card that is there.

    Args:
        job: {"experiment": its names, "spec": its spec}.
        root: the folder that holds data/ and results/.

    Raises:
        UserError: a result is missing, damaged or of other settings.
    """
    names = job["experiment"]
    result = read_result(root / paths.EXPERIMENT.format(**names))
    check_specs([result], [spec_sha256(job["spec"])])
    audit = read_audit(root / paths.AUDIT.format(**names))
    remove_leftovers(result.directory, paths.CARD_FILE)
    file = result.directory / paths.CARD_FILE
    write_text(file, card(result, audit, read_kept(file)))


def card(result: Result, audit: Audit | None, kept: Kept = NOTHING) -> str:
    """Return the card, as Markdown with a YAML header.

    Args:
        result: the experiment, with its predictions in its folder.
        audit: of its dataset; None if that was deleted.
        kept: what users added to it.

    Raises:
        UserError: a file in the folder is missing, damaged or of other settings.
    """
    predictions = read_predictions(result.directory / paths.PREDICTIONS_FILE, result.metrics.spec_sha256)
    header = yaml.safe_dump(_header(result, kept.licence), sort_keys=False, allow_unicode=True, width=120)
    sections = {
        "Data": _data(result, audit),
        "Recipe": _recipe(result),
        "Results": _results(result, predictions),
        "Calibration": _calibration(result, predictions),
        "Known failures": [*_worst_classes(result), _corrupted(result)],
        "Cost": _cost(result),
        "Limits": [_bullets(_limits(result, audit))],
        "Licence": _licence(result, kept.licence),
        "How to use it": _use(result),
    }
    paragraphs = [Markdown(f"# {escape(_title(result))}"), *_network(result)]
    for title, content in sections.items():
        paragraphs += [Markdown(f"## {title}"), *content]
    return f"---\n{header}---\n\n" + "\n\n".join([*paragraphs, NOTES_LINE]) + f"\n{kept.notes}"


def _title(result: Result) -> str:
    return f"{result.display_name} on {result.dataset}"


def _data_name(result: Result) -> str:
    of_dataset = result.metrics.spec["dataset"]
    return of_dataset.get("name") or of_dataset.get("source") or result.dataset


def _header(result: Result, licence: dict[str, Any]) -> dict[str, Any]:
    data, test = _ON_HUB.get(_data_name(result), result.dataset), result.metrics.test
    values = [
        {"type": kind, "name": f"Test {kind}", "value": round(getattr(test, name), 6)}
        | ({"args": {"average": "macro"}} if name.endswith("_macro") else {})
        for name, kind in _HUB_METRICS.items()
    ]
    task = {"type": "image-classification", "name": "Image classification"}
    dataset = {"type": data, "name": result.dataset, "split": "test"}
    return {
        "license": "unknown",
        **licence,
        **_base_model(result),
        "library_name": LIBRARY,
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "pytorch", result.architecture],
        "datasets": [data],
        "metrics": list(_HUB_METRICS.values()),
        "model-index": [
            {"name": _title(result), "results": [{"task": task, "dataset": dataset, "metrics": values}]},
        ],
    }


def _base_model(result: Result) -> dict[str, str]:
    """Return the name on the hub of the weights that the network was started from; only those of timm have one."""
    started = result.metrics.started_from
    weights = {} if started is None else started.weights
    return {"base_model": f"timm/{weights['name']}"} if weights.get("published", "").startswith("timm/") else {}


def _network(result: Result) -> list[Markdown]:
    content = result.metrics
    _, channels, height, width = content.model.input_size
    more = f" and {len(content.classes) - _CLASSES_NAMED:,} more" * (len(content.classes) > _CLASSES_NAMED)
    named = ", ".join(content.classes[:_CLASSES_NAMED])
    kind = "gray" if channels == 1 else "colour"
    return [
        escape(
            f"An image classifier. It takes {kind} images of {width} x {height} pixels and gives each of"
            f" {len(content.classes)} classes a probability: {named}{more}."
        ),
        networks_table([result])[0],
        *departures([result]),
        Markdown(f"Experiment {code(_name(result))}, settings {code(content.spec_sha256)} (SHA-256)."),
    ]


def _name(result: Result) -> str:
    return paths.EXPERIMENT_NAME.format(**result.metrics.experiment.model_dump())


def _data(result: Result, audit: Audit | None) -> list[Markdown]:
    content = result.metrics
    sizes = [content.train.of or content.train.n, content.validation.n, content.test.n]
    row = [result.dataset, _data_name(result), *(f"{size:,}" for size in sizes)]
    header = ["Dataset", "Source", "Training images", "Validation images", "Test images"]
    found = map(escape, sentences(audit) if audit else [])
    return [table(header, [row], numbers_from=2), _bullets([*found, counted(result.dataset, audit)])]


def _recipe(result: Result) -> list[Markdown]:
    lines = [Markdown(f"{escape(recipes([result])[0])}.")]
    if result.metrics.started_from is not None:
        lines.append(Markdown(f"Fine-tuned: it was started from {started_from(result.metrics, digits=64)}."))
    return lines


def _results(result: Result, predictions: Predictions) -> list[Markdown]:
    test, classes = result.metrics.test, len(result.metrics.classes)
    logits, labels = predictions.test_logits, predictions.test_labels
    intervals = macro_intervals(metrics.predicted_classes(logits), labels, classes)
    if np.isfinite(losses := metrics.losses(logits, labels)).all():
        intervals["loss"] = mean_interval(losses)
    rows = []
    for metric in metrics.of_split("test"):
        if metric.name == "ece":  # Calibration has it, without the bias of small bins
            continue
        value, interval = getattr(test, metric.name), MISSING
        bounds = getattr(test, metric.interval_name) if metric.interval else intervals.get(metric.name)
        if bounds:
            interval = _range([metric.scale * bound for bound in bounds], metric.format)
        shown = MISSING if value is None else format(metric.scale * value, metric.format)
        macro = ", macro" if metric.name.endswith("_macro") else ""
        rows.append([metric.title[0].upper() + metric.title[1:] + macro, shown, interval])
    fold = f", on the images of {result.metrics.fold}" if result.metrics.fold else ""
    fewest, most = (f"{choose(each.n for each in test.per_class):,}" for choose in (min, max))
    support = fewest if fewest == most else f"{fewest} to {most}"
    note = (
        f"On {test.n:,} test images, with the weights after the last epoch{fold}. Macro: the mean over the {classes}"
        f" classes, each of which counts alike and has {support} test images. Intervals cover the choice of the test"
        " images, not of the seed: Wilson's; for the averages of classes, at the number of images that gives a share"
        " their variance (delta method, Takahashi et al. 2022); for the loss, a percentile bootstrap over images (Efron"
        " and Tibshirani 1993)."
    )
    return [table(["Metric", "Value", "95 % interval"], rows, numbers_from=1), escape(note)]


def _range(bounds: Iterable[float], form: str) -> str:
    return " to ".join(format(bound, form) for bound in bounds)


def _calibration(result: Result, predictions: Predictions) -> list[Markdown]:
    """Return how far stated probabilities can be believed, before and after the temperature that users get."""
    logits, labels = predictions.test_logits, predictions.test_labels
    temperature = own_temperature(result.directory, result.metrics.spec_sha256)
    right = metrics.predicted_classes(logits) == labels
    confidence = probabilities_of(logits).max(1)
    first = _calibration_error(confidence, right)
    rows = [["as the network gives them", *first]]
    if temperature == 1:
        after = "The temperature is 1: the validation images do not show that another one is better."
    else:
        scaled = probabilities_of((logits.astype(np.float64) / temperature).astype(np.float32)).max(1)  # as in reports
        rows.append([f"after the temperature, {temperature:.2f}", *_calibration_error(scaled, right)])
        after = (
            "The temperature divides the logits; it is fitted on the validation images and changes no answer. How to"
            " use it says where it is applied."
        )
    sure = f"the network is {'too sure' if confidence.mean() > right.mean() else 'not sure enough'}: it"
    if first[1].startswith("0.00 "):  # as printed: a reader must see why
        sure = "no miscalibration shows: the network"
    note = (
        "The calibration error is how far the probability that is stated for an answer and the share of right answers"
        f" are apart, on average (0 is best). As it is, {sure} states {100 * confidence.mean():.1f}"
        f" % on average, and {100 * right.mean():.1f} % of its answers are right. {after}"
    )
    return [table(["Probabilities", "Calibration error (%)", "95 % interval"], rows, numbers_from=1), escape(note)]


def _calibration_error(confidence: Floats, right: NDArray[np.bool_]) -> list[str]:
    """Return the error and its interval, in percent."""
    error, interval = calibration.calibration_error(calibration.reliability(confidence, right))
    return [f"{100 * error:.2f}", _range([100 * bound for bound in interval], ".2f")]


def _worst_classes(result: Result) -> list[Markdown]:
    """Return the classes of which the smallest share is recognised."""
    test, classes = result.metrics.test, result.metrics.classes
    missed = [index for index, each in enumerate(test.per_class) if each.n and each.recall < 1]
    if not missed:
        return [escape("No test image is predicted wrongly.")]
    rows = []
    for index in sorted(missed, key=lambda index: test.per_class[index].recall)[:_WORST_CLASSES]:
        wrong = [0 if other == index else count for other, count in enumerate(test.confusion_matrix[index])]
        taken_for = f"{classes[wrong.index(max(wrong))]} ({max(wrong):,})" if any(wrong) else MISSING
        each = test.per_class[index]
        rows.append([classes[index], taken_for, f"{each.n:,}", *_percents(each.recall, each.precision)])
    rows.append(["macro average", MISSING, f"{test.n:,}", *_percents(test.recall_macro, test.precision_macro)])
    header = ["Class", "Most often predicted instead", "Test images (support)", "Recall (%)", "Precision (%)"]
    note = (
        "The classes of which the smallest share is recognised (recall); of few test images, that is a rough estimate."
    )
    return [escape(note), table(header, rows, numbers_from=2)]


def _percents(*shares: float) -> list[str]:
    return [f"{100 * share:.1f}" for share in shares]


def _corrupted(result: Result) -> Markdown:
    """Return the sentence on corrupted pictures, the worst kind first; how to measure it, if it was not."""
    robustness = find_robustness(result)
    if robustness is None:
        file = f"results/{_name(result)}/{paths.ROBUSTNESS_FILE}"
        command = code(f"snakemake --cores 2 {quote(file)}")
        return Markdown(
            "Accuracy on corrupted pictures (noise, blur, JPEG and others) is not measured:"
            f" {command} does it, after {code('source .venv/bin/activate')}, and then this card has it when it is asked"
            " for again."
        )
    kinds = sorted(robustness.corruptions, key=robustness.mean)
    accuracies = ", ".join(f"{corruption_title(kind)} {100 * robustness.mean(kind):.1f} %" for kind in kinds)
    return escape(
        f"On corrupted pictures it is right less often. Accuracy on {robustness.n:,} test images as they are:"
        f" {100 * robustness.accuracy:.1f} %; by kind of corruption, each the mean of three severities: {accuracies}."
    )


def _cost(result: Result) -> list[Markdown]:
    network = result.metrics.model
    size = (
        f"{network.parameters:,} parameters ({network.weights_mb:,.1f} MB in float32), {network.mult_adds:,}"
        " multiply-adds for an image. Training:"
    )
    return [escape(size), cost_table([result])[0]]


def _limits(result: Result, audit: Audit | None) -> list[str]:
    found = [*result.warnings, *(leakage(audit) if audit else [])]
    return [
        "It names one of its classes for every picture, also for a picture of something else.",
        "The numbers are for pictures like the test images. Expect more errors with another camera, light or framing.",
        "It is one training run; another seed gives other numbers.",
        *([_FINE_TUNED] if result.metrics.started_from else []),
        *(f"{sentence[0].upper()}{sentence[1:]}." for sentence in found),
    ]


def _bullets(lines: list[str]) -> Markdown:
    return Markdown("\n".join(f"- {escape(line)}" for line in lines))


def _licence(result: Result, chosen: dict[str, Any]) -> list[Markdown]:
    known = _LICENCES.get(_data_name(result))
    data = f"The data: {known}." if known else "The data's licence is not known to this program; see where it is from."
    choose = Markdown(f"choose their licence, and replace {code('license: unknown')} in the header by it")
    lines = [Markdown(f"The weights: {code(chosen['license']) if chosen else choose}."), escape(data)]
    if (started := result.metrics.started_from) is not None:
        terms = "the terms of their licence hold for these weights, too; this program does not know it"
        lines.insert(1, Markdown(f"The weights that it was started from, {code(source(started))}: {terms}."))
    return lines


def _use(result: Result) -> list[Markdown]:
    network = named(result.architecture)
    own_file = result.architecture.rpartition(":")[0] if network is not None and network.library is None else None
    needs = f", with {code(own_file)}, the file of its network, in the working directory" if own_file else ""
    return [
        Markdown(f"Unpack {code(paths.BUNDLE_FILE)}. In the folder that is inside, with Python alone:"),
        _block("bash", _PREDICT),
        Markdown(
            "The picture should be as the training images were, such as cropped to one object. If these were bright on"
            f" dark, add {code('--invert')} for ink on paper."
        ),
        Markdown(
            "In Python, with the library that made it: clone the repository of Deeper Networks (the author of this card"
            f" has its address), run {code('make setup')} there, and use its {code('.venv')} in the folder of this"
            " card:"
        ),
        _block("python", _LOAD),
        Markdown(
            f"The weights file alone, {code(paths.MODEL_FILE)}, is enough for {code('load')}{needs}. Its metadata says"
            " how a picture is prepared. The temperature is applied to the probabilities of the experiment's folder, as"
            " long as its predictions are there, and of exported files, but not of the weights file alone."
        ),
        # In the same words before and after it is exported, so that the card of a bundle need not wait for that.
        Markdown(f"{code(paths.ONNX_FILE)}, if it is next to this card: onnxruntime runs it, {_IN_AND_OUT}."),
        *(
            Markdown(f"{code(each.file)} {escape(_exported(each))}")
            for each in read_exports(result)
            if each.file != paths.ONNX_FILE
        ),
    ]


def _block(language: str, lines: str) -> Markdown:
    return Markdown(f"```{language}\n{lines}\n```")


def _exported(exported: Exported) -> str:
    """What a reader must know of a file for other programs."""
    size = f"{exported.measured_on.precision}, {exported.bytes / 1e6:,.1f} MB"
    runs = "torch.export.load opens it" if exported.file.endswith(".pt2") else "onnxruntime runs it"
    validated = exported.validation
    lost = f" It costs {100 * validated.lost:.2f} points of accuracy on validation images." if validated else ""
    return f"({size}): {runs}, {_IN_AND_OUT}.{lost}"
