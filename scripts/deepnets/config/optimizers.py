"""The optimizers that a recipe can name, one row each. deepnets.training.optim has the builder of each.

Nothing here imports torch: Snakemake reads the configuration before every job.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class OptimizerInfo:
    """The properties of an optimizer that the configuration and the planning need.

    description: part of the description of the recipe's `optimizer`.
    state_bytes: bytes of optimizer state per parameter.
    scratch_bytes: bytes of working memory per parameter within a step.
    options: recipe options that not every optimizer reads, and this one does.
    """

    description: str
    state_bytes: int
    scratch_bytes: int = 0
    options: tuple[str, ...] = ()


OPTIMIZERS = {
    "sgd": OptimizerInfo("sgd has Nesterov momentum", state_bytes=4, options=("momentum",)),
    "adamw": OptimizerInfo("adamw needs a lower lr", state_bytes=8),
    "muon": OptimizerInfo(
        "muon makes the steps of convolutions and hidden layers orthogonal, all else takes sgd steps",
        state_bytes=4,
        scratch_bytes=8,
        options=("momentum", "muon_momentum", "sgd_lr", "classifier_lr"),
    ),
}

DESCRIPTION = "; ".join(optimizer.description for optimizer in OPTIMIZERS.values()) + "."
