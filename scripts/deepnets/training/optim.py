"""Optimizer and weight averaging of a recipe."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn

from deepnets.config.recipe import Recipe
from deepnets.training.layer_decay import decayed
from deepnets.training.muon import Muon, muon_groups


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Two groups: weights of two or more dimensions with weight decay; norms and biases, all vectors, without.

    Decay on them costs accuracy (He et al. 2019, 'Bag of Tricks', arXiv 1812.01187, section 3.1).
    """
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer. Each of its groups has `peak_lr`, the highest learning rate of the group's schedule."""
    optimizer = _BUILDERS[recipe.optimizer](model, recipe)
    for group in optimizer.param_groups:
        group["peak_lr"] = group["lr"] = group["lr"] * group["scale"]
    return optimizer


def _groups(model: nn.Module, recipe: Recipe) -> list[dict]:
    return decayed(parameter_groups(model, recipe.weight_decay), model, recipe.layer_decay)


# Fused, so that a step reads and writes each parameter once.


def _sgd(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    groups, nesterov = _groups(model, recipe), recipe.momentum > 0
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=nesterov, fused=True)


def _adamw(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    return torch.optim.AdamW(_groups(model, recipe), lr=recipe.lr, fused=True)


def _muon(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    peaks = {"matrices": recipe.lr, "classifier": recipe.classifier_lr}
    momentum = {"matrices": recipe.muon_momentum}
    return Muon(
        {
            **group,
            "lr": peaks.get(group["name"], recipe.sgd_lr),
            "momentum": momentum.get(group["name"], recipe.momentum),
        }
        for group in decayed(muon_groups(model, recipe.weight_decay), model, recipe.layer_decay)
    )


_BUILDERS = {"sgd": _sgd, "adamw": _adamw, "muon": _muon}  # by the names of deepnets.config.optimizers


def build_average(model: nn.Module, recipe: Recipe) -> AveragedModel | None:
    """The running average of the weights that the recipe asks for, or None.

    `ema`: exponential, with `ema_decay`, batch-norm statistics averaged along. `swa`: equal weights from
    `averaging_start` on (Izmailov et al. 2018, arXiv 1803.05407); its batch-norm statistics are estimated at the end.
    """
    if recipe.weight_averaging == "ema":
        return _Average(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay), use_buffers=True)
    return _Average(model, multi_avg_fn=get_swa_multi_avg_fn()) if recipe.weight_averaging == "swa" else None


class _Average(AveragedModel):
    """torch's AveragedModel without a GPU stall: torch copies the counter to the GPU at every step, here it stays on
    the host.

    The first update copies the weights. Buffers that are not averaged are copied from the newest network.
    """

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        averaged, new = [], []
        trained = dict(model.named_parameters())
        for (name, mine), theirs in zip(self.module.state_dict().items(), model.state_dict().values(), strict=True):
            if self.n_averaged > 0 and (name in trained or (self.use_buffers and mine.is_floating_point())):
                averaged.append(mine)
                new.append(theirs)
            else:
                mine.copy_(theirs)
        if averaged and self.multi_avg_fn is not None:
            self.multi_avg_fn(averaged, new, int(self.n_averaged))
        self.n_averaged += 1
