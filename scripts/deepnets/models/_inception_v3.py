"""The network behind inception_v3.py: torchvision's Inception3 for small images."""

from torch import Tensor, nn

from deepnets.models import _resize
from deepnets.utils.light_torchvision import torchvision

STEM_STD = 0.1  # of torchvision's truncated normal for every convolution of this network


class InceptionV3(torchvision.models.inception.Inception3):
    """torchvision's Inception3 with a 1x1 stem, that takes images of any size and any number of channels."""

    def __init__(self, num_classes: int, in_channels: int, dropout: float, min_image_size: int) -> None:
        super().__init__(num_classes, aux_logits=False, init_weights=True, dropout=dropout)
        self.min_image_size = min_image_size
        self.Conv2d_1a_3x3 = torchvision.models.inception.BasicConv2d(in_channels, 32, kernel_size=1)
        nn.init.trunc_normal_(self.Conv2d_1a_3x3.conv.weight, std=STEM_STD, a=-2, b=2)

    def forward(self, images: Tensor) -> Tensor:
        """Map images, float (N, C, H, W), to logits (N, num_classes)."""
        return super().forward(_resize.at_least(images, self.min_image_size))
