"""Test images that are kept with the predictions, so that figures can show them after data/ was deleted."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from deepnets.data.splits import Split
from deepnets.evaluation.confidence import probabilities_of, surprises
from deepnets.evaluation.metrics import Labels, Logits, predicted_classes

# Figures show at most 8 mistakes of one network. The others are kept because all networks may be wrong in them.
MISTAKES, HITS = 60, 5
PIXELS = 64  # height and width, at most: all examples of an experiment are less than 1 MB


def keep_examples(logits: Logits, labels: Labels, images: Split) -> dict[str, Tensor]:
    """Return the most confident mistakes, then the least confident hits, for predictions.safetensors.

    Returns:
        example_index: int64 (K,), of the images in their split.
        example_images: uint8 (K, C, h, w), smaller than in the split if that has more than 64 pixels a side.
    """
    right = predicted_classes(logits) == labels
    found = surprises(probabilities_of(logits).max(1), right, MISTAKES, HITS)
    index = torch.from_numpy(np.concatenate(found))
    pictures, _ = images.get_batch(index, torch.device("cpu"))
    if images.image_size > PIXELS:
        smaller = interpolate(pictures.float(), size=(PIXELS, PIXELS), mode="area")
        pictures = smaller.round().to(torch.uint8)
    return {"example_index": index, "example_images": pictures.contiguous()}
