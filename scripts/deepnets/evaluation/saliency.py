"""Where in a picture a network found its class: Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391), by captum."""

from collections.abc import Sequence

import numpy as np
import torch
from captum.attr import LayerAttribution, LayerGradCam
from torch import nn

from deepnets import models
from deepnets.data.pictures import Pixels
from deepnets.evaluation.predictor import Model
from deepnets.training.inference import channels_last
from deepnets.utils.errors import UserError


def find_last_maps(model: Model, name: str) -> tuple[str, nn.Module]:
    """Find the module that gives the last maps of a network: its last convolution, or what contains it.

    Maps are an output (N, C, H, W) of more than one pixel. In a block of several branches, the block's output counts:
    the last branch alone would show a part of what the network found.

    Args:
        model: the network.
        name: what messages call it.

    Returns:
        the module's name in the network, and the module.

    Raises:
        UserError: it has no such maps, or attention follows them, which mixes their places.
    """
    ran = list[tuple[str, nn.Module]]()
    last_is_attention = False

    def record(path: str, module: nn.Module, output: object) -> None:
        nonlocal last_is_attention
        if _is_attention(module):
            last_is_attention = True
        elif isinstance(output, torch.Tensor) and output.ndim == 4 and output.shape[-2:].numel() > 1:
            ran.append((path, module))
            last_is_attention = last_is_attention and any(map(_is_attention, module.modules()))

    hooks = [
        module.register_forward_hook(lambda module, _, output, path=path: record(path, module, output))
        for path, module in model.network.named_modules()
        if _is_attention(module) or any(isinstance(each, nn.Conv2d) for each in module.modules())
    ]
    size, channels = model.form.size, model.form.channels
    try:
        model.logits(np.zeros((1, size, size, channels), np.uint8))
    finally:
        for hook in hooks:
            hook.remove()
    if not ran or last_is_attention:
        why = "attention follows its last convolution" if ran else "no convolution of it has maps of several pixels"
        hint = "name a network that ends in convolutions"
        raise UserError(f"{name}: {why}, so that Grad-CAM cannot show where it looks; {hint}.")
    return ran[-1]


def _is_attention(module: nn.Module) -> bool:
    return "Attention" in type(module).__name__


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
