"""Inception V3 (Szegedy et al. 2015, https://arxiv.org/abs/1512.00567; torchvision's inception_v3, no auxiliary head).

It differs from torchvision in two places: the stem's first convolution, 3x3 at stride 2, is 1x1 at stride 1
(`in_channels` -> 32), and an image smaller than `min_image_size` px is enlarged bilinearly to it; 37 px is the smallest
size that leaves one pixel.
21,805,226 parameters for 1 channel and 10 classes; state-dict names are torchvision's.
"""

from typing import Annotated

from pydantic import Field

from deepnets.models._about import About, Cost
from deepnets.utils.option_types import MAX_IMAGE_SIZE, Fraction, PositiveInt, StrictModel, measured_in

MIN_IMAGE_SIZE = 8  # px; the network enlarges images to `min_image_size`; below 8 px there is nothing left to recognise
SMALLEST_SIDE = 37  # px; (37 - 2 - 3) // 2 + 1 = 17, (17 - 2 - 3) // 2 + 1 = 7, then two reductions: 3, 1
ABOUT = About(
    display_name="Inception V3",
    differs="without the auxiliary classifier; the first convolution is 1x1 with stride 1 instead of 3x3 with stride 2,"
    " so that the maps are larger (24 instead of 6 billion multiply-adds at 299 pixels); images under 37 pixels (option"
    " min_image_size) are resized",
    color="#009E73",
    marker="^",
    linestyle=(0, (1.5, 1)),
    cost=Cost(
        parameters=21.8,
        kilobytes=5,
        evaluation_kilobytes=2,
        microseconds=9,
        pixels=lambda options, side: max(side, options["min_image_size"]) ** 2,
    ),
)


class Options(StrictModel):
    """The options of an inception_v3 in config.yaml."""

    dropout: Fraction = Field(0.5, ge=0, lt=1, description="Share of the last features dropped in training.")
    min_image_size: Annotated[PositiveInt, Field(ge=SMALLEST_SIDE, le=MAX_IMAGE_SIZE), measured_in("px")] = Field(
        SMALLEST_SIDE,
        description="Smaller images are resized to this side in pixels; more gives larger feature maps and costs more.",
    )


def build(num_classes: int, in_channels: int, options: Options):
    """The network as a torch.nn.Module: float (N, in_channels, H, W) to logits (N, num_classes).

    Weights start as torchvision's `init_weights=True` has them (truncated normal, std 0.1): with PyTorch's default,
    one epoch of MNIST at learning rate 0.1 ended at 68 %. In training N must be 2 or more where the last maps are one
    pixel (up to 52 px): batch normalisation has no variance over one pixel of one image.
    """
    from deepnets.models._inception_v3 import InceptionV3  # here: torch takes seconds to load, config.yaml needs none

    return InceptionV3(num_classes, in_channels, options.dropout, options.min_image_size)
