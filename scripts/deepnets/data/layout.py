"""Which images are in which class and split, and the draw of a split that nobody chose."""

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from deepnets.data.draws import Image, draw, draw_folds
from deepnets.data.folder_tree import VALIDATION
from deepnets.data.folds import Folds, how_folds_are_used
from deepnets.utils.errors import UserError
from deepnets.utils.paths import SPLITS

DRAWN_TEST = 0.2  # of each class, where there is no test split and config.yaml says nothing
DRAWN_VALIDATION = 0.1  # of the training images, where groups are kept together

Images = dict[str, dict[str, list[str]]]  # split -> class -> file names
Identify = Callable[[str], tuple[str, str | None]]  # file name -> its name in a draw, and its group if it has one


@dataclass(frozen=True)
class Drawing:
    """What config.yaml says about the splits that are drawn.

    test    the share of each class for the test split, in (0, 0.5]; None: `DRAWN_TEST`, unless there is a test split
    folds   how many folds to draw instead of a test split; None: none
    groups  a regular expression: images whose names have the same match, or first group of it, stay together
    seed    another one draws others
    """

    test: float | None = None
    folds: int | None = None
    groups: str | None = None
    seed: int = 0


NOTHING_SAID = Drawing()


@dataclass(frozen=True)
class Layout:
    """The images of a folder, an archive or a table.

    classes   class names by label: in order of their code points, as torchvision's ImageFolder has them
    splits    split -> (file name, label) of each image, by label, then name; the order is that of the arrays.
              "validation" is there if the folder or archive has such a folder with images, or if groups are given.
    found     "test" -> how the test split was found, and why, where the files do not say it; likewise "validation"
    folds     where each fold is in the arrays; None without folds
    """

    classes: list[str]
    splits: dict[str, list[tuple[str, int]]]
    found: dict[str, str] = field(default_factory=dict)
    folds: Folds | None = None

    def names(self) -> list[str]:
        """File names of all images, the training split first."""
        return list(self.positions())

    def positions(self) -> dict[str, tuple[str, int]]:
        """Split and index of each image, by its file name, the training split first."""
        return {name: (split, index) for split, images in self.splits.items() for index, (name, _) in enumerate(images)}


def no_images() -> Images:
    """Each split without images."""
    return {split: {} for split in (*SPLITS, VALIDATION)}


def count(images: Images, split: str) -> int:
    """Number of images in a split."""
    return sum(map(len, images[split].values()))


def use_validation_as_test(images: Images, named: str) -> str:
    """Move the validation images to the test split, which has no images; return the sentence for it.

    Args:
        images: changed in place.
        named: what has the validation images, such as "val".
    """
    images["test"], images[VALIDATION] = images[VALIDATION], {}
    return (
        f"the images of {named}, as there is no test split; validation images are drawn from train. To draw the"
        f" test split from train instead, write `test: {DRAWN_TEST}`"
    )


def too_few_to_draw(name: str, number: int) -> str:
    """Say that a class cannot be divided."""
    return (
        f"{name} has {number or 'no'} image{'' if number == 1 else 's'} to draw from; a class needs two or more,"
        " one to train on and one to test on: add images or remove the class."
    )


def group_of(shown_as: str, file: str, name: str, groups: str | None) -> str | None:
    """The group of an image by the expression `groups:` of config.yaml; None without an expression.

    Args:
        shown_as: the folder, archive or table, for messages.
        file: name of the image's file.
        name: the part of it in which the expression is searched.
        groups: the expression.

    Raises:
        UserError: the name has no such part.
    """
    if groups is None:
        return None
    match = re.search(groups, name)
    if match is None:
        raise UserError(
            f"{shown_as}/{file}: its name does not match `groups: {groups}` in config.yaml, so that it belongs to no"
            " group; rename it or correct the expression."
        )
    return next((text for text in match.groups() if text), match[0])


def refuse_divided_groups(shown_as: str, images: Images, identify: Identify, hint: str) -> None:
    """Refuse groups that the user's own splits divide.

    Args:
        shown_as: the folder, archive or table, for messages.
        images: as the user divided them.
        identify: see `Identify`.
        hint: what to do.

    Raises:
        UserError: images of one group are in several splits; the message names one.
    """
    files_of: dict[str, dict[str, str]] = {}  # group -> split -> an image of it
    for split, of_class in images.items():
        for file in itertools.chain.from_iterable(of_class.values()):
            if (group := identify(file)[1]) is not None:
                files_of.setdefault(group, {}).setdefault(split, file)
    divided = sorted(group for group, files in files_of.items() if len(files) > 1)
    if divided:
        example = ", ".join(f"{file} in {split}" for split, file in files_of[divided[0]].items())
        number = "1 group has" if len(divided) == 1 else f"{len(divided):,} groups have"
        raise UserError(
            f"{shown_as}: {number} images in several splits, such as {divided[0]!r} ({example}), so that networks would"
            f" be tested or chosen on what they have seen; {hint}."
        )


def complete(
    shown_as: str,
    classes: list[str],
    images: Images,
    found: dict[str, str],
    drawing: Drawing,
    identify: Identify,
    without_groups: str | None,
    saw: str,
) -> Layout:
    """Draw the splits that nobody chose, or folds, and bring all images into order.

    Args:
        shown_as: the folder, archive or table, for messages.
        classes: by label.
        images: changed in place.
        found: what was found before.
        drawing: what config.yaml says.
        identify: see `Identify`.
        without_groups: what to do so that images have no groups; None: they have none. With groups, a validation split
            is drawn, too.
        saw: what is there instead of a test split.

    Raises:
        UserError: a class has a single group, or fewer than there are folds; or nothing is drawn, though a seed is
            given.
    """
    found, drawn, grouped = dict(found), False, without_groups is not None
    if drawing.folds is not None:
        return _in_folds(shown_as, classes, images["train"], found, drawing, identify, grouped)
    if not count(images, "test"):
        drawn, fraction = True, drawing.test or DRAWN_TEST
        found["test"] = f"{_share(fraction, '', drawing, grouped)}, as {saw}"
        if drawing.test is None:
            found["test"] += "; for another share write `test: 0.1`"
        _draw(shown_as, images, "test", fraction, drawing, identify, without_groups)
    if grouped and not count(images, VALIDATION):
        drawn = True
        found[VALIDATION] = _share(DRAWN_VALIDATION, " in train", drawing, grouped)
        _draw(shown_as, images, VALIDATION, DRAWN_VALIDATION, drawing, identify, without_groups)
    if drawing.seed and not drawn:
        raise UserError(
            f"{shown_as}: `split_seed: {drawing.seed}` draws splits, but no split is drawn; remove it from config.yaml."
        )
    used = [*SPLITS, *([VALIDATION] if count(images, VALIDATION) else [])]
    splits = {
        split: [(file, label) for label, name in enumerate(classes) for file in sorted(images[split].get(name, []))]
        for split in used
    }
    return Layout(classes, splits, found)


def _share(fraction: float, of: str, drawing: Drawing, grouped: bool) -> str:
    """Say how much of each class is drawn; of groups no share fits exactly."""
    about, whole = ("about ", ", in whole groups") if grouped else ("", "")
    return f"{about}{100 * fraction:.3g} % of each class{of}{whole}, the same for every experiment{_by_seed(drawing)}"


def _by_seed(drawing: Drawing) -> str:
    return f" (`split_seed: {drawing.seed}`)" if drawing.seed else ""


def _in_folds(
    shown_as: str,
    classes: list[str],
    images: dict[str, list[str]],
    found: dict[str, str],
    drawing: Drawing,
    identify: Identify,
    grouped: bool,
) -> Layout:
    """Divide images, class -> file names, into folds; those with groups get validation images, too."""
    assert drawing.folds is not None
    folds, seed = drawing.folds, drawing.seed
    listed, file_of = _as_drawn(images, identify)
    drawn = [{file_of[name] for name in names} for names in draw_folds(listed, folds, seed)]
    in_order = [
        [(file, label) for label, name in enumerate(classes) for file in sorted(images[name]) if file in fold]
        for fold in drawn
    ]
    row_of = {file: row for row, (file, _) in enumerate(image for fold in in_order for image in fold)}
    found["folds"] = f"{how_folds_are_used(folds)}{_by_seed(drawing)}"
    validation = None
    if grouped:
        found[VALIDATION] = f"about {100 * DRAWN_VALIDATION:.3g} % of each class outside the fold, in whole groups"
        others = [[image for image in listed if file_of[image.name] not in fold] for fold in drawn]
        validation = [sorted(row_of[file_of[name]] for name in draw(each, DRAWN_VALIDATION, seed)) for each in others]
    labels = [label for fold in in_order for _, label in fold]
    has = [{label for _, label in fold} for fold in in_order]
    has += [{labels[row] for row in rows} for rows in validation or ()]
    for label, name in enumerate(classes):
        if any(label not in each for each in has):
            raise UserError(
                f"{shown_as}: {name} has too few {'groups' if grouped else 'images'} for {folds} folds, as each needs"
                " some; add images, remove the class, or write a smaller `folds`."
            )
    splits = {"train": [image for fold in in_order[1:] for image in fold], "test": in_order[0]}
    return Layout(classes, splits, found, Folds([len(fold) for fold in in_order], validation))


def _as_drawn(images: dict[str, list[str]], identify: Identify) -> tuple[list[Image], dict[str, str]]:
    """Images, class -> file names, as a draw sees them, and the file of each by its name in the draw."""
    listed, file_of = [], {}
    for label, files in images.items():
        for file in files:
            name, group = identify(file)
            file_of[name] = file
            listed.append(Image(name, label, name if group is None else group))
    return listed, file_of


def _draw(
    shown_as: str,
    images: Images,
    split: str,
    fraction: float,
    drawing: Drawing,
    identify: Identify,
    without_groups: str | None,
) -> None:
    """Move a share of the training images of each class to another split, whole groups only."""
    listed, file_of = _as_drawn(images["train"], identify)
    drawn = {file_of[name] for name in draw(listed, fraction, drawing.seed)}
    for label, files in images["train"].items():
        images[split][label] = [file for file in files if file in drawn]
        images["train"][label] = [file for file in files if file not in drawn]
        if not images[split][label] or not images["train"][label]:
            raise UserError(
                f"{shown_as}: the groups of {label} cannot be divided, as there are too few for a {split} split; add"
                f" images of other groups, remove the class, or {without_groups}."
            )
