"""Warnings about a finished training run, with advice that depends on how its loss went."""

import math
from typing import Any

import numpy as np
from scipy.special import bdtr, bdtrc

from deepnets.evaluation.history import History
from deepnets.evaluation.metrics import Labels

UNDER_TRAINED_BELOW = 0.75  # accuracy on the training images themselves
# Of the training loss: noise between epochs is smaller, divergence is larger.
RISE = 1.1
# Of the loss of guessing: a network above it has not begun to learn.
GUESSING = 0.98


def warnings(
    train: dict[str, Any],
    validation: dict[str, Any],
    labels: dict[str, Labels],
    history: History,
    not_finite: dict[str, int],
) -> list[str]:
    """Return sentences of warning with advice, which a reader needs to judge the numbers; no sentence if all is well.

    Args:
        train, validation: `basic_metrics` of these splits; the latter with `from_dataset` if the dataset brings it.
        labels: of these splits, (N,), each in 0..C-1; of all training images, not only of those in `train`.
        history: the content of history.csv.
        not_finite: for each split, how many images have a loss that is not finite.
    """
    found = [_about_losses(split, number) for split, number in not_finite.items() if number]
    accuracy, images = validation["accuracy"], validation["n"]
    correct, commonest = round(accuracy * images), int(np.bincount(labels["validation"]).max())
    majority, has_one_class = commonest / images, commonest == images
    above_chance = bdtrc(correct - 1, images, majority) < 0.01  # P(X >= correct), X binomial
    # Few images can hide a real gain: only a validation split that is large enough to rule one out shows a failure.
    gain = majority + (1 - majority) / 4
    far_from_gain = bdtr(correct, images, gain) < 0.01  # P(X <= correct)
    # By the classes that the loss was computed with: a validation split of the dataset may have others.
    advice = _advice(history, _loss_of_guessing(np.bincount(labels["train"])))
    may_have_failed = correct < images and not above_chance and not has_one_class
    if may_have_failed and (correct <= commonest or far_from_gain):
        if train["accuracy"] > max(gain, UNDER_TRAINED_BELOW):
            advice = (
                f"it knows {train['accuracy']:.1%} of its training images, so more epochs will not help: add images,"
                " check their labels, or raise the recipe's augmentation"
            )
        return [
            *found,
            f"did not learn: {accuracy:.1%} on validation is not clearly above always naming the commonest class"
            f" ({majority:.1%}); {advice}",
        ]
    if train["accuracy"] < UNDER_TRAINED_BELOW:
        found.append(_about_training(train["accuracy"], history, advice))
    if has_one_class:
        found.append(
            f"the validation split has one class only ({_counted(images, 'image')}), so {accuracy:.1%} on it does not"
            f" show whether the network tells the classes apart; {_more_images(validation, ' of the other classes')}"
        )
    elif not above_chance:
        found.append(
            f"too few images to decide: {accuracy:.1%} on {images} validation images may be luck, as always naming the"
            f" commonest class gets {majority:.1%}; {_more_images(validation)}"
        )
    return found


def _more_images(validation: dict[str, Any], which: str = "") -> str:
    """What to do about a validation split that shows too little."""
    if validation.get("from_dataset"):  # validation_fraction does nothing then
        return f"add images{which} to the dataset's validation split"
    return f"add images{which}, or raise the recipe's validation_fraction"


def _about_training(accuracy: float, history: History, advice: str) -> str:
    losses = history["train_loss"]
    known = f"{accuracy:.1%} on its own training images after {_counted(history['epoch'][-1])}"
    if len(losses) == 1 and math.isfinite(losses[0]):
        return f"only {known}: one epoch does not show whether more would help, so compare it with 2 epochs or more"
    return f"under-trained: {known}; {advice}"


def _about_losses(split: str, number: int) -> str:
    return (
        f"{_counted(number, 'image')} of the {split} split got logits with NaN or infinity: without a prediction an"
        f" image counts as wrong, and the {split} loss is not finite; train again with precision: fp32 or a smaller lr"
    )


def _loss_of_guessing(counts: Labels) -> float:
    """The cross-entropy of always answering with the classes' frequencies, in nats."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _advice(history: History, guessing: float) -> str:
    """What to change in the recipe of a network that learned too little, by its training loss of each epoch.

    A loss that rose, or that fell back to guessing from far above it, diverged: its lr was too high.
    """
    losses, twice = history["train_loss"], f"{2 * history['epoch'][-1]:g}"
    first, last, peak = losses[0], losses[-1], max(losses)
    if not math.isfinite(sum(losses)):
        return "the training loss was not finite; try a tenth of the lr, or clip_norm: 1.0"
    if len(losses) == 1:
        return _advice_after_one_epoch(last, guessing)
    if last > RISE * min(losses) or (peak > RISE * first and last > first / RISE):  # not a hump in the warm-up
        return (
            f"the training loss rose (lowest {min(losses):.3g}, highest {peak:.3g}, last {last:.3g}); try a tenth of"
            " the lr, or a longer warmup"
        )
    if first > RISE * guessing and last > GUESSING * guessing:
        return (
            f"the training loss started high ({first:.3g}) and stays at that of guessing ({last:.3g}); try a tenth of"
            " the lr, or a longer warmup"
        )
    if last > GUESSING * guessing:
        return (
            f"the training loss stays at that of guessing ({last:.3g}): try {twice} epochs or more, or three times"
            " the lr"
        )
    return f"the training loss is finite and did not rise ({last:.3g}): try {twice} epochs or more"


def _advice_after_one_epoch(loss: float, guessing: float) -> str:
    if loss > RISE * guessing:
        return (
            f"the training loss of its only epoch ({loss:.3g}) is above that of guessing ({guessing:.3g}); try a tenth"
            " of the lr, or a longer warmup"
        )
    if loss > GUESSING * guessing:
        return (
            f"the training loss of its only epoch is that of guessing ({loss:.3g}): try 2 epochs or more, or three"
            " times the lr"
        )
    return f"one epoch shows no trend of the training loss ({loss:.3g}): try 2 epochs or more"


def _counted(number: float, noun: str = "epoch") -> str:
    number = int(number) if number == int(number) else number  # epochs are read as 2.0
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"
