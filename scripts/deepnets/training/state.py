"""The state of a training run: everything that a checkpoint saves and a resume restores."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


@dataclass
class Progress:
    """The progress of a training run, as values that JSON can hold."""

    epoch: int = 0  # epochs finished
    step: int = 0  # steps done in the current epoch
    seconds: float = 0.0  # spent on the current epoch's steps so far
    wall_seconds: float = 0.0  # spent on everything since the first step, in all processes that took part
    history: list[dict] = field(default_factory=list)  # a row per finished epoch, as in history.csv
    runs: list[dict] = field(default_factory=list)  # one for each process or group that took part, as in timing.json


class TrainingState:
    """The tensors that training changes: weights, their average, optimizer state and the epoch's sums.

    `tensors` and `restore` mirror each other: what one saves the other reads, and nothing is left over.

    Args:
        model: the network in training.
        optimizer: optimizer of the model's parameters.
        average: running average of the weights, if the recipe has one.
        device: where the sums are kept.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, average: AveragedModel | None, device: torch.device
    ):
        self.model, self.optimizer, self.average = model, optimizer, average
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=device)  # over the images of the current epoch
        self.correct = torch.zeros((), dtype=torch.int64, device=device)
        self.progress = Progress()

    def parameters(self) -> list[nn.Parameter]:
        """The trained parameters, in the optimizer's order."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def averaged_model(self) -> nn.Module:
        """The averaged network once averaging has begun, else the network itself."""
        if self.average is not None and self.average.n_averaged.item() > 0:
            return self.average.module
        return self.model

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that training changes, by name; they share memory with the state."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        for number, parameter in enumerate(self.parameters()):
            for name, tensor in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{number}.{name}"] = tensor
        return tensors | {"sums.loss": self.loss_sum, "sums.correct": self.correct}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Copy saved tensors back, in the memory format of their parameters.

        Raises:
            ValueError: the saved tensors are not those of this network and optimizer.
        """
        for number, parameter in enumerate(self.parameters()):
            prefix = f"optimizer.{number}."
            for name in [name for name in tensors if name.startswith(prefix)]:
                saved = tensors[name]
                like = parameter if saved.shape == parameter.shape else saved
                own = torch.empty_like(like, device=parameter.device)
                self.optimizer.state[parameter][name.removeprefix(prefix)] = own.copy_(saved)
        current = self.tensors()
        if current.keys() != tensors.keys():
            raise ValueError(f"a saved state does not fit the network: {sorted(current.keys() ^ tensors.keys())}")
        with torch.no_grad():
            for name, tensor in current.items():
                tensor.copy_(tensors[name])
