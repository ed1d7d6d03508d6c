"""The training loop.

Every random draw is a pure function of (seed, epoch, step): the order of an epoch, the augmentation and the dropout of
a step. So a resume needs no generator's state, only the epoch and the step, and is exact.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from deepnets.config.recipe import Recipe
from deepnets.config.schedule import learning_rate
from deepnets.data.splits import Split
from deepnets.models._pretrained import is_frozen, set_training_mode
from deepnets.training.augmentation import Augmentation, Batch
from deepnets.training.balance import balanced_order, balanced_weights
from deepnets.training.checkpoints import CheckpointDir, SaveTimer
from deepnets.training.device import Device
from deepnets.training.distributed import SINGLE_PROCESS, ProcessGroup
from deepnets.training.features import FeatureAugmentation
from deepnets.training.inference import channels_last, predict
from deepnets.training.loss import cross_entropy, micro_batches
from deepnets.training.optim import build_average, build_optimizer
from deepnets.training.progress import EpochPlan, SilentProgress
from deepnets.training.resizing import image_size_at, shrink
from deepnets.training.seeds import AUGMENTATION, DROPOUT, ORDER, derived_seed
from deepnets.training.state import Progress, TrainingState
from deepnets.utils.errors import UserError
from deepnets.utils.machine import cpu_seconds


class Interrupted(Exception):
    """A signal asked the training run to stop; its state is saved."""


class Trainer:
    """Trains one network on one dataset by one recipe.

    Args:
        model: the network, with the weights that it starts from, already on the device, in channels_last.
        recipe: epochs, optimizer, schedule, augmentation.
        train, validation: the two splits of the training images.
        augmentation: the recipe's augmentation for this dataset.
        seed: the experiment's seed.
        device: device, precision and threads, from `device.configure_device`.
        group: the processes that train together, each with a model of the same weights and the same data. All of them
            take the same steps; each computes its shard of every batch.
        display: shows the progress within an epoch.

    Raises:
        UserError: a batch has fewer images than there are processes.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        train: Split,
        validation: Split,
        augmentation: Augmentation | FeatureAugmentation,
        seed: int,
        device: Device,
        group: ProcessGroup = SINGLE_PROCESS,
        display: SilentProgress | None = None,
    ):
        # The last incomplete batch is dropped; each epoch drops different images. A batch of one image would have no
        # batch statistics.
        self.batch_size = min(recipe.batch_size, len(train))
        if self.batch_size < group.world_size:
            raise UserError(
                f"a batch of {self.batch_size} images cannot be divided among {group.world_size} processes: ask for"
                " fewer (gpu or processes), or set a larger batch_size in the recipe."
            )
        self.recipe, self.seed, self.device, self.group = recipe, seed, device, group
        self.train_split, self.validation_split, self.augmentation = train, validation, augmentation
        self.display = display or SilentProgress()
        is_weighted = recipe.class_weights == "balanced"
        self.class_weights = balanced_weights(train.all_labels()).to(device.device) if is_weighted else None
        self.model = group.sync_batch_norm(model, device.device)
        self.state = TrainingState(
            self.model, build_optimizer(self.model, recipe), build_average(self.model, recipe), device.device
        )
        called = device.compile(self.model) if recipe.compile else self.model
        self.network = group.wrap_ddp(called, device.device)
        self.validation_logits: Tensor | None = None  # of the final network, if its last epoch was in this process
        # Small batches: at least two images per micro-batch, and one for each process.
        self.accumulation = min(recipe.accumulation, max(1, self.batch_size // max(2, group.world_size)))
        self.steps_per_epoch = len(train) // self.batch_size
        self.total_steps = max(1, round(self.steps_per_epoch * recipe.epochs))
        self.epochs = math.ceil(self.total_steps / self.steps_per_epoch)  # the last one may be shorter

    @property
    def progress(self) -> Progress:
        """The progress of the training run."""
        return self.state.progress

    def steps_of(self, epoch: int) -> int:
        """Optimizer steps of an epoch, counted from 0: fewer in the last one if the recipe's `epochs` is fractional."""
        return min(self.steps_per_epoch, self.total_steps - epoch * self.steps_per_epoch)

    def fit(
        self,
        checkpoints: CheckpointDir,
        report: Callable[[dict], None] = lambda row: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> nn.Module:
        """Train for all epochs, from the newest checkpoint if there is one.

        Args:
            checkpoints: where checkpoints are saved and found.
            report: called with each epoch's row of history.csv.
            should_stop: called after every step; True, in any process, saves and ends all processes of the run.

        Returns:
            The trained network; the averaged one if the recipe averages weights.

        Raises:
            Interrupted: `should_stop` returned True; the state is saved.
            UserError: the loss is not finite.
        """
        self._resume(checkpoints)
        self._begin_run()
        save_timer = SaveTimer(checkpoints, sum(parameter.nbytes for parameter in self.state.parameters()))

        def save() -> None:
            self._record_run()
            self._save(checkpoints)
            save_timer.restart()

        def is_due(within_epoch: bool = False) -> bool:
            # The same in all processes, which add up their times: by the clock of the one that saves.
            return self.group.any(self.group.is_main and save_timer.is_due(within_epoch))

        for epoch in range(self.progress.epoch, self.epochs):
            for _ in self._steps(epoch):
                stop = self.group.any(should_stop())
                if stop or is_due(within_epoch=True):
                    save()
                if stop:
                    self.group.barrier()  # until the main process has saved: when one process ends, all are ended
                    raise Interrupted
            self._finish_epoch(epoch, report)
            if is_due():  # after the last epoch too: a kill before the results are written costs seconds
                save()
        network = self._final_network()
        self._record_run()
        return network

    # -- steps ---------------------------------------------------------------------------------------------------------

    def _steps(self, epoch: int) -> Iterator[None]:
        """Run the remaining steps of the epoch, yielding after each; only the steps are timed."""
        set_training_mode(self.network, self.model)
        order = self._order(epoch)
        first = self.progress.step
        steps, before = self.steps_of(epoch), epoch * self.steps_per_epoch
        plan = EpochPlan(epoch + 1, self.epochs, first, steps, before, self.total_steps, self.batch_size)
        with self.display.epoch(plan) as advance:
            for step in range(first, steps):
                start = time.monotonic()
                # The next batch; and this one, which may be the first, or has been dropped from memory since.
                self.train_split.prefetch(order[step * self.batch_size : (step + 2) * self.batch_size])
                self._step(epoch, step, order[step * self.batch_size : (step + 1) * self.batch_size])
                self.progress.step = step + 1
                self.progress.seconds += time.monotonic() - start
                advance()
                yield

    def _order(self, epoch: int) -> Tensor:
        """The images of an epoch in the order of its steps, int64 (N,), where the labels are."""
        rng = np.random.default_rng(derived_seed(self.seed, epoch, ORDER))
        if self.recipe.sampler == "balanced":
            order = balanced_order(self.train_split.all_labels().numpy(), rng)
        else:
            order = rng.permutation(len(self.train_split))
        return torch.from_numpy(order).to(self.train_split.labels.device)  # once an epoch, not once a step

    def _step(self, epoch: int, step: int, index: Tensor) -> None:
        """Take one optimizer step on the images at `index`, in `accumulation` micro-batches."""
        done = epoch * self.steps_per_epoch + step
        for group in self.state.optimizer.param_groups:
            group["lr"] = learning_rate(done, self.total_steps, self.recipe, group["peak_lr"])
        torch.manual_seed(derived_seed(self.seed, epoch, DROPOUT, step) + self.group.rank)
        for batch in micro_batches(self._batch(epoch, step, index), self.accumulation):
            with self.device.autocast():
                logits = self.network(batch.images)
            logits = logits.float()
            loss = cross_entropy(logits, batch, self.recipe.label_smoothing, self.class_weights)
            # Gradients add up over micro-batches; over processes, `network` averages them.
            (loss * (len(batch.labels) * self.group.world_size / len(index))).backward()
            self._add_to_sums(logits.detach(), batch.labels)
        if self.device.device.type == "cpu":  # reading the sum costs nothing there: do not wait for the epoch's end
            self._refuse_divergence(epoch, self.state.loss_sum.item())
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.state.optimizer.step()
        self.state.optimizer.zero_grad(set_to_none=True)
        if self.state.average is not None and self._averages_at(done):
            self.state.average.update_parameters(self.model)

    def _batch(self, epoch: int, step: int, index: Tensor) -> Batch:
        """This process's shard of a step's augmented batch, channels_last, at the image size of the step."""
        generator = torch.Generator(self.device.device)
        generator.manual_seed(derived_seed(self.seed, epoch, AUGMENTATION, step))
        full_batch = self.augmentation(*self.train_split.get_batch(index, self.device.device), generator)
        # Augmented before it is divided: no draw depends on the number of processes, and neighbours are mixed.
        batch = micro_batches(full_batch, self.group.world_size)[self.group.rank]
        images = channels_last(shrink(batch.images, self._image_size(epoch * self.steps_per_epoch + step)))
        return Batch(images, batch.labels, batch.other_labels, batch.weight)

    def _image_size(self, step: int) -> int:
        full_size, resizing = self.train_split.image_size, self.recipe.progressive_resizing
        return image_size_at(step, self.total_steps, full_size, resizing)

    def _averages_at(self, step: int) -> bool:
        start = self.recipe.averaging_start if self.recipe.weight_averaging == "swa" else 0.0
        return step >= start * self.total_steps

    def _add_to_sums(self, logits: Tensor, labels: Tensor) -> None:
        """Add to the epoch's sums in double precision, on the device: reading them would stall a GPU at every step."""
        loss = F.cross_entropy(logits.double(), labels, reduction="sum")
        loss, correct = self.group.all_reduce(loss, (logits.argmax(1) == labels).sum())
        self.state.loss_sum += loss
        self.state.correct += correct

    def _refuse_divergence(self, epoch: int, loss: float) -> None:
        if math.isfinite(loss):
            return
        at = f"the loss is not finite in epoch {epoch + 1} of {self.epochs}, with lr {self.recipe.lr}"
        fp32 = ["set precision: fp32"] if self.device.precision == "bf16" else []
        if self._steps_done(self.progress) == 0 and self.device.device.type == "cpu":
            raise UserError(
                f"{at}, before any weight has changed, so the lr is not the cause: "
                f"{', or '.join(['look for what the network computes with these images', *fp32])}."
            )
        clip_norm = [] if self.recipe.clip_norm else ["set clip_norm: 1.0"]
        hints = ["lower lr (a tenth is a good next try)", *clip_norm, *fp32]
        raise UserError(f"{at}: in the recipe of config.yaml, {', or '.join(hints)}.")

    # -- the end of an epoch, and of the training ----------------------------------------------------------------------

    def _finish_epoch(self, epoch: int, report: Callable[[dict], None]) -> None:
        """Validate, add the epoch's row to the history, and set the sums to zero for the next epoch."""
        start = time.monotonic()
        self.device.synchronize()  # a GPU's steps are only queued so far
        self.progress.seconds += time.monotonic() - start
        steps = self.steps_of(epoch)
        seen = steps * self.batch_size
        network = self.state.averaged_model()
        logits = predict(network, self.validation_split, self.augmentation, self.device, self.group)
        self.validation_logits, labels = logits, self.validation_split.all_labels()
        row = {
            "epoch": epoch + 1 if steps == self.steps_per_epoch else round(epoch + steps / self.steps_per_epoch, 3),
            "lr": learning_rate(epoch * self.steps_per_epoch + steps - 1, self.total_steps, self.recipe),
            "train_loss": self.state.loss_sum.item() / seen,
            "train_accuracy": self.state.correct.item() / seen,
            "val_loss": F.cross_entropy(logits.double(), labels).item(),
            "val_accuracy": (logits.argmax(1) == labels).double().mean().item(),
            "seconds": round(self.progress.seconds, 3),
            "images_per_second": round(seen / self.progress.seconds, 1),
        }
        # The validation loss shows what the last step did; the training loss is the one before each step.
        self._refuse_divergence(epoch, row["train_loss"] + row["val_loss"])
        self.state.loss_sum.zero_()
        self.state.correct.zero_()
        history = [*self.progress.history, row]
        self.state.progress = replace(self.progress, epoch=epoch + 1, step=0, seconds=0.0, history=history)
        report(row)

    def _final_network(self) -> nn.Module:
        """The network of the result; a stochastic weight average gets its batch-norm statistics first."""
        network = self.state.averaged_model()
        # A frozen network keeps its statistics.
        if self.recipe.weight_averaging == "swa" and network is not self.model and not is_frozen(self.model):
            self.validation_logits = None
            # Dropout is active in this pass too.
            torch.manual_seed(derived_seed(self.seed, self.epochs, DROPOUT) + self.group.rank)
            with self.device.autocast():
                update_bn(self._clean_batches(), network)
        return network

    def _clean_batches(self) -> Iterator[Tensor]:
        """The training images in order, normalised and not augmented, in batches of the training size."""
        full_batches = torch.arange(self.steps_per_epoch * self.batch_size)  # of a whole epoch
        for index in full_batches.split(self.batch_size):
            self.train_split.prefetch(index)
            images, _ = self.train_split.get_batch(index[self.group.shard(len(index))], self.device.device)
            yield channels_last(self.augmentation.normalise(images))

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def _begin_run(self) -> None:
        """Add this run to those that took part; a run that saves nothing is forgotten, as its steps are."""
        self.start, self.cpu_start = time.monotonic(), cpu_seconds()
        this_run = {
            **self.device.describe(),
            "processes": self.group.world_size,
            "accumulation": self.accumulation,
            "from_epoch": self._epochs_done(),
        }
        self.progress.runs = [*self.progress.runs, this_run]

    def _record_run(self) -> None:
        """Record how far this run has come, and the time and memory that it took; all processes call it together."""
        this_run, seconds = self.progress.runs[-1], time.monotonic() - self.start
        self.progress.wall_seconds += seconds - this_run.get("seconds", 0.0)
        this_run |= {
            "to_epoch": self._epochs_done(),
            "seconds": seconds,
            "cpu_seconds": self.group.sum(cpu_seconds() - self.cpu_start),
            "peak_memory_mb": round(self.device.peak_memory_mb(), 1),
        }

    def _save(self, checkpoints: CheckpointDir) -> None:
        if not self.group.is_main:
            return  # all have the same state
        self._refuse_divergence(self.progress.epoch, self.state.loss_sum.item())  # never resume from such a state
        checkpoints.save(self._steps_done(self.progress), self.state.tensors(), asdict(self.progress))

    def _resume(self, checkpoints: CheckpointDir) -> None:
        found = checkpoints.load()
        progress = Progress(**found[1]) if found else Progress()
        if not self.group.all_equal(self._steps_done(progress)):
            raise UserError(
                f"{checkpoints.folder}: not all processes could read the same checkpoint; try again, or remove the"
                " folder to start from the beginning."
            )
        if found is None:
            return
        self.state.progress = progress
        self.state.restore(found[0])
        checkpoints.log(f"resumed at epoch {self._epochs_done()} of {self.recipe.epochs}")

    def _epochs_done(self) -> float:
        """Epochs done, the current one as a fraction."""
        return round(min(self._steps_done(self.progress), self.total_steps) / self.steps_per_epoch, 3)

    def _steps_done(self, progress: Progress) -> int:
        return progress.epoch * self.steps_per_epoch + progress.step
