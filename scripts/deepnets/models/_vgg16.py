"""The network behind vgg16.py: torchvision's VGG for small images."""

from torch import Tensor, nn

from deepnets.models import _resize, _stem
from deepnets.utils.light_torchvision import torchvision

SMALLEST_SIDE = 32  # px; five poolings halve it to 1


class VGG16(torchvision.models.vgg.VGG):
    """torchvision's vgg16_bn that takes images of any size and any number of channels."""

    def __init__(self, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__(
            torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"], batch_norm=True),
            num_classes,
            dropout=dropout,
        )
        self.features[0] = _stem.replace(self.features[0], in_channels=in_channels)
        self.classifier[0] = _RepeatedInputLinear.in_place_of(self.classifier[0])

    def forward(self, images: Tensor) -> Tensor:
        """Map images, float (N, C, H, W), to logits (N, num_classes)."""
        maps = self.features(_resize.at_least(images, SMALLEST_SIDE))  # (N, 512, h, w)
        if maps.shape[-2:] != (1, 1):  # 64 px and more; one pixel need not be repeated, see _RepeatedInputLinear
            maps = self.avgpool(maps)  # (N, 512, 7, 7)
        return self.classifier(maps.flatten(1))


class _RepeatedInputLinear(nn.Linear):
    """A linear layer that also takes (N, C) for (N, in_features) in which every value is repeated in_features/C times.

    Up to 63 px VGG's features end in one pixel, which adaptive pooling repeats 7x7 times. Equal inputs can share
    the sum of their weights: 512x4096 multiplications an image instead of 25088x4096, the same function and gradient.
    On two CPU cores, 64 images and bfloat16 the layer took 0.12 s instead of 0.48 s, forward and backward, most of it
    to read and write 400 MB of weights and gradients; a whole training step was 1.3 times as fast (float32: 1.5).
    """

    @classmethod
    def in_place_of(cls, linear: nn.Linear) -> "_RepeatedInputLinear":
        """Return such a layer that shares the parameters of `linear`: a copy would be 400 MB."""
        layer = cls(linear.in_features, linear.out_features, device="meta")
        layer.weight, layer.bias = linear.weight, linear.bias
        return layer

    def forward(self, inputs: Tensor) -> Tensor:
        return nn.functional.linear(inputs, self.weight_of(inputs), self.bias)

    def weight_of(self, inputs: Tensor) -> Tensor:
        """Return the weight for inputs (N, C): (out_features, C)."""
        width = inputs.shape[1]
        return self.weight if width == self.in_features else self.weight.unflatten(1, (width, -1)).sum(2)
