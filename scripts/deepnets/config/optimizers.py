"""The optimizers that a recipe can name, one row each. deepnets.training.optim has the builder of each.

Nothing here imports torch: Snakemake reads the configuration before every job.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class OptimizerInfo:
    """The properties of an optimizer that the configuration and the planning need.

    description: part of the description of the recipe's `optimizer`.
    state_bytes: bytes of optimizer state per parameter.
    options: recipe options that only this optimizer reads.
    """

    description: str
    state_bytes: int
    options: tuple[str, ...] = ()


OPTIMIZERS = {
    "sgd": OptimizerInfo("sgd has Nesterov momentum", state_bytes=4, options=("momentum",)),
    "adamw": OptimizerInfo("adamw needs a lower lr", state_bytes=8),
}

DESCRIPTION = "; ".join(optimizer.description for optimizer in OPTIMIZERS.values()) + "."
