"""The learning rate of each step, by a recipe; without torch, as figures show it, too."""

import math

from deepnets.config.recipe import Recipe

ONE_CYCLE_START = 1 / 25  # of the peak; the default of torch's OneCycleLR


def learning_rate(step: int, total_steps: int, recipe: Recipe, peak: float | None = None) -> float:
    """Learning rate of a step; a pure function, so the schedule has no state to save.

    Args:
        step: 0 for the first optimizer step; at `total_steps` every schedule has reached 0.
        total_steps: optimizer steps of the whole budget.
        recipe: gives the `schedule` and the `warmup` as a fraction of the steps.
        peak: the highest learning rate; the recipe's `lr` if None.

    `one_cycle` (Smith and Topin 2018, arXiv 1708.07120) rises along a cosine from a 25th of the peak and falls along
    a cosine; `cosine` (Loshchilov and Hutter 2017, arXiv 1608.03983) and `linear` rise along a line from 0.
    """
    peak = recipe.lr if peak is None else peak
    warmup_steps = recipe.warmup * total_steps
    if step < warmup_steps:
        rise = step / warmup_steps
        if recipe.schedule == "one_cycle":
            return peak * (ONE_CYCLE_START + (1 - ONE_CYCLE_START) * _half_cosine(rise))
        return peak * (step + 1) / (warmup_steps + 1)  # a first step at exactly 0 would be wasted
    fall = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * ((1 - fall) if recipe.schedule == "linear" else 1 - _half_cosine(fall))


def _half_cosine(x: float) -> float:
    """From 0 at x=0 to 1 at x=1, flat at both ends."""
    return (1 - math.cos(math.pi * x)) / 2
