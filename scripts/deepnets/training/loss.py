"""The loss of a batch, and a batch cut into micro-batches."""

import torch.nn.functional as F
from torch import Tensor

from deepnets.training.augmentation import Batch


def cross_entropy(logits: Tensor, batch: Batch, label_smoothing: float, class_weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy, float (); where images were mixed, of both labels by their weights.

    Args:
        logits: float (N, num_classes).
        batch: the labels of the N images.
        label_smoothing: fraction of the target that is spread evenly over all classes.
        class_weights: float (num_classes,), which multiply the losses of the classes' images; None: 1 for each. The
            mean is over images, not over weights, so that micro-batches add up to their batch.
    """
    if class_weights is None and (batch.other_labels is None or batch.weight is None):
        return F.cross_entropy(logits, batch.labels, label_smoothing=label_smoothing)

    def losses(labels: Tensor) -> Tensor:
        each = F.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")
        return each if class_weights is None else each * class_weights[labels]

    own = losses(batch.labels)
    if batch.other_labels is None or batch.weight is None:
        return own.mean()
    other = losses(batch.other_labels)
    return (own * batch.weight + other * (1 - batch.weight)).mean()


def micro_batches(batch: Batch, number: int) -> list[Batch]:
    """A batch cut into micro-batches whose sizes differ by at most one image; none is empty."""
    if number == 1:
        return [batch]
    columns = [
        [None] * number if tensor is None else tensor.tensor_split(number)
        for tensor in (batch.images, batch.labels, batch.other_labels, batch.weight)
    ]
    return [Batch(*row) for row in zip(*columns, strict=True) if len(row[1])]
