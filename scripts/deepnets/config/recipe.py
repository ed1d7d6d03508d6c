"""What a recipe of config.yaml may say: the settings of one training run, their defaults, units and effects."""

from typing import Literal, Self

from pydantic import Field, model_validator

from deepnets.utils.option_types import (
    Flag,
    NonNegativeInt,
    NonNegativeNumber,
    Number,
    PositiveInt,
    PositiveNumber,
    Probability,
    StrictModel,
)


class Augment(StrictModel):
    """Random changes to the training images, drawn anew for every image and epoch; 0 or false switches one off."""

    crop_padding: NonNegativeInt = Field(
        0,
        description="Pixels of black frame from which the image is cropped at random: shifts by up to so many pixels.",
    )
    horizontal_flip: Flag = Field(
        True, description="Mirror half of the images left to right; only where the dataset allows it, so never digits."
    )
    rotation: Number = Field(0.0, ge=0, le=180, description="Largest rotation in degrees, to either side.")
    scale: Number = Field(0.0, ge=0, lt=1, description="Largest relative change of size; 0.1 is from 90 % to 110 %.")
    translate: Number = Field(
        0.0, ge=0, lt=1, description="Largest shift as a fraction of the side, in each direction."
    )
    shear: Number = Field(0.0, ge=0, lt=90, description="Largest shear in degrees, to either side.")
    cutout: NonNegativeInt = Field(0, description="Side in pixels of a square blanked at a random place.")
    random_erasing: Probability = Field(0.0, description="Probability that a box of random size is blanked.")
    mixup: NonNegativeNumber = Field(
        0.0, description="Alpha of mixup, the blending of two images and their labels; 0.2 is mild, 1 is strong."
    )
    cutmix: NonNegativeNumber = Field(
        0.0, description="Alpha of CutMix, a box pasted from another image; with mixup, each batch gets one of the two."
    )


class ProgressiveResizing(StrictModel):
    """Small images first, which cost less, growing to full size in the course of training."""

    start: Number = Field(0.5, gt=0, le=1, description="Side at the start, as a fraction of the full side.")
    until: Number = Field(0.7, gt=0, lt=1, description="Fraction of the training after which images have full size.")


class RecipeValues(StrictModel):
    """Recipe values, each checked by itself: what `set:` may hold, where the others come from the recipe."""

    epochs: PositiveInt = Field(8, description="Passes over the training images; the schedule ends with the last one.")
    batch_size: PositiveInt = Field(
        128, description="Images per optimizer step; more is steadier but makes fewer steps."
    )
    accumulation: PositiveInt = Field(
        1,
        description="Parts in which a batch is computed: less memory, the same steps, but batch normalisation over"
        " each part alone. Must divide batch_size.",
    )
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="sgd has Nesterov momentum; adamw wants a lower lr.")
    lr: PositiveNumber = Field(0.05, description="Highest learning rate of the schedule.")
    momentum: Number = Field(0.9, ge=0, lt=1, description="Momentum of sgd; adamw keeps its own betas.")
    weight_decay: NonNegativeNumber = Field(
        5e-4, description="Weight decay, not applied to normalisation layers and biases."
    )
    schedule: Literal["one_cycle", "cosine", "linear"] = Field(
        "one_cycle", description="Shape of the learning rate over the steps, after the warm-up; all end at zero."
    )
    warmup: Number = Field(0.2, ge=0, lt=1, description="Fraction of the steps in which the learning rate rises.")
    label_smoothing: Number = Field(0.0, ge=0, lt=1, description="Share of the target spread evenly over all classes.")
    clip_norm: PositiveNumber | None = Field(
        None, description="Gradients are scaled down to this norm where they are longer; null never does."
    )
    weight_averaging: Literal["none", "ema", "swa"] = Field(
        "none",
        description="Evaluate averaged weights: ema is a moving average, swa the mean over the end of training,"
        " whose validation figures of single epochs are those before its batch statistics are estimated anew.",
    )
    ema_decay: Number = Field(0.99, gt=0, lt=1, description="Share of the old average kept in each step (ema).")
    averaging_start: Number = Field(0.75, ge=0, lt=1, description="Fraction of the steps after which swa starts.")
    validation_fraction: Number = Field(
        0.1, gt=0, le=0.5, description="Fraction of the training part held out, stratified by class, to validate on."
    )
    augment: Augment = Field(default_factory=Augment, description="Random changes to the training images.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="Arithmetic of the network; auto is bf16 where the device multiplies bfloat16 natively, else fp32."
        " In bf16 the weights stay float32, and so does, on a CPU, a depthwise convolution that strides or is larger"
        " than its map.",
    )
    compile: Flag = Field(
        False,
        description="Compile the network with torch.compile, which needs a C++ compiler: a minute to start; helps"
        " MobileNetV2 a little on a CPU.",
    )
    progressive_resizing: ProgressiveResizing | None = Field(
        None, description="Train on smaller images first; null trains at full size throughout."
    )


class Recipe(RecipeValues):
    """How to train: everything about a run that is neither data, model nor seed."""

    @model_validator(mode="after")
    def _batches_have_statistics(self) -> Self:
        if self.batch_size % self.accumulation:
            raise ValueError(
                f"accumulation {self.accumulation} does not divide batch_size {self.batch_size};"
                " choose a divisor of the batch size"
            )
        if self.batch_size // self.accumulation < 2:
            raise ValueError(
                f"batch_size {self.batch_size} in {self.accumulation} part(s) leaves one image, and batch normalisation"
                " has no variance over one; make it 2 or more images a part"
            )
        return self
