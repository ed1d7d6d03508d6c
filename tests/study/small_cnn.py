"""An architecture that trains in seconds: one convolution, the mean of its maps, one linear layer."""

from deepnets.utils.option_types import PositiveInt, StrictModel

MIN_IMAGE_SIZE = 4


class Options(StrictModel):
    """What config.yaml may say of a small_cnn."""

    channels: PositiveInt = 8


def build(num_classes, in_channels, options):
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(in_channels, options.channels, 3),
        nn.BatchNorm2d(options.channels),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(options.channels, num_classes),
    )
