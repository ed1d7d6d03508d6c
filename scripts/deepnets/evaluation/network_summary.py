"""What a network is before it is trained: its parameters, work and memory, as torchinfo counts them."""

import torch
import torchinfo

from deepnets import models

MEGABYTE = 1e6  # bytes; torchinfo's megabytes are decimal


def summarize(model_spec: dict, input_shape: tuple[int, int, int], num_classes: int) -> tuple[dict, str]:
    """Count a network at batch size 1, in single precision.

    The network is built without memory (torch's meta device): the counts are the same, and the 134 million weights
    of a VGG-16 need not be drawn.

    Args:
        model_spec: {"architecture": ..., **options}.
        input_shape: (C, H, W).
        num_classes: length of the logits.

    Returns:
        The figures of summary.json and torchinfo's table. `size_mb` is torchinfo's estimated total size (input, forward
        and backward pass, parameters), `weights_mb` the parameters alone, both in 10^6 bytes.
    """
    with torch.device("meta"):
        network = models.build(model_spec, num_classes, in_channels=input_shape[0])
    input_size = [1, *input_shape]
    counts = torchinfo.summary(network, input_size, device="meta", mode="eval", verbose=0)
    total_bytes = counts.total_input + counts.total_output_bytes + counts.total_param_bytes
    figures = {
        "parameters": counts.total_params,
        "trainable_parameters": counts.trainable_params,
        "mult_adds": counts.total_mult_adds,
        "size_mb": total_bytes / MEGABYTE,
        "weights_mb": counts.total_param_bytes / MEGABYTE,
        "input_size": input_size,
    }
    return figures, f"{counts}\n"
