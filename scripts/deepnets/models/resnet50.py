"""ResNet-50 (He et al. 2015, https://arxiv.org/abs/1512.03385; torchvision's resnet50, version 1.5).

It differs from torchvision in the stem, for small images: a 3x3 convolution at stride 1 instead of 7x7 at stride 2.
23,519,690 parameters for 1 channel and 10 classes, 23,520,842 for 3 channels; state-dict names are torchvision's.
"""

from pydantic import Field

from deepnets.models._about import About, Cost
from deepnets.utils.option_types import Flag, StrictModel

MIN_IMAGE_SIZE = 8  # px; padded convolutions take any size, but under 8 px the stages' strides have nothing to halve
ABOUT = About(
    display_name="ResNet50",
    differs="the first convolution is 3x3 with stride 1 instead of 7x7 with stride 2, so that the maps are larger (16"
    " instead of 4 billion multiply-adds at 224 pixels); without the max-pooling after it where stem_pool is false",
    color="#CC3311",
    marker="o",
    linestyle="-",
    cost=Cost(
        parameters=23.5,
        kilobytes=10,
        evaluation_kilobytes=4,
        microseconds=15,
        pixels=lambda options, side: side**2 * (1 if options["stem_pool"] else 4),
    ),
)


class Options(StrictModel):
    """The options of a resnet50 in config.yaml."""

    stem_pool: Flag = Field(
        True,
        description="Halve the image by max-pooling after the first convolution; "
        "false keeps full resolution: more accurate on small images, about four times the work, same parameters.",
    )
    zero_init_residual: Flag = Field(
        False, description="Start every residual branch at zero (Goyal et al. 2017), for high learning rates."
    )


def build(num_classes: int, in_channels: int, options: Options):
    """The network as a torch.nn.Module: float (N, in_channels, H, W) to logits (N, num_classes).

    In training N must be 2 or more where the last maps are one pixel (up to 16 px with the pool, 8 px without):
    batch normalisation has no variance over one pixel of one image.
    """
    from torch import nn  # here, because torch takes seconds to load and config.yaml needs none

    from deepnets.models import _stem
    from deepnets.utils.light_torchvision import torchvision

    network = torchvision.models.resnet50(num_classes=num_classes, zero_init_residual=options.zero_init_residual)
    network.conv1 = _stem.replace(network.conv1, in_channels=in_channels, kernel_size=3, stride=1, padding=1)
    if not options.stem_pool:
        network.maxpool = nn.Identity()
    return network
