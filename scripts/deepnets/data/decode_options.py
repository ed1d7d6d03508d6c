"""What a dataset may say about its image files, for modules that must start without pydantic or without Pillow."""

from typing import Literal

# Of one image: decoded, it takes 4 bytes a pixel and for a moment 12, so the largest 12 GB.
DEFAULT_MEGAPIXELS = 100  # more than most cameras have
LARGEST_MEGAPIXELS = 1_000
NonSquare = Literal["crop", "pad", "squash"]
