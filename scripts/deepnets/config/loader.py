"""Reading config.yaml: defaults, overrides, and every mistake in it reported at once."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from deepnets.config import yaml_reader
from deepnets.config.messages import Problem, explain
from deepnets.config.recipe import Recipe
from deepnets.config.schema import AnyDataset, AnyModel, Config, Entry, experiments_of, json_schema, recipe_of
from deepnets.config.validation import Parts, cross_check
from deepnets.config.yaml_reader import merge
from deepnets.utils.errors import UserError


def load_config(
    path: str | Path = "config.yaml", overrides: Mapping | None = None, overrides_from: str = "--config"
) -> Config:
    """Read and check a configuration.

    Args:
        path: the YAML file.
        overrides: what Snakemake's --config and --configfile say; mappings are merged into the file's at every level.
        overrides_from: where they are from, for messages.

    Raises:
        UserError: with all problems, a line each: file, key path, what is wrong, the value received, the way out.
    """
    file = yaml_reader.read(path)
    overrides = yaml_reader.with_text_keys(overrides or {})
    document = merge(file.content, overrides)
    lines = [f"{path}: {line}" for line in file.duplicate_keys]
    for problem in _problems(document):
        place = overrides_from if _is_overridden(problem.path, file.content, overrides) else path
        lines.append(f"{place}: {problem}")
    if lines:
        raise UserError("\n".join(lines))
    return Config.model_validate(document)


def _problems(document: dict) -> Iterator[Problem]:
    """First what is wrong within single entries, then what is wrong between those that are right."""
    try:
        Config.model_validate(document)
    except ValidationError as error:
        yield from explain(error, json_schema())
    parts = Parts(_healthy(AnyDataset, document.get("datasets")), _healthy(AnyModel, document.get("models")), {})
    recipes = _healthy(Recipe, document.get("recipes"))
    for place, entry, set_is_healthy in _healthy_entries(document.get("studies")):
        recipe = None
        if set_is_healthy and entry.recipe in recipes:
            try:
                recipe = recipe_of(entry, recipes)
            except ValidationError as error:
                path = ("studies", *place, "set")
                yield from (Problem(path, str(detail["ctx"]["error"])) for detail in error.errors())
        parts.experiments[place] = list(experiments_of(entry, parts.datasets, parts.models, recipe))
    yield from cross_check(document, parts)


def _healthy(kind: Any, entries: Any) -> dict[str, Any]:
    """Those entries of a section that are right in themselves."""
    adapter, healthy = TypeAdapter(kind), {}
    for key, entry in entries.items() if isinstance(entries, dict) else ():
        try:
            healthy[key] = adapter.validate_python(entry)
        except ValidationError:
            continue
    return healthy


def _healthy_entries(studies: Any) -> Iterator[tuple[tuple[str, int], Entry, bool]]:
    """Those entries of all studies that are right but for `set:`, with study and index; and whether that is right."""
    for study, entries in studies.items() if isinstance(studies, dict) else ():
        numbered = dict(enumerate(entries)) if isinstance(entries, list) else {}
        without_set = {
            index: {key: value for key, value in entry.items() if key != "set"}
            for index, entry in numbered.items()
            if isinstance(entry, dict)
        }
        whole = _healthy(Entry, numbered)
        for index, entry in _healthy(Entry, without_set).items():
            yield (study, index), whole.get(index, entry), index in whole


def _is_overridden(path: tuple, file: Any, overrides: Any) -> bool:
    """Whether the value at a key path, or what is missing there, is the overrides' doing and not the file's."""
    for key in path:
        if not isinstance(overrides, dict) or key not in overrides:
            break
        overrides = overrides[key]
        file = file.get(key) if isinstance(file, dict) else None
    return not isinstance(file, dict) if isinstance(overrides, dict) else overrides != file
