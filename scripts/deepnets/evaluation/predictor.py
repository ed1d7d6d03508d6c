"""Trained networks in use: from pictures to classes with probabilities, in Python and for scripts/predict.py."""

import itertools
import math
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn

from deepnets import models
from deepnets.config.recipe import Recipe
from deepnets.data.decode_options import DEFAULT_MEGAPIXELS, LARGEST_MEGAPIXELS
from deepnets.data.decoders import Decoders
from deepnets.data.pictures import (
    Decoded,
    Form,
    PictureFile,
    Pixels,
    block_length,
    decode_block,
    dim_line,
    prepare_picture,
    read_blocks,
)
from deepnets.data.splits import Split
from deepnets.evaluation.network import load_network
from deepnets.evaluation.temperature import own_temperature
from deepnets.evaluation.weights_file import find_weights
from deepnets.training.augmentation import Augmentation
from deepnets.training.device import Device, choose_device
from deepnets.training.inference import EVALUATION_BATCH, predict
from deepnets.utils.ahead import map_ahead
from deepnets.utils.errors import UserError
from deepnets.utils.logging import LOG
from deepnets.utils.text import one_line, shortened

Picture = str | os.PathLike | Image.Image | np.ndarray
_MOST_WORKERS = 4  # batches that are predicted at once
_BATCH_BYTES = 2**18  # of images: where a batch has no more, each worker takes a whole one
_NO_NUMBERS = "the network's answer is not a number (NaN); train it again, with precision: fp32 or a smaller lr"


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network, or a committee, says of one picture.

    classes         all class names, by label
    probabilities   of each class, float32 (C,)
    """

    classes: list[str]
    probabilities: np.ndarray

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.top(1)[0][0]

    @property
    def probability(self) -> float:
        """The probability of the most probable class."""
        return self.top(1)[0][1]

    def top(self, count: int) -> list[tuple[str, float]]:
        """The most probable classes with their probabilities, the best first."""
        return next(_top(self.classes, self.probabilities[None], count))

    def __str__(self) -> str:
        return f"{self.label} ({100 * self.probability:.1f} %)"


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network, ready for pictures; `load` makes it.

    classes       class names, by label
    form          the images that it takes
    spec          all settings of its experiment
    spec_sha256   their hash, which identifies the experiment
    network       float (N, C, H, W), normalised -> logits (N, C)
    temperature   the logits are divided by it
    """

    classes: list[str]
    form: Form
    spec: dict
    spec_sha256: str
    network: nn.Module
    augmentation: Augmentation
    device: Device
    temperature: float = 1.0

    def predict(self, pictures: Iterable[Picture], *, invert: bool = False) -> list[Prediction]:
        """Predict pictures of any size, each prepared as the training images were.

        Args:
            pictures: paths of image files, pictures of Pillow, or arrays, uint8 (H, W), (H, W, 1), (H, W, 3) or
                (H, W, 4).
            invert: make bright what is dark, and dark what is bright, as for ink on paper where the training images
                are bright on dark.

        Returns:
            A prediction for each, in the same order.

        Raises:
            UserError: pictures are broken or cannot be read, or the network's answer is not a number; the message has a
                line for each.
        """
        if isinstance(pictures, str | bytes | os.PathLike | Image.Image) or (
            # Many of them are (N, H, W, channels) or, in gray, (N, H, W).
            isinstance(pictures, np.ndarray) and pictures.ndim < 4 and (pictures.ndim < 3 or pictures.shape[-1] < 5)
        ):
            raise UserError("predict: takes a list of pictures, also of a single one; write predict([picture]).")
        names, images, problems, dim = list[str](), list[Pixels](), list[str](), list[str]()
        for index, picture in enumerate(pictures):
            name = str(picture) if isinstance(picture, str | os.PathLike) else f"picture {index}"
            try:
                pixels, is_dim = prepare_picture(picture, self.form, invert)
            except ValueError as error:
                problems.append(one_line(f"{name}: {error}."))
                continue
            names.append(name)
            images.append(pixels)
            if is_dim:
                dim.append(name)
        if problems:
            raise UserError(shortened(problems))
        if dim:
            LOG.warning("%s", dim_line(dim))
        return self.of_pixels(images, names)

    def of_pixels(self, images: Sequence[Pixels], names: Sequence[str]) -> list[Prediction]:
        """Predict images that are as the network takes them: each uint8 (size, size, channels).

        Raises:
            UserError: the network's answer is not a number; the message has a line for each such image, by its name.
        """
        if not len(images):
            return []
        probabilities = self.probabilities(np.stack(images))
        if lost := without_numbers(names, probabilities):
            raise UserError(shortened(lost))
        return [Prediction(self.classes, each) for each in probabilities]

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities, float32 (N, C), of images uint8 (N, size, size, channels)."""
        if not len(images):
            return np.zeros((0, len(self.classes)), np.float32)
        return torch.from_numpy(self.logits(images) / self.temperature).softmax(1).numpy()

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Return the logits, float32 (N, C), of images uint8 (N, size, size, channels)."""
        split = Split.of_arrays(images, np.zeros(len(images), np.int64))
        with models.own_errors():
            return predict(self.network, split, self.augmentation, self.device).numpy()


def without_numbers(names: Sequence[str], probabilities: np.ndarray) -> list[str]:
    """Return a line for each picture whose probabilities, float32 (N, C), are not numbers."""
    wrong = np.flatnonzero(~np.isfinite(probabilities).all(1)).tolist()
    return [one_line(f"{names[index]}: {_NO_NUMBERS}.") for index in wrong]


def _top(classes: list[str], probabilities: np.ndarray, count: int) -> Iterator[list[tuple[str, float]]]:
    """Yield the most probable classes of each picture, the best first, by probabilities float32 (N, C)."""
    if count == 1:  # the usual case, and of many classes several times as fast
        best = probabilities.argmax(1)[:, None]
    else:
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    of_best = np.take_along_axis(probabilities, best, 1).tolist()
    for labels, values in zip(best.tolist(), of_best, strict=True):
        yield [(classes[label], value) for label, value in zip(labels, values, strict=True)]


def load(
    path: str | os.PathLike,
    *,
    device: str = "auto",
    temperature: float | None = None,
    max_megapixels: float | None = None,
) -> Model:
    """Load a trained network.

    Args:
        path: the folder of an experiment, "results/digits/mobilenet_v2/quick/seed0", or a weights file alone. A network
            of the user's own file is looked up from the working directory.
        device: "auto", a GPU where torch sees one, or "cpu".
        temperature: the logits are divided by it before they become probabilities; 1 changes nothing. By default the
            experiment's own, which is fitted on its validation images; 1 if all of these are right, and for a weights
            file alone.
        max_megapixels: files with larger pictures are refused. By default, those that its dataset refused.

    Raises:
        UserError: there are no such weights, or they are damaged or of another program; or the experiment's predictions
            are needed for the temperature, and damaged or of other settings.
    """
    network, metadata = load_network(find_weights(path))
    if temperature is None:
        temperature = own_temperature(Path(path), metadata["spec_sha256"])
    recipe, dataset = Recipe(**metadata["spec"]["recipe"]), metadata["spec"]["dataset"]
    chosen, precision = choose_device(network, device, recipe.precision)
    channels, size, _ = metadata["input_shape"]
    return Model(
        metadata["classes"],
        Form(
            size,
            channels,
            dataset.get("bit_depth"),
            _max_megapixels(metadata) if max_megapixels is None else max_megapixels,
            dataset.get("non_square", "crop"),
        ),
        metadata["spec"],
        metadata["spec_sha256"],
        network.to(chosen).to(memory_format=torch.channels_last).eval(),
        Augmentation(recipe.augment, False, metadata["mean"], metadata["std"], chosen),
        Device(chosen, precision, torch.get_num_threads(), deterministic=False),
        temperature,
    )


def _max_megapixels(metadata: dict) -> float:
    """The option of the dataset, which its weights have where it is not the default."""
    found = metadata.get("max_megapixels")
    return min(found, LARGEST_MEGAPIXELS) if isinstance(found, int | float) else DEFAULT_MEGAPIXELS


# -- many files --------------------------------------------------------------------------------------------------------


def check_committee(members: Sequence[Model]) -> None:
    """Check that networks can be averaged.

    Raises:
        UserError: they have not the same classes.
    """
    for member in members[1:]:
        if member.classes != members[0].classes:
            raise UserError(
                f"--committee: networks of the classes {', '.join(members[0].classes)[:200]} and of the classes"
                f" {', '.join(member.classes)[:200]} cannot be averaged; name networks of one dataset."
            )


class Predicted(NamedTuple):
    """What networks say of some pictures.

    names          of those that have a prediction
    classes        all class names, by label
    probabilities  of each class, float32 (N, C)
    problems       a line for each of the others
    dim            names of pictures that nearly lose their contrast, as of `deepnets.data.decode.Dim`
    """

    names: list[str]
    classes: list[str]
    probabilities: np.ndarray
    problems: list[str]
    dim: list[str]

    def top(self, count: int) -> Iterator[tuple[str, list[tuple[str, float]]]]:
        """Yield the name of each picture with its most probable classes and their probabilities, the best first."""
        return zip(self.names, _top(self.classes, self.probabilities, count), strict=True)


def predict_files(
    members: Sequence[Model],
    files: Sequence[PictureFile],
    decoders: Decoders | None = None,
    workers: int = 1,
    *,
    invert: bool = False,
    encoding: str | None = None,
) -> Generator[Predicted, None, None]:
    """Yield the predictions of pictures, in their order, for a batch at a time; of several networks, the mean.

    Args:
        members: the networks, of the same classes.
        files: the pictures.
        decoders: processes that decode, while this one predicts; None: this one does both.
        workers: threads that predict a batch each.
        invert: as of `Model.predict`.
        encoding: as of `deepnets.data.pictures.list_pictures`.
    """
    forms = list(dict.fromkeys(member.form for member in members))
    length = batch_length(members, len(files), workers)
    processes = 1 if decoders is None else decoders.processes
    blocks = read_blocks(files, min(block_length(forms), length, math.ceil(len(files) / processes) or 1), encoding)
    decode = partial(decode_block, forms=forms, invert=invert)
    decoded = map(decode, blocks) if decoders is None else decoders.map(decode, blocks)
    pool = ThreadPoolExecutor(workers)
    try:
        yield from map_ahead(pool, partial(_predict_batch, members, forms), _batches(decoded, length), 2 * workers)
    finally:  # also after Ctrl-C, and where nobody reads any more: what waits is not predicted
        pool.shutdown(cancel_futures=True)


def count_workers(members: Sequence[Model], threads: int) -> int:
    """How many batches to predict at once: by one thread each, two batches take less time than one after the other.

    Threads that share a batch wait for each other in every layer; of a small network that is most of the time. Few
    batches, as each takes memory; a GPU takes one.
    """
    return 1 if any(member.device.device.type != "cpu" for member in members) else min(threads, _MOST_WORKERS)


def batch_length(members: Sequence[Model], pictures: int, workers: int) -> int:
    """How many pictures a batch has, at most: small images fill whole ones, as starting a layer takes as long as many.

    Of larger images, also those that a network enlarges, the workers share the memory and the processor's cache of one
    batch: whole ones of MobileNetV2 at 32 pixels, without strides at first, took twice the time.
    """
    length = EVALUATION_BATCH
    if length * sum(_computed_size(member) ** 2 * member.form.channels for member in members) > _BATCH_BYTES:
        length //= workers
    return max(1, min(length, math.ceil(pictures / workers)))


def _computed_size(member: Model) -> int:
    """The side of the images that a network computes with: some enlarge what they get."""
    options = member.spec["model"]
    return max(member.form.size, options.get("resize") or 0, options.get("min_image_size") or 0)


def _batches(decoded: Iterable[Decoded], length: int) -> Iterator[list[Decoded]]:
    """Put blocks together as long as they have no more than `length` pictures."""
    batch, pictures = list[Decoded](), 0
    for block in decoded:
        if pictures + len(block.names) > length:
            yield batch
            batch, pictures = [], 0
        batch.append(block)
        pictures += len(block.names)
        if pictures == length:  # now: the next block may not be decoded yet
            yield batch
            batch, pictures = [], 0
    if batch:
        yield batch


def _predict_batch(members: Sequence[Model], forms: list[Form], batch: list[Decoded]) -> Predicted:
    images = [np.concatenate(of_form) for of_form in zip(*(block.images for block in batch), strict=True)]
    of_members = [member.probabilities(images[forms.index(member.form)]) for member in members]
    probabilities = of_members[0] if len(members) == 1 else np.mean(of_members, axis=0)
    names = [name for block in batch for name in block.names]
    are_numbers = np.isfinite(probabilities).all(1)
    return Predicted(
        list(itertools.compress(names, are_numbers)),
        members[0].classes,
        probabilities[are_numbers],
        [*(line for block in batch for line in block.problems), *without_numbers(names, probabilities)],
        [name for block in batch for name in block.dim],
    )
