"""Trained networks in use: from pictures to classes with probabilities, in Python and for scripts/predict.py."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import joblib
import numpy as np
import torch
from PIL import Image
from torch import nn

from deepnets import models
from deepnets.config.recipe import Recipe
from deepnets.data.decode import MAX_MEGAPIXELS
from deepnets.data.pictures import BLOCK_PICTURES, Form, Pixels, Place, Problem, decode_block, read_blocks, to_pixels
from deepnets.data.splits import Split
from deepnets.evaluation.network import load_network
from deepnets.evaluation.temperature import own_temperature
from deepnets.training.augmentation import Augmentation
from deepnets.training.device import Device, choose_device
from deepnets.training.inference import EVALUATION_BATCH, predict
from deepnets.utils import paths
from deepnets.utils.errors import UserError
from deepnets.utils.text import shortened

Picture = str | os.PathLike | Image.Image | np.ndarray
_ALONE = 8 * BLOCK_PICTURES  # this many pictures are decoded sooner than processes start


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
        best = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.classes[index], float(self.probabilities[index])) for index in best]

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
            UserError: pictures are broken or cannot be read; the message has a line for each.
        """
        if isinstance(pictures, str | os.PathLike | Image.Image):
            raise UserError("predict: takes a list of pictures, also of a single one; write predict([picture]).")
        images, problems = list[Pixels](), list[str]()
        for index, picture in enumerate(pictures):
            try:
                images.append(to_pixels(picture, self.form, invert))
            except ValueError as error:
                name = picture if isinstance(picture, str | os.PathLike) else f"picture {index}"
                problems.append(f"{name}: {error}.")
        if problems:
            raise UserError(shortened(problems))
        return self.of_pixels(images)

    def of_pixels(self, images: Sequence[Pixels]) -> list[Prediction]:
        """Predict images that are as the network takes them: each uint8 (size, size, channels)."""
        if not len(images):
            return []
        scaled = self.logits(np.stack(images)) / self.temperature
        probabilities = torch.from_numpy(scaled).softmax(1).numpy()
        return [Prediction(self.classes, each) for each in probabilities]

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Return the logits, float32 (N, C), of images uint8 (N, size, size, channels), as the evaluation does."""
        split = Split.of_arrays(images, np.zeros(len(images), np.int64))
        with models.own_errors():
            return predict(self.network, split, self.augmentation, self.device).numpy()


def load(
    path: str | os.PathLike,
    *,
    device: str = "auto",
    temperature: float | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Model:
    """Load a trained network.

    Args:
        path: the folder of an experiment, "results/digits/mobilenet_v2/quick/seed0", or a weights file alone. A network
            of the user's own file is looked up from the working directory.
        device: "auto", a GPU where torch sees one, or "cpu".
        temperature: the logits are divided by it before they become probabilities; 1 changes nothing. By default the
            experiment's own, which is fitted on its validation images; 1 if all of these are right, and for a weights
            file alone.
        max_megapixels: files with larger pictures are refused.

    Raises:
        UserError: there are no such weights, or they are damaged or of another program; or the experiment's predictions
            are needed for the temperature, and damaged or of other settings.
    """
    network, metadata = load_network(_weights(Path(path)))
    if temperature is None:
        temperature = own_temperature(Path(path), metadata["spec_sha256"])
    recipe, dataset = Recipe(**metadata["spec"]["recipe"]), metadata["spec"]["dataset"]
    chosen, precision = choose_device(network, device, recipe.precision)
    channels, size, _ = metadata["input_shape"]
    return Model(
        metadata["classes"],
        Form(size, channels, dataset.get("bit_depth"), max_megapixels, dataset.get("non_square", "crop")),
        metadata["spec"],
        metadata["spec_sha256"],
        network.to(chosen).to(memory_format=torch.channels_last).eval(),
        Augmentation(recipe.augment, False, metadata["mean"], metadata["std"], chosen),
        Device(chosen, precision, torch.get_num_threads(), deterministic=False),
        temperature,
    )


def _weights(path: Path) -> Path:
    if path.is_dir():
        path = path / paths.MODEL_FILE
    if not path.is_file():
        raise UserError(f"{path}: does not exist; give the folder of a trained experiment, or its {paths.MODEL_FILE}.")
    return path


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


def predict_places(
    members: Sequence[Model], places: Sequence[Place], processes: int = 1, *, invert: bool = False
) -> Iterator[tuple[str, Prediction | Problem]]:
    """Yield the prediction of each picture, or its problem, in their order; of several networks, the mean.

    Args:
        members: the networks, of the same classes.
        places: the pictures.
        processes: that decode, while this one predicts.
        invert: as of `Model.predict`.
    """
    forms = list(dict.fromkeys(member.form for member in members))
    workers = 1 if len(places) < _ALONE else processes
    parallel = joblib.Parallel(workers, return_as="generator", batch_size=1, pre_dispatch="2*n_jobs", max_nbytes=None)
    waiting = list[tuple[str, list[Pixels] | Problem]]()
    for block in parallel(joblib.delayed(decode_block)(block, forms, invert) for block in read_blocks(places)):
        waiting += block
        while len(waiting) >= EVALUATION_BATCH:
            yield from _predict_batch(members, forms, waiting[:EVALUATION_BATCH])
            waiting = waiting[EVALUATION_BATCH:]
    yield from _predict_batch(members, forms, waiting)


def _predict_batch(
    members: Sequence[Model], forms: list[Form], batch: list[tuple[str, list[Pixels] | Problem]]
) -> Iterator[tuple[str, Prediction | Problem]]:
    decoded = [pixels for _, pixels in batch if not isinstance(pixels, Problem)]
    of_members = [member.of_pixels([pixels[forms.index(member.form)] for pixels in decoded]) for member in members]
    predictions = map(_mean, zip(*of_members, strict=True))
    for name, pixels in batch:
        yield name, pixels if isinstance(pixels, Problem) else next(predictions)


def _mean(predictions: Sequence[Prediction]) -> Prediction:
    return replace(predictions[0], probabilities=np.mean([each.probabilities for each in predictions], axis=0))
