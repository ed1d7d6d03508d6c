"""Where in a picture a network found its class: Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391), by captum."""

from collections.abc import Sequence

import numpy as np
import torch
from captum.attr import LayerAttribution, LayerGradCam
from torch import nn

from deepnets import models
from deepnets.data.pictures import Pixels
from deepnets.evaluation.last_maps import NoMapsError, last_maps
from deepnets.evaluation.predictor import Model
from deepnets.training.inference import channels_last
from deepnets.utils.errors import UserError


def find_last_maps(model: Model, name: str) -> tuple[str, nn.Module]:
    """Find the module whose maps Grad-CAM weights.

    Args:
        model: the network.
        name: what messages call it.

    Returns:
        the module's name in the network, and the module.

    Raises:
        UserError: it has no such maps; see `last_maps`.
    """
    size, channels = model.form.size, model.form.channels
    image = np.zeros((1, size, size, channels), np.uint8)
    try:
        return last_maps(model.network, lambda: model.logits(image))
    except NoMapsError as why:
        hint = "name a network that ends in convolutions"
        raise UserError(f"{name}: {why}, so that Grad-CAM cannot show where it looks; {hint}.") from None


def map_shape(model: Model, layer: nn.Module) -> tuple[int, int]:
    """Return height and width of the maps of a module, before they are enlarged to the size of the picture."""
    shapes = list[torch.Size]()
    hook = layer.register_forward_hook(lambda _module, _inputs, output: shapes.append(output.shape))
    try:
        model.logits(np.zeros((1, model.form.size, model.form.size, model.form.channels), np.uint8))
    finally:
        hook.remove()
    *_, height, width = shapes[-1]
    return height, width


def saliency_maps(
    model: Model, layer: nn.Module, images: Sequence[Pixels], labels: Sequence[int] | None = None
) -> np.ndarray:
    """Return how much each pixel speaks for a class of its picture.

    Args:
        model: the network.
        layer: the module whose maps are weighted by their mean gradients.
        images: each uint8 (size, size, channels).
        labels: the class of each; by default its most probable one.

    Returns:
        float32 (N, size, size), from 0 to 1 in each picture; all 0 where nothing speaks for the class.
    """
    if not len(images):
        return np.zeros((0, model.form.size, model.form.size), np.float32)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).to(model.device.device)
    inputs = channels_last(model.augmentation.normalise(pixels))
    chosen = model.logits(np.stack(images)).argmax(1).tolist() if labels is None else list(labels)
    with models.own_errors():
        maps = LayerGradCam(model.network, layer).attribute(inputs, chosen, relu_attributions=True)
    maps = LayerAttribution.interpolate(maps.detach().float(), inputs.shape[-2:], "bilinear")[:, 0]
    return (maps / maps.amax((1, 2), keepdim=True).clamp(min=torch.finfo().tiny)).cpu().numpy()
