"""Layers that replace torch's in a network that is already built; parameters, buffers and their names stay.

Each replacement sets a module's class instead of wrapping it, so that a copy of the network has its own weights.
"""

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def use_float32_where_bfloat16_fails(model: nn.Module) -> None:
    """Let convolutions of a model choose their own precision where bfloat16 on a CPU is slow, or wrong."""
    for module in model.modules():
        if isinstance(module, (DepthwiseConv2d, StridedConv2d)):
            continue  # of an earlier call
        if type(module) is nn.Conv2d and module.groups > 1:
            module.__class__ = DepthwiseConv2d
        elif isinstance(module, nn.Conv2d) and module.stride[1] > 1:
            kind = type(module)  # also a class of another library, which computes in its own way
            module.__class__ = type(kind.__name__, (StridedConv2d, kind), {})


def share_batch_statistics(model: nn.Module) -> None:
    """Let batch normalisation use the images of all processes; on the CPU, which torch's SyncBatchNorm refuses."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.__class__ = SharedBatchNorm


class StridedConv2d(nn.Conv2d):
    """A convolution that computes in float32 where its images are narrower than its stride.

    There, oneDNN's bfloat16 kernel for the gradient of the weights adds what it finds in memory that nobody has written
    (torch 2.15): of 1,272 shapes with one thread and 436 with two, 252 and 71 were wrong, all of this kind and with a
    padding. Torchvision's ResNet50 has a stride of 2 on maps of 1 px where images have 16 px or less. Predictions need
    no such gradient.
    """

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[-1] >= self.stride[1]:
            return super().forward(images)
        return _without_bfloat16_in_training(super().forward, images)


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution that computes in float32 where oneDNN's bfloat16 kernel is slow.

    The backward pass is slow for strides, and for maps smaller than the kernel: on two cores, 64 images of 192 maps of
    32 px at stride 2 took 141 ms in bfloat16 and 9 ms in float32. Everywhere else bfloat16 is as fast or faster, and so
    it is without a backward pass: predictions of MobileNetV2 take 3 to 9 % less time with it.
    """

    def forward(self, images: Tensor) -> Tensor:
        if max(self.stride) == 1 and min(images.shape[-2:]) >= max(self.kernel_size):
            return super().forward(images)
        return _without_bfloat16_in_training(super().forward, images)


def _without_bfloat16_in_training(compute: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """What a layer computes: in float32 where a backward pass may follow, else in the precision around it."""
    if not torch.is_grad_enabled():
        return compute(images)
    with torch.autocast(images.device.type, enabled=False):
        return compute(images.float())


class SharedBatchNorm(_BatchNorm):
    """Batch normalisation over the images of all processes."""

    def _check_input_dim(self, images: Tensor) -> None:
        """Accept any number of dimensions: (N, C, ...)."""

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return super().forward(images)
        values = images.float()
        n = values.numel() // values.shape[1]
        var, mean = (moment.double() for moment in torch.var_mean(values, [0, *range(2, values.ndim)], correction=0))
        # In float64, nothing is lost by taking the variance as the mean square less the square of the mean.
        sums = torch.cat([n * mean, n * (var + mean**2), mean.new_tensor([n])])
        mean, square, count = AllReduceSum.apply(sums).split([len(mean), len(mean), 1])
        mean, var = mean / count, square / count - (mean / count) ** 2
        self._update_running_statistics(mean.detach(), var.detach() * count.detach() / (count.detach() - 1))
        scale = (var + self.eps).rsqrt() if self.weight is None else self.weight * (var + self.eps).rsqrt()
        shift = -mean * scale if self.bias is None else self.bias - mean * scale
        shape = [1, -1, *[1] * (values.ndim - 2)]
        return torch.addcmul(shift.float().view(shape), values, scale.float().view(shape)).to(images.dtype)

    def _update_running_statistics(self, mean: Tensor, var: Tensor) -> None:
        """Record the batch's statistics for evaluation, as torch does: a moving average, or the mean of all."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        fraction = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.float(), fraction)
        self.running_var.lerp_(var.float(), fraction)


class AllReduceSum(torch.autograd.Function):
    """The sum over all processes. The gradient is the sum of their gradients: every output depends on every input."""

    @staticmethod
    def forward(_context, values: Tensor) -> Tensor:
        values = values.clone()
        dist.all_reduce(values)
        return values

    @staticmethod
    def backward(_context, gradient: Tensor) -> Tensor:
        return AllReduceSum.forward(_context, gradient)
