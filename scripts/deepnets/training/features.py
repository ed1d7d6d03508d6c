"""The outputs of a frozen backbone, computed once for all epochs, where nothing changes an image between them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deepnets.config.recipe import Recipe
from deepnets.data.splits import Split
from deepnets.models._pretrained import is_frozen
from deepnets.training.augmentation import Augmentation, Batch
from deepnets.training.device import Device
from deepnets.training.distributed import SINGLE_PROCESS, ProcessGroup
from deepnets.training.inference import EVALUATION_BATCH, channels_last, predict

MOST_BYTES = 2**30  # of all features; more might not fit into memory


class FeatureAugmentation:
    """Takes features as `Augmentation` takes images, and leaves them as they are."""

    def normalise(self, features: Tensor) -> Tensor:
        """float (N, F, 1, 1), unchanged."""
        return features

    def __call__(self, features: Tensor, labels: Tensor, generator: torch.Generator) -> Batch:
        """The features and labels as a batch."""
        return Batch(features, labels)


@dataclass(frozen=True)
class Frozen:
    """A network divided into its frozen layers and its head, a linear layer of this name."""

    network: nn.Module
    head: str

    def trained_part(self) -> nn.Module:
        """The head as a network of its own: float (N, F, 1, 1) to logits. It shares the head's weights."""
        return nn.Sequential(nn.Flatten(), self.network.get_submodule(self.head))

    def with_head_of(self, trained: nn.Module) -> nn.Module:
        """The network with the weights of a trained head, of the kind that `trained_part` returns."""
        self.trained_part().load_state_dict(trained.state_dict())
        return self.network

    def features(
        self,
        split: Split,
        augmentation: Augmentation,
        device: Device,
        group: ProcessGroup = SINGLE_PROCESS,
        after_batch: Callable[[int], None] = lambda images: None,
    ) -> Split:
        """The head's inputs for every image of a split, as a split of images (F, 1, 1), float32.

        Args:
            split, augmentation, device, group: as for `predict`.
            after_batch: called in all processes with the number of images of each batch; what it raises ends the pass.
        """
        rows = torch.arange(len(split)) if split.rows is None else split.rows
        batches = rows.tensor_split(math.ceil(len(rows) / (EVALUATION_BATCH * group.world_size)))
        parent, _, own = self.head.rpartition(".")
        holder, layer = self.network.get_submodule(parent), self.network.get_submodule(self.head)
        setattr(holder, own, nn.Identity())
        found = []
        try:
            for batch in batches:
                found.append(predict(self.network, split.subset(batch), augmentation, device, group))
                after_batch(len(batch))
        finally:
            setattr(holder, own, layer)
        return Split(torch.cat(found)[:, None, None, :], split.all_labels()).to(device.device)


def divide(network: nn.Module, recipe: Recipe, flips: bool, images: Split) -> Frozen | None:
    """The network divided, if its features can be computed once; else None: the images differ by epoch, the head is
    no single linear layer at the end, or the features would take too much memory.

    Args:
        network: on its device.
        flips: whether the dataset allows mirrored images.
        images: of the training and validation splits.
    """
    layers = [
        (name, layer)
        for name, layer in network.named_modules()
        if any(parameter.requires_grad for parameter in layer.parameters(recurse=False))
    ]
    if not is_frozen(network) or changes_images(recipe, flips) or len(layers) != 1:
        return None
    name, head = layers[0]
    too_large = isinstance(head, nn.Linear) and 4 * head.in_features * len(images) > MOST_BYTES
    if not isinstance(head, nn.Linear) or too_large or not _is_last(network, head, images):
        return None
    return Frozen(network, name)


def changes_images(recipe: Recipe, flips: bool) -> bool:
    """Whether an image may differ from one epoch to the next."""
    idle = {"horizontal_flip": False} if not flips else {}
    drawn = recipe.augment.model_copy(update=idle).model_dump()
    return any(drawn.values()) or recipe.progressive_resizing is not None


def _is_last(network: nn.Module, head: nn.Linear, images: Split) -> bool:
    """Whether the network's outputs are those of its head, of features (N, F)."""
    seen: list[Tensor] = []
    handle = head.register_forward_hook(lambda _layer, _inputs, output: seen.append(output))
    device, training = head.weight.device, network.training
    batch, _ = images.get_batch(torch.arange(min(2, len(images))), device)
    with torch.inference_mode():
        output = network.eval()(channels_last(batch.float() / 255))
    network.train(training)
    handle.remove()
    return len(seen) == 1 and seen[0].ndim == 2 and torch.equal(seen[0], output)
