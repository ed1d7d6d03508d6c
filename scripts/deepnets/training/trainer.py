"""The training loop, and nothing else.

Every random draw is a pure function of (seed, epoch, step): the order of an epoch, the augmentation and the dropout of
a step. So a resume needs no generator's state, only the epoch and the step, and is exact.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn
from tqdm import tqdm

from deepnets.config.recipe import Recipe
from deepnets.data.splits import Split
from deepnets.training.augmentation import Augmentation, Batch
from deepnets.training.checkpoints import CheckpointDir
from deepnets.training.device import Device
from deepnets.training.distributed import ALONE, Processes
from deepnets.training.inference import channels_last, predict
from deepnets.training.optim import build_average, build_optimizer, learning_rate
from deepnets.training.seeds import AUGMENTATION, DROPOUT, ORDER, derived_seed
from deepnets.utils.errors import UserError

SAVE_SHARE = 0.02  # of the training time, at most, goes into saving states
SAVE_SECONDS = 180.0  # within a long epoch, save this often
SAVED_BYTES_PER_SECOND = 3e8  # with checksum and flush, on an ordinary disk: a guess for the first save


class Interrupted(Exception):
    """A signal asked the training to stop; its state is saved."""


@dataclass
class Progress:
    """Where a training stands: with the tensors of `Trainer.state`, all that a resume needs."""

    epoch: int = 0  # epochs finished
    step: int = 0  # steps done in the current epoch
    seconds: float = 0.0  # spent on the current epoch's steps so far
    wall_seconds: float = 0.0  # spent on everything since the first step, in all processes that took part
    history: list[dict] = field(default_factory=list)  # a row per finished epoch, as in history.csv
    resumed_from: list[float] = field(default_factory=list)  # epochs, fractional, at which it was taken up again


class Trainer:
    """Trains one network on one dataset by one recipe.

    Args:
        model: freshly initialised network, already on the hardware's device, in channels_last.
        recipe: budget, optimizer, schedule, augmentation.
        train, validation: the two parts of the training data.
        augmentation: the recipe's augmentation for this dataset.
        seed: the experiment's seed.
        hardware: device, precision and threads, from `hardware.configure_device`.
        processes: those that train together, each with a model of the same weights and the same data. All of them take
            the same steps; a step's batch is shared out among them.

    Raises:
        UserError: a batch has fewer images than there are processes.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        train: Split,
        validation: Split,
        augmentation: Augmentation,
        seed: int,
        hardware: Device,
        processes: Processes = ALONE,
    ):
        # The ragged rest of an epoch's order is left out, other images each time: a last batch of one image has no
        # batch statistics.
        self.batch_size = min(recipe.batch_size, len(train))
        if self.batch_size < processes.count:
            raise UserError(
                f"a batch of {self.batch_size} images cannot be shared out among {processes.count} processes: ask for"
                " fewer (gpu or processes), or set a larger batch_size in the recipe."
            )
        model = processes.with_shared_statistics(model, hardware.device)
        self.model, self.recipe, self.seed, self.hardware, self.processes = model, recipe, seed, hardware, processes
        self.train_split, self.validation_split, self.augmentation = train, validation, augmentation
        self.optimizer = build_optimizer(model, recipe)
        self.average = build_average(model, recipe)
        self.network = processes.averaging(torch.compile(model) if recipe.compile else model, hardware.device)
        # Of few images, two a part, and one for each process.
        self.accumulation = min(recipe.accumulation, max(1, self.batch_size // max(2, processes.count)))
        self.steps_per_epoch = len(train) // self.batch_size
        self.total_steps = self.steps_per_epoch * recipe.epochs
        self.progress = Progress()
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=hardware.device)
        self.correct = torch.zeros((), dtype=torch.int64, device=hardware.device)

    def fit(
        self,
        states: CheckpointDir,
        report: Callable[[dict], None] = lambda row: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> nn.Module:
        """Train to the end of the budget, from the newest saved state where there is one.

        Args:
            states: where states are saved and found.
            report: called with each epoch's row of history.csv.
            should_stop: asked after every step; True, in any process, saves and ends the training of all.

        Returns:
            The trained network, averaged where the recipe says so.

        Raises:
            Interrupted: `should_stop` said so; the state is saved.
            UserError: the loss is not finite.
        """
        self._resume(states)
        self.started = time.monotonic() - self.progress.wall_seconds
        last_save = time.monotonic()
        for epoch in range(self.progress.epoch, self.recipe.epochs):
            for _ in self._steps(epoch):
                stop = self.processes.any(should_stop())
                if stop or time.monotonic() - last_save > max(SAVE_SECONDS, self._save_interval(states)):
                    self._save(states)
                    last_save = time.monotonic()
                if stop:
                    self.processes.wait()  # for the first to save: when one process ends, the others are ended too
                    raise Interrupted
            self._finish_epoch(epoch, report)
            # After the last epoch too: a kill before the caller has noted the end then costs seconds.
            if time.monotonic() - last_save > self._save_interval(states):
                self._save(states)
                last_save = time.monotonic()
        network = self._final_network()
        self.progress.wall_seconds = time.monotonic() - self.started
        return network

    def _steps(self, epoch: int):
        """Do the rest of an epoch's steps, giving way after each; the clock runs for the steps alone."""
        self.network.train()
        order = torch.from_numpy(
            np.random.default_rng(derived_seed(self.seed, epoch, ORDER)).permutation(len(self.train_split))
        ).to(self.train_split.labels.device)  # once an epoch, not once a step
        bar = tqdm(
            total=self.steps_per_epoch,
            initial=self.progress.step,
            desc=f"epoch {epoch + 1}/{self.recipe.epochs}",
            unit="step",
            leave=False,
            disable=None if self.processes.first else True,  # no bar where no terminal watches
        )
        with bar:
            for step in range(self.progress.step, self.steps_per_epoch):
                start = time.monotonic()
                # The next batch, and this one once more: it may be the first, or has been dropped from memory since.
                self.train_split.expect(order[step * self.batch_size : (step + 2) * self.batch_size])
                self._step(epoch, step, order[step * self.batch_size : (step + 1) * self.batch_size])
                self.progress.step = step + 1
                self.progress.seconds += time.monotonic() - start
                bar.update()
                yield

    def _step(self, epoch: int, step: int, index: Tensor) -> None:
        """One optimizer step on the images at `index`, in `accumulation` micro-batches."""
        done = epoch * self.steps_per_epoch + step
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(done, self.total_steps, self.recipe)
        torch.manual_seed(derived_seed(self.seed, epoch, DROPOUT, step) + self.processes.rank)
        for piece in _pieces(self._batch(epoch, step, index), self.accumulation):
            with self.hardware.autocast():
                logits = self.network(piece.images)
            logits = logits.float()
            loss = _loss(logits, piece, self.recipe.label_smoothing)
            # Gradients add up over pieces; over processes, `network` makes them the mean.
            (loss * (len(piece.labels) * self.processes.count / len(index))).backward()
            self._count(logits.detach(), piece.labels)
        if self.hardware.device.type == "cpu":  # where reading the sum costs nothing, do not wait for the epoch's end
            self._refuse_divergence(epoch, self.loss_sum.item())
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None and self._averages_at(done):
            self.average.update_parameters(self.model)

    def _batch(self, epoch: int, step: int, index: Tensor) -> Batch:
        """This process's share of a step's augmented batch, channels_last, at the side that the step trains on."""
        generator = torch.Generator(self.hardware.device)
        generator.manual_seed(derived_seed(self.seed, epoch, AUGMENTATION, step))
        whole = self.augmentation(*self.train_split.take(index, self.hardware.device), generator)
        # Augmented before it is shared out, so that no draw depends on the number of processes, and neighbours mix.
        batch = _pieces(whole, self.processes.count)[self.processes.rank]
        images, side = batch.images, self._side(epoch * self.steps_per_epoch + step)
        if side < images.shape[-1]:
            images = F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
        return Batch(channels_last(images), batch.labels, batch.other_labels, batch.weight)

    def _side(self, step: int) -> int:
        """Side in pixels of a step's training images: growing up to the full side, by quarters of it.

        Of 32 px that is 16, 24 and 32, all multiples of 8: on two CPU cores an image of 28 px cost ResNet50 and
        MobileNetV2 nine tenths of one of 32 px, and one of 20 px as much as one of 24 px.
        """
        full, resizing = self.train_split.side, self.recipe.progressive_resizing
        if resizing is None:
            return full
        reached = min(1.0, step / (self.total_steps * resizing.until))
        quarters = math.floor(4 * (resizing.start + (1 - resizing.start) * reached))
        return round(full * max(resizing.start, quarters / 4))

    def _averages_at(self, step: int) -> bool:
        start = self.recipe.averaging_start if self.recipe.weight_averaging == "swa" else 0.0
        return step >= start * self.total_steps

    def _count(self, logits: Tensor, labels: Tensor) -> None:
        """Add to the epoch's sums, on the device: reading them here would stall a GPU at every step."""
        loss = F.cross_entropy(logits, labels, reduction="sum").double()
        loss, correct = self.processes.total(loss, (logits.argmax(1) == labels).sum())
        self.loss_sum += loss
        self.correct += correct

    def _finish_epoch(self, epoch: int, report: Callable[[dict], None]) -> None:
        """Validate, add the epoch's row to the history, and start the next epoch's sums."""
        start = time.monotonic()
        self.hardware.synchronize()  # a GPU's steps are only queued so far
        self.progress.seconds += time.monotonic() - start
        seen = self.steps_per_epoch * self.batch_size
        network = self._best_network()
        validation = predict(network, self.validation_split, self.augmentation, self.hardware, self.processes)
        labels = self.validation_split.all_labels()
        row = {
            "epoch": epoch + 1,
            "lr": learning_rate((epoch + 1) * self.steps_per_epoch - 1, self.total_steps, self.recipe),
            "train_loss": self.loss_sum.item() / seen,
            "train_accuracy": self.correct.item() / seen,
            "val_loss": F.cross_entropy(validation.double(), labels).item(),
            "val_accuracy": (validation.argmax(1) == labels).double().mean().item(),
            "seconds": round(self.progress.seconds, 3),
            "images_per_second": round(seen / self.progress.seconds, 1),
        }
        self._refuse_divergence(epoch, row["train_loss"] + row["val_loss"])  # the second sees what the last step did
        self.loss_sum.zero_()
        self.correct.zero_()
        history = [*self.progress.history, row]
        self.progress = replace(self.progress, epoch=epoch + 1, step=0, seconds=0.0, history=history)
        report(row)

    def _refuse_divergence(self, epoch: int, loss: float) -> None:
        if not math.isfinite(loss):
            raise UserError(
                f"the loss is not finite in epoch {epoch + 1} of {self.recipe.epochs}, with lr "
                f"{self.recipe.lr}: in the recipe of config.yaml, lower lr (a tenth is a good next try), set "
                "clip_norm: 1.0, or, where precision is bf16, set precision: fp32."
            )

    def _best_network(self) -> nn.Module:
        """The average where one has begun, else the network itself."""
        started = self.average is not None and self.average.n_averaged.item() > 0
        return self.average.module if started else self.model

    def _final_network(self) -> nn.Module:
        """The network of the result; a stochastic weight average gets its batch-norm statistics first."""
        network = self._best_network()
        if self.recipe.weight_averaging == "swa" and network is not self.model:
            # Dropout is on in this pass too.
            torch.manual_seed(derived_seed(self.seed, self.recipe.epochs, DROPOUT) + self.processes.rank)
            with self.hardware.autocast():
                update_bn(self._clean_batches(), network)
        return network

    def _clean_batches(self):
        """The training images in order, normalised and not augmented, in batches of the training size."""
        whole_batches = torch.arange(self.steps_per_epoch * self.batch_size)
        for batch in whole_batches.split(self.batch_size):
            self.train_split.expect(batch)
            images, _ = self.train_split.take(batch[self.processes.share(len(batch))], self.hardware.device)
            yield channels_last(self.augmentation.normalise(images))

    # -- state: save and resume are mirror images; what one writes the other reads, and nothing is left over ----------

    def _save(self, states: CheckpointDir) -> None:
        if not self.processes.first:
            return  # all have the same state
        self._refuse_divergence(self.progress.epoch, self.loss_sum.item())  # such a state is not worth going back to
        progress = replace(self.progress, wall_seconds=time.monotonic() - self.started)
        states.save(self._steps_done(progress), self._tensors(), asdict(progress))

    def _save_interval(self, states: CheckpointDir) -> float:
        """Seconds between two saves that keep to their share of the time; the first one's cost is a guess."""
        weights_and_momentum = 2 * sum(parameter.nbytes for parameter in self._parameters())
        return (states.seconds_of_last_save or weights_and_momentum / SAVED_BYTES_PER_SECOND) / SAVE_SHARE

    def _resume(self, states: CheckpointDir) -> None:
        found = states.load()
        progress = Progress(**found[1]) if found else Progress()
        if not self.processes.agree(self._steps_done(progress)):
            raise UserError(
                f"{states.folder}: not all processes could read the same state; run the same command again, or remove"
                " the folder to start anew."
            )
        if found is None:
            return
        self.progress = progress
        self._restore(found[0])
        at = round(self.progress.epoch + self.progress.step / self.steps_per_epoch, 3)
        self.progress.resumed_from = [*self.progress.resumed_from, at]
        states.say(f"resumed at epoch {at} of {self.recipe.epochs}")

    def _steps_done(self, progress: Progress) -> int:
        return progress.epoch * self.steps_per_epoch + progress.step

    def _tensors(self) -> dict[str, Tensor]:
        """Every tensor that training changes, by name: weights, average, optimizer, sums of the current epoch."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        for number, parameter in enumerate(self._parameters()):
            for name, tensor in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{number}.{name}"] = tensor
        return tensors | {"sums.loss": self.loss_sum, "sums.correct": self.correct}

    def _restore(self, tensors: dict[str, Tensor]) -> None:
        """Put saved tensors back, in the memory format of their parameters."""
        for number, parameter in enumerate(self._parameters()):
            prefix = f"optimizer.{number}."
            for name in [name for name in tensors if name.startswith(prefix)]:
                saved = tensors[name]
                like = parameter if saved.shape == parameter.shape else saved
                own = torch.empty_like(like, device=parameter.device)
                self.optimizer.state[parameter][name.removeprefix(prefix)] = own.copy_(saved)
        current = self._tensors()
        if current.keys() != tensors.keys():
            raise ValueError(f"a saved state does not fit the network: {sorted(current.keys() ^ tensors.keys())}")
        with torch.no_grad():
            for name, tensor in current.items():
                tensor.copy_(tensors[name])

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]


def _pieces(batch: Batch, count: int) -> list[Batch]:
    """A batch cut into `count` micro-batches, as equal as can be."""
    if count == 1:
        return [batch]
    columns = [
        [None] * count if tensor is None else tensor.tensor_split(count)
        for tensor in (batch.images, batch.labels, batch.other_labels, batch.weight)
    ]
    return [Batch(*row) for row in zip(*columns, strict=True) if len(row[1])]


def _loss(logits: Tensor, batch: Batch, label_smoothing: float) -> Tensor:
    """Mean cross-entropy, of both labels in their shares where images were mixed: float ()."""
    if batch.other_labels is None:
        return F.cross_entropy(logits, batch.labels, label_smoothing=label_smoothing)
    own, other = (
        F.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")
        for labels in (batch.labels, batch.other_labels)
    )
    return (own * batch.weight + other * (1 - batch.weight)).mean()
