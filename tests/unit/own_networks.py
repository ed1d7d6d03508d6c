"""Modules of users' own networks, as tests write them next to the architectures."""

OWN = """
from deepnets.utils.option_types import PositiveInt, StrictModel
MIN_IMAGE_SIZE = 4
class Options(StrictModel):
    width: PositiveInt = 8
def build(num_classes, in_channels, options): ...
"""

NETWORK = """from deepnets.utils.option_types import StrictModel
MIN_IMAGE_SIZE = 4
class Options(StrictModel): ...
def build(num_classes, in_channels, options):
    import torch
    from torch import nn
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(64 * in_channels, 6))
            self.head = nn.Linear(6, num_classes)
        def forward(self, images):
            maps = self.body(images)
            return self.head(maps)
    return Network()
"""


def network(*changes: tuple[str, str]) -> str:
    """Return the text of NETWORK with some of its words replaced; each must be there."""
    text = NETWORK
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text
