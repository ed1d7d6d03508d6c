"""Checks that no entry of config.yaml can make alone: names that meet, references, pairs and shared result folders."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import reduce
from itertools import chain, product
from operator import getitem
from typing import Any, NamedTuple

from deepnets import models
from deepnets.config.experiment import Experiment
from deepnets.config.messages import NAME_PATTERN, NAME_RULE, Path, Problem, key_path, shown, unknown
from deepnets.data.sources import DatasetOptions
from deepnets.utils.option_types import StrictModel

# Sections of named entries, and what one of their entries is called.
SECTIONS = {"datasets": "dataset", "models": "model", "recipes": "recipe", "studies": "study"}
RESERVED_MODEL_NAMES = {"comparison": "results/<dataset>/comparison is where the figures that compare the models are"}


class Parts(NamedTuple):
    """What is right in itself; the rest has been reported and causes no further problems here.

    experiments: by the study and the index of the entry that asks for them. The recipe in their spec is {} where the
        entry's recipe or `set:` is not right: which folder they have is known, their recipe's values are not.
    """

    datasets: dict[str, DatasetOptions]
    models: dict[str, StrictModel]
    experiments: dict[tuple[str, int], list[Experiment]]


def cross_check(document: dict, parts: Parts) -> Iterator[Problem]:
    """All problems between the entries of a configuration.

    Args:
        document: the configuration as read, whatever is in it: all names count here, those of broken entries too.
        parts: its healthy entries.
    """
    names = {section: _table(document.get(section)) for section in SECTIONS}
    entries = {
        (study, index): _table(entry)
        for study, study_entries in _table(document.get("studies")).items()
        for index, entry in enumerate(_list(study_entries))
    }
    yield from _check_names(names, parts)
    for path, section, name in _references(document, entries):
        published = _published(document) if path[0] == "models" else []
        if isinstance(name, str) and names[section] and name not in names[section] and name not in published:
            yield Problem(path, unknown(SECTIONS[section], name, [*names[section], *published]))
    yield from _check_repeats(entries)
    yield from check_pairs(document, parts)
    yield from _check_results(parts)


def check_pairs(document: dict, parts: Parts) -> Iterator[Problem]:
    """Where images are too small for the network or the recipe that an experiment has for them; as `cross_check`."""
    yield from _check_sizes(parts)
    yield from _check_resizing(document, parts)
    yield from _check_augment(document, parts)


def _table(value: Any) -> dict:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list:
    return value if isinstance(value, list) else []


def _check_names(names: Mapping[str, dict], parts: Parts) -> Iterator[Problem]:
    for section, section_names in names.items():
        first = {}
        for name in section_names:
            other = first.setdefault(name.lower(), name)
            if other != name:
                yield Problem(
                    (section, name), f"differs from {shown(other)} in capitals only, one folder on macOS; rename one"
                )
    for name in names.get("models", []):
        if name.lower() in RESERVED_MODEL_NAMES:
            yield Problem(("models", name), f"not a free name: {RESERVED_MODEL_NAMES[name.lower()]}; choose another")
    for name, dataset in parts.datasets.items():
        # Any plain name will do: the published dataset need not be one of this file.
        if dataset.variant_of is not None and not re.fullmatch(NAME_PATTERN, dataset.variant_of):
            yield Problem(
                ("datasets", name, "variant_of"), f"not a valid name (got {shown(dataset.variant_of)}); {NAME_RULE}"
            )


def _references(document: dict, entries: dict[tuple[str, int], dict]) -> Iterator[tuple[Path, str, Any]]:
    """Every place that names an entry of a section: its path, the section, the name there."""
    yield ("study",), "studies", document.get("study")
    for model, settings in _table(document.get("models")).items():
        for dataset in _table(_table(settings).get("on")):
            yield ("models", model, "on", dataset), "datasets", dataset
    for place, entry in entries.items():
        for section in ("datasets", "models"):
            for index, name in enumerate(_list(entry.get(section))):
                yield ("studies", *place, section, index), section, name
        yield ("studies", *place, "recipe"), "recipes", entry.get("recipe")


def _published(document: dict) -> list[str]:
    """The names of published datasets, which `on:` may give too: its options then count for their variants."""
    variants = [_table(dataset).get("variant_of") for dataset in _table(document.get("datasets")).values()]
    return [name for name in variants if isinstance(name, str)]


def _check_repeats(entries: dict[tuple[str, int], dict]) -> Iterator[Problem]:
    for place, entry in entries.items():
        for key in ("datasets", "models", "seeds"):
            values = Counter(value for value in _list(entry.get(key)) if isinstance(value, str | int))
            for value, count in values.items():
                if count > 1:
                    yield Problem(("studies", *place, key), f"{shown(value)} is there {count} times; list it once")


def _check_sizes(parts: Parts) -> Iterator[Problem]:
    needs = defaultdict(dict)  # dataset -> model -> smallest side in pixels, where the images are smaller
    experiments = chain.from_iterable(parts.experiments.values())
    for dataset, model in dict.fromkeys((experiment.dataset, experiment.model) for experiment in experiments):
        _, height, width = parts.datasets[dataset].input_shape
        least = models.architecture(parts.models[model].architecture).MIN_IMAGE_SIZE
        if min(height, width) < least:
            needs[dataset][model] = least
    for dataset, by_model in needs.items():
        _, height, width = parts.datasets[dataset].input_shape
        yield Problem(
            ("datasets", dataset, "size"),
            f"images too small for {', '.join(by_model)} (got {height}x{width} pixels);"
            f" set size to {max(by_model.values())} or more",
        )


def _check_resizing(document: dict, parts: Parts) -> Iterator[Problem]:
    too_small = defaultdict(set)  # (path, start, least side) -> the pairs that it starts with images too small
    for place, experiments in parts.experiments.items():
        for experiment in experiments:
            resizing = experiment.spec["recipe"].get("progressive_resizing")
            least = models.architecture(experiment.spec["model"]["architecture"]).MIN_IMAGE_SIZE
            side = parts.datasets[experiment.dataset].input_shape[-1]
            if resizing and round(side * resizing["start"]) < least <= side:
                path = _place_to_mend(document, place, experiment.recipe, "progressive_resizing", "start")
                too_small[path, resizing["start"], least].add(f"{experiment.model} on {experiment.dataset}")
    for (path, start, least), pairs in too_small.items():
        yield Problem(
            path, f"images under {least} pixels at the start for {', '.join(sorted(pairs))} (got {start}); raise it"
        )


def _check_augment(document: dict, parts: Parts) -> Iterator[Problem]:
    too_large = defaultdict(dict)  # (path, value) -> dataset -> smallest side in pixels, where the value reaches it
    for place, experiments in parts.experiments.items():
        for experiment, key in product(experiments, ("crop_padding", "cutout")):
            value = experiment.spec["recipe"].get("augment", {}).get(key, 0)  # a broken recipe's spec is empty
            least = models.architecture(experiment.spec["model"]["architecture"]).MIN_IMAGE_SIZE
            side = max(least, parts.datasets[experiment.dataset].input_shape[-1])  # as it is, or will have to be
            if value >= side:
                path = _place_to_mend(document, place, experiment.recipe, "augment", key)
                too_large[path, value][experiment.dataset] = side
    for (path, value), sides in too_large.items():
        yield Problem(
            path,
            f"must be smaller than the images of {', '.join(sides)} (got {value} pixels);"
            f" set it below {min(sides.values())}",
        )


def _place_to_mend(document: dict, place: tuple[str, int], recipe: str, *keys: str) -> Path:
    """Where a recipe value of an entry is to be mended: in its `set:`, or in the recipe, whichever says it.

    A default, which neither says, belongs where the table around it is.
    """
    homes = (("studies", *place, "set"), ("recipes", recipe))
    said = (home for end in range(len(keys), 0, -1) for home in homes if _has(document, (*home, *keys[:end])))
    return (*next(said, homes[-1]), *keys)


def _has(document: dict, path: Path) -> bool:
    try:
        reduce(getitem, path, document)
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _check_results(parts: Parts) -> Iterator[Problem]:
    """One results folder belongs to one spec, and to one entry within a study; studies may share experiments."""
    first: dict[str, tuple[tuple[str, int], Experiment]] = {}
    shared = defaultdict(list)
    for place, experiments in parts.experiments.items():
        for experiment in experiments:
            other_place, other = first.setdefault(experiment.directory, (place, experiment))
            differences = _differences(other.spec["recipe"], experiment.spec["recipe"])
            if differences or (place != other_place and place[0] == other_place[0]):
                shared[place, other_place, differences].append(experiment.directory)
    for (place, other_place, differences), folders in shared.items():
        more = f" and {len(folders) - 1} more" if len(folders) > 1 else ""
        where = f"{folders[0]}{more} also belongs to {key_path(('studies', *other_place))}"
        if differences:
            text = f"{where}, with other values ({differences}); give one of the two a recipe of its own"
        else:
            text = f"{where}; list each experiment once in a study"
        yield Problem(("studies", *place), text)


def _differences(first: dict, second: dict, prefix: str = "") -> str:
    """'epochs 8 there, 4 here' for every leaf that both tables have and in which they differ."""
    found = []
    for key in (key for key in first if key in second):
        if isinstance(first[key], dict) and isinstance(second[key], dict):
            found += filter(None, [_differences(first[key], second[key], f"{prefix}{key}.")])
        elif first[key] != second[key]:
            found.append(f"{prefix}{key} {shown(first[key])} there, {shown(second[key])} here")
    return "; ".join(found)
