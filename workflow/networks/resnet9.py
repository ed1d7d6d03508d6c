"""ResNet-9: a residual network for images of 32 px that learns in minutes, in a file as users write their own.

David Page, "How to train your ResNet", Myrtle, 2018, which won Stanford's DAWNBench for CIFAR-10. It differs in two
places: convolutions and batch norms have PyTorch's default settings, and the logits are not multiplied by 1/8.
6,573,130 parameters for 3 channels and 10 classes.
"""

from torch import Tensor, nn


class ResNet9(nn.Sequential):
    """Float (N, in_channels, H, W), H and W of at least 8 px, to logits (N, num_classes).

    In training N must be 2 or more up to 15 px: batch normalisation has no variance over one pixel of one image.
    """

    def __init__(self, num_classes: int, in_channels: int, width: int = 64) -> None:
        super().__init__(
            _convolution(in_channels, width),
            _convolution(width, 2 * width),
            nn.MaxPool2d(2),
            _Residual(2 * width),
            _convolution(2 * width, 4 * width),
            nn.MaxPool2d(2),
            _convolution(4 * width, 8 * width),
            nn.MaxPool2d(2),
            _Residual(8 * width),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
            nn.Linear(8 * width, num_classes),
        )


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(_convolution(channels, channels), _convolution(channels, channels))

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.branch(maps)


def _convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU()
    )
