"""Read config.yaml with defaults and overrides, and report all its mistakes at once."""

from collections.abc import Iterator, Mapping
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from deepnets.config import yaml_reader
from deepnets.config.experiment import Experiment
from deepnets.config.messages import KeyPath, Problem, explain
from deepnets.config.named_recipe import NamedRecipe, keys_on
from deepnets.config.recipe import Recipe
from deepnets.config.schema import AnyDataset, AnyModel, Config, Entry, experiments_of, json_schema
from deepnets.config.search import Search
from deepnets.config.trials import check_values
from deepnets.config.validation import OF_VALUES, EntryKey, ValidEntries, check_across
from deepnets.config.weights import experiment_names, is_experiment
from deepnets.config.yaml_reader import merge
from deepnets.utils.errors import UserError
from deepnets.utils.text import shortened

MAX_EXPERIMENTS = 10_000  # Snakemake takes about a minute and 1 GB to plan them
_MAX_MISTAKES = 100  # shown; nobody corrects more at once


def load_config(
    path: str | Path = "config.yaml",
    overrides: Mapping | None = None,
    overrides_from: str = "--config",
    command_line: Mapping | None = None,
) -> Config:
    """Read and check a configuration.

    Args:
        path: the YAML file.
        overrides: the values of Snakemake's --config and --configfile; they are merged into the file's at every level.
        overrides_from: how messages name the source of the overrides.
        command_line: those of `overrides` that come from --config: in these, Snakemake makes every nested value, and
            null at any level, text.

    Raises:
        UserError: with all problems, a line each (the first 100): file, key path, what is wrong, the value, what to do.
            Where a key of the file is there twice, with these alone.
    """
    file = yaml_reader.read(path)
    yaml_reader.check_size([overrides, command_line], overrides_from)
    command_line = yaml_reader.with_nulls(yaml_reader.with_text_keys(command_line or {}))
    overrides = merge(yaml_reader.with_text_keys(overrides or {}), command_line)
    if file.duplicate_keys:  # alone: most other problems would follow from them
        raise UserError(shortened([f"{path}: {line}" for line in file.duplicate_keys], _MAX_MISTAKES))
    document = merge(file.content, overrides)
    _read_unfit_text(document, command_line)
    lines = []
    for problem in _problems(document):
        source = overrides_from if _is_overridden(problem.path, file.content, overrides) else path
        lines.append(f"{source}: {problem}")
    if lines:
        raise UserError(shortened(lines, _MAX_MISTAKES))
    config = Config.model_validate(document)
    if lines := list(_missing_starts(config, path)):
        raise UserError(shortened(lines, _MAX_MISTAKES))
    return config


def _missing_starts(config: Config, path: str | Path) -> Iterator[str]:
    """Yield a line for each model whose weights are those of an experiment that cannot be."""
    for name, model in config.models.items():
        if model.weights is not None and is_experiment(model.weights):
            names = experiment_names(model.weights)
            try:
                config.experiment(names["dataset"], names["model"], names["recipe"], int(names["seed"]))
            except UserError as error:
                yield f"{path}: models.{name}.weights: {error}"


def _read_unfit_text(document: dict, command_line: Any) -> None:
    """Read text of the command line as YAML would, in place, where it does not fit its key.

    Snakemake drops the quotes, so text stays text wherever its key takes text.
    """
    try:
        Config.model_validate(document)
    except ValidationError as error:
        for path, _ in explain(error, json_schema()):
            try:
                text, parent = reduce(getitem, path, command_line), reduce(getitem, path[:-1], document)
            except (KeyError, IndexError, TypeError):  # the problem is elsewhere
                continue
            if isinstance(text, str):
                parent[path[-1]] = yaml_reader.read_scalar(text)


def _problems(document: dict) -> Iterator[Problem]:
    """Errors within entries first, then errors across valid entries."""
    try:
        Config.model_validate(document)
    except ValidationError as error:
        yield from explain(error, json_schema())
    datasets, models = _valid(AnyDataset, document.get("datasets")), _valid(AnyModel, document.get("models"))
    recipes = _valid(NamedRecipe, document.get("recipes"))
    wrong_values = list(_check_values_on(recipes))
    yield from wrong_values
    recipes = {name: recipe for name, recipe in recipes.items() if name not in {path[1] for path, _ in wrong_values}}
    experiments: dict[EntryKey, list[Experiment]] = {}
    total = 0
    for key, entry, values_are_valid in _valid_entries(document.get("studies")):
        recipe = recipes.get(entry.recipe) if values_are_valid else None
        total += entry.size
        if total > MAX_EXPERIMENTS:
            yield Problem(("studies", *key), f"more than {MAX_EXPERIMENTS:,} experiments in all studies; list fewer")
            break
        try:
            experiments[key] = list(experiments_of(entry, datasets, models, recipe))
        except ValidationError as error:
            given = [values for values in reversed(OF_VALUES) if values in entry.model_fields_set]
            yield from _together(("studies", *key, given[0]) if given else ("recipes", entry.recipe, "on"), error)
            experiments[key] = list(experiments_of(entry, datasets, models, None))
    across = list(check_across(document, ValidEntries(datasets, models, experiments)))
    yield from across
    reported = {path for path, _ in across}  # all trials of a search may share a mistake, and studies may have it, too
    for name, search in _valid(Search, document.get("searches")).items():
        if search.recipe in recipes:
            for problem in check_values(name, search, datasets, models, recipes[search.recipe]):
                if problem.path not in reported:
                    reported.add(problem.path)
                    yield problem


def _check_values_on(recipes: Mapping[str, NamedRecipe]) -> Iterator[Problem]:
    """Find the values of `on:` that do not go with the others of their recipe."""
    for name, recipe in recipes.items():
        for key in recipe.on:
            dataset, _, model = key.partition("/")
            try:
                Recipe(**recipe.values_on(keys_on(recipe.on, dataset, None, model) if model else [key]))
            except ValidationError as error:
                yield from _together(("recipes", name, "on", key), error)


def _together(path: KeyPath, error: ValidationError) -> Iterator[Problem]:
    """Values that are right by themselves and wrong together."""
    return (Problem(path, str(detail["ctx"]["error"])) for detail in error.errors())


def _valid(kind: Any, entries: Any) -> dict[Any, Any]:
    """The entries of a section that have no errors of their own."""
    adapter, valid = TypeAdapter(kind), {}
    for key, entry in entries.items() if isinstance(entries, dict) else ():
        try:
            valid[key] = adapter.validate_python(entry)
        except ValidationError:
            continue
    return valid


def _valid_entries(studies: Any) -> Iterator[tuple[EntryKey, Entry, bool]]:
    """The entries of all studies that have no errors outside `set:` and `grid:`, and whether these have none either."""
    for study, entries in studies.items() if isinstance(studies, dict) else ():
        numbered = dict(enumerate(entries)) if isinstance(entries, list) else {}
        without_values = {
            index: {key: value for key, value in entry.items() if key not in OF_VALUES}
            for index, entry in numbered.items()
            if isinstance(entry, dict)
        }
        with_values = _valid(Entry, numbered)
        for index, entry in _valid(Entry, without_values).items():
            yield (study, index), with_values.get(index, entry), index in with_values


def _is_overridden(path: KeyPath, file: Any, overrides: Any) -> bool:
    """Whether the value at a key path, or the lack of one, comes from the overrides and not from the file."""
    absent = object()  # not None, which a key may have
    for key in path:
        if not isinstance(overrides, dict) or key not in overrides:
            break
        overrides = overrides[key]
        file = file.get(key, absent) if isinstance(file, dict) else absent
    return not isinstance(file, dict) if isinstance(overrides, dict) else overrides != file
