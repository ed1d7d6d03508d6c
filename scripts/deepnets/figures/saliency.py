"""The surest mistakes of one network, each next to the map of where it found its answer: Grad-CAM."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from deepnets.comparison.agreement import answer
from deepnets.comparison.statistics_file import Answer
from deepnets.evaluation.confidence import probabilities_of, surprises
from deepnets.evaluation.metrics import predicted_classes
from deepnets.evaluation.predictions import read_examples, read_predictions
from deepnets.evaluation.predictor import Model, load
from deepnets.evaluation.saliency import find_last_maps, map_shape, saliency_maps
from deepnets.figures.overlay import overlay
from deepnets.figures.pictures import TILE, draw_tile
from deepnets.figures.style import MUTED, applied, save, title
from deepnets.training.experiment_dir import experiment_name
from deepnets.utils import paths
from deepnets.utils.checksums import record_checksums
from deepnets.utils.machine import usable_cores
from deepnets.utils.specs import check_made_by, settings_sha256

MISTAKES = 8
_COLUMNS = 4


def write_saliency(job: dict, folder: Path, *, threads: int = 1) -> None:
    """Write figures/saliency.png of a trained experiment: its surest mistakes among the test images.

    Args:
        job: {"experiment": its names, "spec": its spec}.
        folder: the experiment's, with model.safetensors and predictions.safetensors.
        threads: CPU threads.

    Raises:
        UserError: a file is missing or damaged, or belongs to another experiment; or the network has no maps to show.
    """
    torch.set_num_threads(min(threads, usable_cores()))
    model = load(folder, device="cpu", temperature=1)
    check_made_by(folder / paths.MODEL_FILE, model.spec, job["spec"])
    name, layer = find_last_maps(model, experiment_name(job["experiment"]))
    answers, pictures = _mistakes(folder / paths.PREDICTIONS_FILE, model)
    maps = saliency_maps(model, layer, pictures, [each.predicted for each in answers])
    drawn = [np.asarray(overlay(*pair)) for pair in zip(pictures, maps, strict=True)]
    file = folder / paths.SALIENCY_FILE
    experiment = {**job["experiment"], "architecture": job["spec"]["model"]["architecture"]}
    with record_checksums("saliency", file):
        figure = draw(drawn, answers, model.classes, experiment, name, map_shape(model, layer))
        save(figure, file, settings_sha256(job))


def _mistakes(file: Path, model: Model) -> tuple[list[Answer], list[NDArray]]:
    """Return the surest mistakes among the test images, and the images as the network takes them.

    Large images are kept smaller than the network takes them, and enlarged here.
    """
    found, kept = read_predictions(file, model.spec_sha256), read_examples(file)
    probabilities = probabilities_of(found.test_logits)
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    mistakes, _ = surprises(confidence, predicted_classes(found.test_logits) == found.test_labels, MISTAKES, 0)
    answers = [
        Answer(**answer(index, found.test_labels, predicted, confidence, found.test_files))
        for index in mistakes.tolist()
    ]
    return answers, [_enlarged(kept[each.index], model.form.size) for each in answers]


def _enlarged(picture: NDArray, size: int) -> NDArray:
    if len(picture) == size:
        return picture
    resized = Image.fromarray(picture.squeeze()).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(resized).reshape(size, size, -1)


@applied()
def draw(
    pictures: Sequence[NDArray],
    answers: Sequence[Answer],
    classes: Sequence[str],
    experiment: dict,
    layer: str,
    shape: tuple[int, int],
) -> Figure:
    """Draw the mistakes, the surest first.

    Args:
        pictures: each with its map next to it, uint8 (h, 2 h, 3).
        answers: what the network says of them.
        classes: names, by label.
        experiment: its names, for the title.
        layer: the name of the module whose maps are shown.
        shape: height and width of these maps: with few places, a map tells little.
    """
    lines = max(1, math.ceil(len(pictures) / _COLUMNS))
    figure = Figure(figsize=(2 * _COLUMNS * TILE[0] + 0.3, lines * TILE[1] + 0.6), layout="constrained")
    places = f"{shape[0]} x {shape[1]} places"
    heading = title(experiment, f"surest mistakes, and bright where it found its answer; maps of {layer}: {places}")
    figure.suptitle(heading, x=0.01, ha="left", fontsize=10, fontweight="bold")
    tiles = figure.subplots(lines, _COLUMNS, squeeze=False).flatten().tolist()
    for axes, picture, each in zip(tiles, pictures, answers, strict=False):
        draw_tile(axes, picture, each, classes)
    for axes in tiles[len(pictures) :]:
        axes.set_axis_off()
    if not pictures:
        figure.text(0.5, 0.4, "none", ha="center", color=MUTED)
    return figure
