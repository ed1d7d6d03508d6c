"""What a dataset may say about its image files, for modules that must start without pydantic or without Pillow."""

from typing import Literal

# Of one image: decoded, it takes 4 bytes a pixel and for a moment 12, so 12 GB.
MOST_MEGAPIXELS = 1_000
NonSquare = Literal["crop", "pad", "squash"]
