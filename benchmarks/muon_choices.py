"""Muon with other choices of what its orthogonal steps cost: iterations, blocks, and how often they are taken."""

from functools import partial
from unittest.mock import patch

import torch
from torch import Tensor

from deepnets.training import muon
from deepnets.training.muon import BLOCK_SIDE, STEPS, Muon, orthogonal


class ChosenMuon(Muon):
    """Muon that takes an orthogonal step at every `every`-th call; at the others, gradients only join the momentum.

    steps, block_side: as in `orthogonal`. `choose` makes one of an optimizer that is there.
    """

    steps, block_side, every = STEPS, BLOCK_SIDE, 1
    calls = 0

    def _orthogonal_steps(self, parameters: list[Tensor], group: dict) -> None:
        self.calls += 1
        if self.calls % self.every:
            self._nesterov(parameters, muon._gradients(parameters), group["momentum"])
            return
        with patch.object(muon, "orthogonal", partial(orthogonal, steps=self.steps, block_side=self.block_side)):
            super()._orthogonal_steps(parameters, group)


def choose(optimizer: torch.optim.Optimizer, steps: int = STEPS, block_side: int = BLOCK_SIDE, every: int = 1) -> None:
    """Give an optimizer, which is a Muon of one group of matrices, these choices from its next step on."""
    optimizer.__class__ = ChosenMuon
    vars(optimizer).update(steps=steps, block_side=block_side, every=every, calls=0)
