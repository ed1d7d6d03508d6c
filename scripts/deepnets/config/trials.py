"""The trials of a search: the entry of a study that each is, and the values that none of them can have."""

from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any

from pydantic import ValidationError

from deepnets.config.messages import KeyPath, Problem
from deepnets.config.named_recipe import NamedRecipe, nested
from deepnets.config.schema import Entry, Model, experiments_of
from deepnets.config.search import Range, Search
from deepnets.config.validation import check_unlisted
from deepnets.config.yaml_reader import merge
from deepnets.data.sources import DatasetOptions


def entry_of(search: Search, values: Mapping[str, Any]) -> Entry:
    """Return the entry of a study that a trial is.

    Args:
        values: of the trial, by the option's key, such as `augment.mixup`.

    Raises:
        ValidationError: a recipe has no such option or value.
    """
    given: dict[str, Any] = reduce(merge, (nested(key.split("."), value) for key, value in values.items()), {})
    return Entry(datasets=[search.dataset], models=[search.model], recipe=search.recipe, seeds=search.seeds, set=given)


def misfits(
    search: Search,
    values: Mapping[str, Any],
    datasets: Mapping[str, DatasetOptions],
    models: Mapping[str, Model],
    recipe: NamedRecipe,
) -> list[Problem]:
    """Find why a trial cannot be trained: its values do not go together, or its images are too small for them.

    Args:
        values: of the trial, by the option's key.
        datasets, models: of config.yaml.
        recipe: of the search.

    Returns:
        Problems; the key paths of those with the values start with `set`.
    """
    try:
        entry = entry_of(search, values)
        experiments = list(experiments_of(entry, datasets, models, recipe))
    except ValidationError as error:
        return [Problem(("set",), str(each.get("ctx", {}).get("error", each["msg"]))) for each in error.errors()]
    recipes = {search.recipe: recipe.model_dump(exclude_unset=True)}
    given = entry.set.model_dump(exclude_unset=True)
    return list(check_unlisted(given, recipes, experiments, datasets, models))


def check_values(
    name: str,
    search: Search,
    datasets: Mapping[str, DatasetOptions],
    models: Mapping[str, Model],
    recipe: NamedRecipe,
) -> Iterator[Problem]:
    """Find the listed values, and the ends of ranges, that fit no value of any other option.

    Values of two options may exclude each other, as long as each fits some other value: a search leaves out such pairs.

    Args:
        name: of the search.
        search, datasets, models, recipe: as for `misfits`.
    """

    def find(values: Mapping[str, Any]) -> list[Problem]:
        return misfits(search, values, datasets, models, recipe)

    axes = search.values.axes()
    to_try = {key: list(_to_try(axis)) for key, axis in axes.items()}
    for key, listed in to_try.items():
        fixed = {other: values[0][1] for other, values in to_try.items() if other != key and len(values) == 1}
        for place, value in listed:
            trial = {**fixed, key: value}
            if (problems := find(trial)) and all(
                _fits_none(axes[other], [find({**trial, other: each}) for _, each in to_try[other]])
                for other in axes.keys() - {key}
            ):
                yield from _at(("searches", name, "values", *key.split("."), place), problems, find(fixed))


def _fits_none(axis: list[Any] | Range, problems: list[list[Problem]]) -> bool:
    """Whether a value fits none of an axis, by its problems with each of `_to_try`.

    If its problems with the two ends of a range differ, it may fit a value between them.
    """
    return all(problems) and not (isinstance(axis, Range) and problems[0] != problems[1])


def _at(where: KeyPath, problems: list[Problem], without: list[Problem]) -> Iterator[Problem]:
    """The problems of a value at a key path, but not those of values that the trial has `without` this one, too."""
    for path, text in problems:
        if path[0] != "set":
            yield Problem(path, text)
        elif (path, text) not in without:
            # Both paths name the option; that of a value in a table is longer.
            yield Problem((*where, *path[len(where) - 3 :]), text)


def _to_try(axis: list[Any] | Range) -> Iterator[tuple[str | int, Any]]:
    """The values of a list by their indices, and the ends of a range by their keys."""
    if isinstance(axis, Range):
        yield from (("low", axis.low), ("high", axis.high))
    else:
        yield from enumerate(axis)
