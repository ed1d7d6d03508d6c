"""A recipe of config.yaml: the settings of one training run, their defaults, units and effects."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from deepnets.config import optimizers
from deepnets.config.optimizers import OPTIMIZERS
from deepnets.utils.option_types import (
    MAX_IMAGE_SIZE,
    AcceptExponent,
    Degrees,
    Flag,
    Fraction,
    NonNegativeNumber,
    Number,
    Pixels,
    PositiveAmount,
    PositiveInt,
    PositiveNumber,
    Probability,
    StrictModel,
    measured_in,
)

if TYPE_CHECKING:
    OptimizerName = str  # type checkers cannot read a Literal that is computed
else:
    OptimizerName = Literal[tuple(OPTIMIZERS)]

# Upper bounds, each far above what anyone trains with: beyond them is a typing mistake.
_MAX_EPOCHS = 100_000  # history.csv has a row for each, and learning_curves a point
_MAX_BATCH = 65_536  # twice the largest batch that image networks were trained with without loss (You et al. 2017)
_MAX_LR = 100  # lr and weight decay; one step of such a size leaves nothing of the weights
_MAX_ALPHA = 100  # Beta(100, 100) is nearly constant, at a half; Beta(1e308, 1e308) overflows

# Far above the norm of the gradients of a network that learns.
_Norm = Annotated[float, Field(strict=True, gt=0, le=1_000_000, allow_inf_nan=False), AcceptExponent]


class Augment(StrictModel):
    """Random changes to the training images, drawn for every image in every epoch; 0 or false switches one off."""

    crop_padding: Pixels = Field(
        0,
        le=MAX_IMAGE_SIZE,
        description="Width in pixels of a black frame; the image is cropped at random from the framed image, so it"
        " shifts by at most this number of pixels.",
    )
    horizontal_flip: Flag = Field(
        True, description="Mirror half of the images left to right; only where the dataset allows it, so never digits."
    )
    rotation: Degrees = Field(0.0, ge=0, le=180, description="Largest rotation in degrees, to either side.")
    scale: Fraction = Field(0.0, ge=0, lt=1, description="Largest relative change of size; 0.1 is from 90 % to 110 %.")
    translate: Fraction = Field(
        0.0, ge=0, lt=1, description="Largest shift as a fraction of the image size, in each direction."
    )
    shear: Degrees = Field(0.0, ge=0, lt=90, description="Largest shear in degrees, to either side.")
    cutout: Pixels = Field(
        0, le=MAX_IMAGE_SIZE, description="Side in pixels of a square that is blanked at a random position."
    )
    random_erasing: Annotated[Probability, measured_in("probability")] = Field(
        0.0, description="Probability that a box of random size is blanked."
    )
    mixup: NonNegativeNumber = Field(
        0.0,
        le=_MAX_ALPHA,
        description="Alpha of mixup, the blending of two images and their labels; 0.2 is mild, 1 is strong.",
    )
    cutmix: NonNegativeNumber = Field(
        0.0,
        le=_MAX_ALPHA,
        description="Alpha of CutMix, a box pasted from another image; with mixup, each batch gets one of the two.",
    )


class ProgressiveResizing(StrictModel):
    """Train on small images first, which cost less; they grow to full size during training."""

    start: Fraction = Field(0.5, gt=0, le=1, description="Image size at the start, as a fraction of the full size.")
    until: Fraction = Field(0.7, gt=0, lt=1, description="Fraction of the steps after which images have full size.")


class RecipeValues(StrictModel):
    """Recipe values, each checked by itself. `set:` and `on:` hold some of them; the others come from the recipe."""

    epochs: Annotated[PositiveAmount, measured_in("epochs")] = Field(
        8,
        le=_MAX_EPOCHS,
        description="Passes over the training images, rounded to whole steps: 0.5 is half a pass. The schedule ends"
        " with the last one.",
    )
    batch_size: Annotated[PositiveInt, measured_in("images")] = Field(
        128, le=_MAX_BATCH, description="Images per optimizer step; more is steadier but makes fewer steps."
    )
    accumulation: PositiveInt = Field(
        1,
        le=_MAX_BATCH // 2,
        description="Number of micro-batches in which a batch is computed: less memory, the same steps, but batch"
        " normalisation over each micro-batch alone. Must divide batch_size.",
    )
    optimizer: OptimizerName = Field("sgd", description=optimizers.DESCRIPTION)
    lr: PositiveNumber = Field(
        0.05,
        le=_MAX_LR,
        description="Highest learning rate of the schedule. Of muon: the length of an orthogonal step as a fraction of"
        " the norm of the layer's weight.",
    )
    sgd_lr: PositiveNumber = Field(
        0.1,
        le=_MAX_LR,
        description="Highest learning rate of muon's sgd steps of norms and biases.",
    )
    classifier_lr: PositiveNumber = Field(
        0.02,
        le=_MAX_LR,
        description="Highest learning rate of muon's sgd steps of the classifier, the last layer, and of hidden layers"
        " of more than 8 million parameters.",
    )
    layer_decay: Number = Field(
        1.0,
        gt=0,
        le=1,
        description="Factor of the learning rates from each layer to the one before it, for fine-tuning: with 0.7, the"
        " last layer but one learns at 0.7 of lr, the one before at 0.49; 1 is the same for all.",
    )
    momentum: Number = Field(0.9, ge=0, lt=1, description="Momentum of sgd steps; adamw keeps its own betas.")
    muon_momentum: Number = Field(0.6, ge=0, lt=1, description="Momentum of muon's orthogonal steps.")
    weight_decay: NonNegativeNumber = Field(
        5e-4,
        le=_MAX_LR,
        description="Weight decay, not applied to normalisation layers and biases, nor to what muon makes orthogonal.",
    )
    schedule: Literal["one_cycle", "cosine", "linear"] = Field(
        "one_cycle", description="Shape of the learning rate over the steps, after the warm-up; all end at zero."
    )
    warmup: Fraction = Field(0.2, ge=0, lt=1, description="Fraction of the steps in which the learning rate rises.")
    label_smoothing: Fraction = Field(
        0.0, ge=0, lt=1, description="Fraction of the target that is spread evenly over all classes."
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none",
        description="With balanced, the losses of a class's images are multiplied by a number that is inverse to how"
        " many there are; the mean over all training images is 1.",
    )
    sampler: Literal["shuffled", "balanced"] = Field(
        "shuffled",
        description="How an epoch draws its images: shuffled takes each once, balanced takes equally many of each"
        " class, so that some images of a rare class come several times. The number of steps is the same.",
    )
    clip_norm: _Norm | None = Field(
        None, description="Gradients with a larger norm are scaled down to this norm; null never scales."
    )
    weight_averaging: Literal["none", "ema", "swa"] = Field(
        "none",
        description="Evaluate averaged weights: ema is a moving average, swa the mean over the end of training. With"
        " swa, the validation metrics of single epochs are measured before its batch statistics are re-estimated.",
    )
    ema_decay: Fraction = Field(0.99, gt=0, lt=1, description="Fraction of the old average that each step keeps (ema).")
    averaging_start: Fraction = Field(0.75, ge=0, lt=1, description="Fraction of the steps after which swa starts.")
    validation_fraction: Fraction = Field(
        0.1,
        gt=0,
        le=0.5,
        description="Fraction of the training images held out for validation, stratified by class; without effect on a"
        " dataset that has a validation split of its own.",
    )
    augment: Augment = Field(default_factory=Augment, description="Random changes to the training images.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="Arithmetic of the network; auto is bf16 where the device multiplies bfloat16 natively, else fp32."
        " In bf16 the weights stay float32. On a CPU, two kinds of convolutions are trained in float32, too: those with"
        " a stride wider than their map, and grouped ones, such as depthwise, with a stride or with a kernel larger"
        " than their map.",
    )
    compile: Flag = Field(
        False,
        description="Compile the network with torch.compile, which needs a C++ compiler and takes a minute at the"
        " start; MobileNetV2 becomes a little faster on a CPU.",
    )
    progressive_resizing: ProgressiveResizing | None = Field(
        None, description="Train on smaller images first; null trains at full size throughout."
    )


class Recipe(RecipeValues):
    """The settings of a training run, except data, model and seed."""

    @model_validator(mode="after")
    def _batches_have_statistics(self) -> Self:
        if self.batch_size % self.accumulation:
            raise ValueError(
                f"accumulation {self.accumulation} does not divide batch_size {self.batch_size};"
                " choose a divisor of the batch size"
            )
        if self.batch_size // self.accumulation < 2:
            raise ValueError(
                f"batch_size {self.batch_size} with accumulation {self.accumulation} has micro-batches of one image,"
                " and batch normalisation has no variance over one; choose 2 or more images per micro-batch"
            )
        return self

    @model_validator(mode="after")
    def _classes_are_balanced_once(self) -> Self:
        if self.class_weights == self.sampler == "balanced":
            raise ValueError(
                "class_weights and sampler are both balanced, so that rare classes would count twice; choose one"
            )
        return self

    def spec(self, flips: bool) -> dict[str, Any]:
        """Return what identifies the training run: JSON-able, with every default resolved.

        An option that has no effect, given the others, has its default: its value makes no result stale.

        Args:
            flips: whether images are mirrored, which the dataset and the recipe must both allow.
        """
        spec, defaults = self.model_dump(mode="json"), Recipe().model_dump(mode="json")
        for name in idle_options(spec):
            spec[name] = defaults[name]
        if not flips:
            spec["augment"]["horizontal_flip"] = defaults["augment"]["horizontal_flip"]
        if spec["progressive_resizing"] and spec["progressive_resizing"]["start"] == 1:  # full size from the start
            spec["progressive_resizing"] = defaults["progressive_resizing"]
        return spec


# Options that count only where another option has certain values: option -> (other option, these values).
_COUNTS_ONLY_WITH = {
    **{
        option: ("optimizer", {name for name, other in OPTIMIZERS.items() if option in other.options})
        for optimizer in OPTIMIZERS.values()
        for option in optimizer.options
    },
    "ema_decay": ("weight_averaging", {"ema"}),
    "averaging_start": ("weight_averaging", {"swa"}),
}


def idle_options(recipe: Mapping[str, Any]) -> set[str]:
    """Names of the options that have no effect in this recipe, given the values of its other options."""
    return {name for name, (other, values) in _COUNTS_ONLY_WITH.items() if recipe.get(other) not in values}
