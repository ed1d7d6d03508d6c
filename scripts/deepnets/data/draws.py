"""Draw a part of the images, or folds: of each class the same share, and the same images wherever the folder lies."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Image(NamedTuple):
    """An image as a draw sees it.

    name    of its file, from the folder that holds the classes on
    label   its class
    group   images of one group stay together; for an image of its own, its name
    """

    name: str
    label: str
    group: str


def draw(images: Iterable[Image], fraction: float, seed: int = 0) -> set[str]:
    """Return the names of the images that are drawn.

    Groups are taken in an order that a hash of their names and `seed` gives. A group is left out if it would give one
    of its classes more than its share, or all of its images; the rarest class comes first. No number that a library
    draws is used, so that the result never depends on versions. Images that are added later move few others.

    Args:
        images: all of them.
        fraction: of each class that is to be drawn, in (0, 0.5]; rounded, and one image at least.
        seed: another one draws others.
    """
    members: dict[str, list[Image]] = defaultdict(list)
    of_class: Counter[str] = Counter()
    for image in images:
        members[image.group].append(image)
        of_class[image.label] += 1
    sizes = {group: Counter(image.label for image in of_group) for group, of_group in members.items()}
    groups_of = _ordered(sizes, seed)
    share = {label: max(1, math.floor(fraction * count + 0.5)) for label, count in of_class.items()}
    drawn: Counter[str] = Counter()
    drawn_groups: set[str] = set()
    for label in sorted(of_class, key=lambda each: (of_class[each], each)):
        for group in groups_of[label]:
            if drawn[label] >= share[label]:
                break
            if group not in drawn_groups and _fits(sizes[group], drawn, share, of_class):
                drawn_groups.add(group)
                drawn += sizes[group]
        if not drawn[label]:  # each of its groups is larger than its share: the smallest, if another one is left
            group = min(groups_of[label], key=lambda each: sizes[each][label])
            if all(drawn[each] + count < of_class[each] for each, count in sizes[group].items()):
                drawn_groups.add(group)
                drawn += sizes[group]
    return {image.name for name in drawn_groups for image in members[name]}


def draw_folds(images: Iterable[Image], folds: int, seed: int = 0) -> list[set[str]]:
    """Divide the images into folds, each with the same share of each class; return the names in each.

    The first fold is a draw from all images, the next one a draw from those that are left. So groups stay together, and
    of a class with too few groups a fold may have no image.
    """
    left, found = list(images), list[set[str]]()
    for more in range(folds, 1, -1):
        found.append(draw(left, 1 / more, seed))
        left = [image for image in left if image.name not in found[-1]]
    return [*found, {image.name for image in left}]


def _ordered(sizes: Mapping[str, Counter[str]], seed: int) -> dict[str, list[str]]:
    """The groups of each class, in the order of the draw."""
    found: dict[str, list[str]] = defaultdict(list)
    for group in sorted(sizes, key=lambda each: hashlib.sha256(f"{seed}/{each}".encode(errors="replace")).digest()):
        for label in sizes[group]:
            found[label].append(group)
    return found


def _fits(size: Counter[str], drawn: Counter[str], share: Mapping[str, int], of_class: Counter[str]) -> bool:
    return all(drawn[each] + count <= min(share[each], of_class[each] - 1) for each, count in size.items())
