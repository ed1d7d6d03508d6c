"""Check a network before it is trained: it takes the images, gives logits, can learn, and can be saved."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from deepnets import models
from deepnets.models._sizes import too_small
from deepnets.utils.errors import UserError
from deepnets.utils.tensors import can_be_saved
from deepnets.utils.torch_errors import is_out_of_memory

Shape = tuple[int, int, int]  # (C, H, W)
_LARGE = 10**6  # values in a weight


def build_checked(
    spec: dict[str, Any],
    input_shape: Shape,
    num_classes: int,
    *,
    smallest_batch: int = 2,
    smallest_image: int | None = None,
) -> nn.Module:
    """Build the network of a model spec, on the CPU, and check it; arguments and errors as of `check_network`.

    Of a network of a library or of a user's file, the message says which images it takes where these are too small, or
    those with which training starts.
    """
    try:
        network = models.build(spec, num_classes, input_shape[0], (input_shape[1], input_shape[2]))
        check_network(
            network,
            spec["architecture"],
            input_shape,
            num_classes,
            smallest_batch=smallest_batch,
            smallest_image=smallest_image,
        )
    except UserError as error:
        raise (too_small(spec, input_shape, num_classes, smallest_image) or error) from None
    return network


def check_network(
    network: Any,
    architecture: str,
    input_shape: Shape,
    num_classes: int,
    *,
    smallest_batch: int = 2,
    smallest_image: int | None = None,
) -> None:
    """Check what `build` returned, with two small batches of random images on the CPU.

    Weights, buffers and torch's random state keep their values; the network's memory format becomes that of training.

    Args:
        network: newly built, on the CPU.
        architecture: its module, which the messages name.
        input_shape: (C, H, W) of the dataset's images.
        num_classes: of the dataset.
        smallest_batch: the fewest images that a training step takes at once.
        smallest_image: the smallest height and width in training, in pixels; None: those of `input_shape`.

    Raises:
        UserError: the network cannot be trained; the message has its file and what to do.
    """
    size = smallest_image or min(input_shape[1:])
    small = (input_shape[0], min(size, input_shape[1]), min(size, input_shape[2]))
    with torch.random.fork_rng(devices=[]):
        problem = next(_problems_of_weights(network), None)
        if problem is None:
            network.to(memory_format=torch.channels_last)
            training = network.training
            images = _images(2, input_shape)
            problem = next(_problems_in_evaluation(network, images, architecture, num_classes), None)
            if problem is None:
                images = _images(smallest_batch, small)
                problem = next(_problems_in_training(network, images, architecture, num_classes), None)
            network.train(training)
    if problem is not None:
        raise UserError(f"{models.file_of(architecture)}: {problem}")


def _images(number: int, shape: Shape) -> Tensor:
    """Random images, float32 (N, C, H, W), distributed and laid out in memory as in training."""
    images = torch.randn(number, *shape, generator=torch.Generator().manual_seed(0))
    return images.contiguous(memory_format=torch.channels_last)


# -- weights -----------------------------------------------------------------------------------------------------------


def _problems_of_weights(network: Any) -> Iterator[str]:
    if not isinstance(network, nn.Module):
        yield f"build returned {_kind(network)}, not a torch.nn.Module; let it return the network"
        return
    for name, parameter in (*network.named_parameters(), *network.named_buffers()):
        if parameter.is_meta:
            yield f"{name} has no values (on the device meta); leave out device= in build"
        if is_lazy(parameter):
            yield f"{name} has no shape yet (a lazy layer); build it with its number of inputs"
    for name, parameter in network.named_parameters():
        if parameter.dtype != torch.float32:
            yield f"{name} is {_dtype(parameter)}; return network.float(): a recipe's precision chooses another type"
    if not any(parameter.requires_grad for parameter in network.parameters()):
        yield "the network has no weights that can be trained (none with requires_grad); give it some"
    for name, value in network.state_dict().items():
        if not isinstance(value, Tensor):
            yield f"{name} of its state is {_kind(value)} and cannot be saved; keep tensors only (register_buffer)"
        elif not can_be_saved(value):
            kind = f"{value.layout} {_dtype(value)}".replace("torch.", "")
            yield f"{name} is a tensor that cannot be saved ({kind}); use a dense one of a usual type"
        elif value.is_floating_point() and not value.is_meta and not _is_finite(value):
            yield f"{name} has values that are not finite (NaN or infinity); initialise it in build"


def _is_finite(tensor: Tensor) -> bool:
    """Whether all values are; by the extremes, as `isfinite` would take as much memory as the tensor."""
    if tensor.dtype.itemsize == 1:  # torch computes nothing with 8 bits
        tensor = tensor.float()
    return not tensor.numel() or bool(torch.stack(tensor.aminmax()).isfinite().all())


# -- outputs -----------------------------------------------------------------------------------------------------------


def _problems_in_evaluation(network: nn.Module, images: Tensor, architecture: str, classes: int) -> Iterator[str]:
    network.eval()
    with torch.no_grad():
        first, second, single = (
            _call(network, batch.clone(), architecture, "evaluation") for batch in (images, images, images[:1])
        )
    for output, batch in ((first, images), (single, images[:1])):
        yield from _problems_of_output(output, len(batch), classes)
    if not torch.allclose(first, second, rtol=1e-3, atol=1e-5):
        yield (
            "the network gives the same images other outputs each time, in evaluation; let what is random depend on"
            " self.training, as nn.Dropout does"
        )


def _problems_in_training(network: nn.Module, images: Tensor, architecture: str, classes: int) -> Iterator[str]:
    network.train()
    output = _call(network, images, architecture, "training")
    yield from _problems_of_output(output, len(images), classes)
    if not output.requires_grad:
        yield "no gradient of the loss reaches the weights; leave out torch.no_grad and detach in forward"
    # A gradient that is not finite reaches biases and scales too; those of VGG's large layers would take a gigabyte.
    weights = {name: each for name, each in network.named_parameters() if each.requires_grad and each.numel() <= _LARGE}
    loss = -output.float().log_softmax(1)[:, 0].mean()
    with _errors_of_network(architecture, images, "training"):
        gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True) if weights else ()
    for name, gradient in zip(weights, gradients, strict=True):
        if gradient is not None and not _is_finite(gradient):
            yield f"the gradient of {name} is not finite (NaN or infinity); correct forward or the initial weights"


def _problems_of_output(output: Any, number: int, classes: int) -> Iterator[str]:
    images = "1 image" if number == 1 else f"{number} images"
    expected = f"a tensor of logits ({number}, {classes})"
    if not isinstance(output, Tensor):
        yield f"the network returns {_kind(output)} for {images}, not {expected}; return the logits alone"
    elif output.ndim == 2 and len(output) == number and output.shape[1] != classes:
        yield (
            f"the network returns {output.shape[1]:,} outputs for {classes:,} classes; let its last layer have"
            " num_classes outputs, as build gets it"
        )
    elif output.shape != (number, classes):
        yield f"the network returns a tensor {tuple(output.shape)} for {images}, not {expected}; flatten it so"
    elif not output.is_floating_point():
        yield f"the network returns {_dtype(output)}, not logits of a floating-point type; leave out argmax or rounding"
    elif not _is_finite(output):
        yield (
            "the network's outputs are not finite (NaN or infinity) for random images; correct forward or the initial"
            " weights"
        )


def _call(network: nn.Module, images: Tensor, architecture: str, mode: str) -> Any:
    """The network's output; its buffers, such as batch statistics, stay as they are."""
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    with _errors_of_network(architecture, images, mode):
        return torch.func.functional_call(network, buffers, (images,))


@contextmanager
def _errors_of_network(architecture: str, images: Tensor, mode: str) -> Iterator[None]:
    number, *shape = images.shape
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise
        what = "1 image" if number == 1 else f"{number} images"
        hint = "correct it for such images"
        if number == 1 and mode == "training":
            hint += ", or train on two images or more: batch normalisation has no variance over one"
        reason = f"{models.reason_of(error)} (in {mode}, on {what} of {' x '.join(map(str, shape))})"
        file = models.location_of(error) or models.file_of(architecture)
        raise UserError(f"{file}: {reason}; {hint}") from None


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
