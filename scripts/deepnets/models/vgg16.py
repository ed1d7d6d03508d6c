"""VGG-16 with batch normalisation (Simonyan & Zisserman 2014, https://arxiv.org/abs/1409.1556; torchvision's vgg16_bn).

It differs from the original in batch normalisation after each convolution, and from torchvision in two places: the
first convolution takes `in_channels`, and an image smaller than 32 px is enlarged bilinearly to 32 px, because five
poolings leave nothing of a smaller one.
134,308,810 parameters for 1 channel and 10 classes; state-dict names are torchvision's.
"""

from pydantic import Field

from deepnets.models._about import About, Cost
from deepnets.utils.option_types import Fraction, StrictModel

MIN_IMAGE_SIZE = 8  # px; the network enlarges smaller images to 32 px; below 8 px there is nothing left to recognise
ABOUT = About(
    display_name="VGG-16",
    differs="with batch normalisation after each convolution, which the original does not have; images under 32 pixels"
    " are resized to 32",
    color="#004488",
    marker="s",
    linestyle=(0, (5, 1.5)),
    cost=Cost(
        parameters=134.3,
        kilobytes=6,
        evaluation_kilobytes=2.5,
        microseconds=8.5,
        pixels=lambda _options, side: max(side, 32) ** 2,
    ),
)


class Options(StrictModel):
    """The options of a vgg16 in config.yaml."""

    dropout: Fraction = Field(0.5, ge=0, lt=1, description="Share of the two hidden layers' units dropped in training.")


def build(num_classes: int, in_channels: int, options: Options):
    """The network as a torch.nn.Module: float (N, in_channels, H, W) to logits (N, num_classes).

    In training N must be 2 or more up to 63 px: batch normalisation has no variance over one pixel of one image.
    """
    from deepnets.models._vgg16 import VGG16  # here, because torch takes seconds to load and config.yaml needs none

    return VGG16(num_classes, in_channels, options.dropout)
