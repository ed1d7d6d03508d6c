"""From pictures that a user names to a file for each, with the map of where a network found its class."""

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath

import numpy as np
from torch import nn

from deepnets.data.pictures import PictureFile, decode_block, dim_line, read_blocks
from deepnets.evaluation.predictor import Model, Prediction, without_numbers
from deepnets.evaluation.saliency import saliency_maps
from deepnets.figures.overlay import overlay
from deepnets.utils.files import atomic_path
from deepnets.utils.logging import LOG
from deepnets.utils.text import one_line

_BLOCK_PICTURES = 32  # at once: gradients take memory


def write_overlays(
    model: Model,
    layer: nn.Module,
    files: Iterable[PictureFile],
    output: Path,
    *,
    invert: bool = False,
    encoding: str | None = None,
) -> list[str]:
    """Write the overlays of pictures, and log the class of each; return a line for each that cannot be shown.

    That is a broken one, and one for which the network's answer is not a number.

    Args:
        model: the network.
        layer: the module whose maps are shown, as of `find_last_maps`.
        files: the pictures.
        output: the folder of the overlays; that of a.png is a.grad-cam.png.
        invert: as of `Model.predict`.
        encoding: as of `deepnets.data.pictures.list_pictures`.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    problems, dim, file_of = list[str](), list[str](), _new_names(output)
    for block in read_blocks(files, _BLOCK_PICTURES, encoding):
        decoded = decode_block(block, [model.form], invert)
        problems += decoded.problems
        dim += decoded.dim
        probabilities = model.probabilities(decoded.images[0])
        problems += without_numbers(decoded.names, probabilities)
        shown = np.flatnonzero(np.isfinite(probabilities).all(1))
        images = [decoded.images[0][index] for index in shown]
        maps = saliency_maps(model, layer, images, [int(probabilities[index].argmax()) for index in shown])
        for index, pixels, saliency in zip(shown, images, maps, strict=True):
            name, prediction = decoded.names[index], Prediction(model.classes, probabilities[index])
            file = file_of(name)
            with atomic_path(file) as temporary:
                overlay(pixels, saliency).save(temporary)
            nothing = "" if saliency.any() else "; its map is empty, as no place in it speaks for this class"
            LOG.info("%s", one_line(f"{name}: {prediction}, see {file}{nothing}"))
    if dim:
        LOG.warning("%s", dim_line(dim))
    return problems


def _new_names(folder: Path) -> Callable[[str], Path]:
    """Return what names the overlay of a picture; two pictures of one name get two."""
    used = set[str]()

    def name(picture: str) -> Path:
        stem = PurePath(picture).stem
        numbered = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        used.add(free := next(each for each in numbered if each not in used))
        return folder / f"{free}.grad-cam.png"

    return name
