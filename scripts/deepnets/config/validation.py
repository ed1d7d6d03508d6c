"""Checks across the entries of config.yaml: names, references, image sizes and shared results folders."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import chain, product
from operator import getitem
from typing import Any, Protocol

from deepnets import models
from deepnets.config.experiment import Experiment, recipe_name
from deepnets.config.messages import NAME_PATTERN, NAME_RULE, KeyPath, Problem, format_path, shown, unknown
from deepnets.config.named_recipe import keys_on
from deepnets.data.sources import DatasetOptions
from deepnets.models._named import (
    FAMILIES_WITH_SMALL_STEM,
    HAS_SMALL_STEM,
    LibraryOptions,
    in_libraries,
    kind,
    untagged,
)
from deepnets.utils.specs import leaves

# Sections of named entries, and what one of their entries is called.
SECTIONS = {"datasets": "dataset", "models": "model", "recipes": "recipe", "studies": "study", "searches": "search"}
OF_VALUES = ("set", "grid")  # keys of an entry that give recipe values
RESERVED_MODEL_NAMES = {
    "comparison": "results/<dataset>/comparison is where the figures that compare the models are",
    "comparison-": "results/<dataset>/comparison-<study> is where those of a study are, for its report by its name",
    "images": "results/<dataset>/images is where samples of the images are",
}

# A study's name and the index of one of its entries.
EntryKey = tuple[str, int]


class _Model(Protocol):
    @property
    def architecture(self) -> str: ...


@dataclass(frozen=True)
class ValidEntries:
    """The entries without errors of their own. Only these are checked against each other.

    experiments: by study and index of the entry that lists them. If the entry's recipe or its values have an error, the
        recipe in their spec is {}; their results folder is then known only if the entry gives no values.
    """

    datasets: Mapping[str, DatasetOptions]
    models: Mapping[str, _Model]
    experiments: Mapping[EntryKey, list[Experiment]]


def check_across(document: dict, valid: ValidEntries) -> Iterator[Problem]:
    """Find all problems between the entries of a configuration.

    Args:
        document: the configuration as it was read. Names of entries with errors count too: they may be referred to.
        valid: its entries without errors.
    """
    names = {section: _table(document.get(section)) for section in SECTIONS}
    entries = {
        (study, index): _table(entry)
        for study, study_entries in _table(document.get("studies")).items()
        for index, entry in enumerate(_list(study_entries))
    }
    yield from _check_names(names, valid)
    for path, section, name in _references(document, entries):
        published = _published(document) if path[0] == "models" else []
        if isinstance(name, str) and names[section] and name not in names[section] and name not in published:
            known = [*names[section], *published]
            yield Problem(path, _unknown(section, name, known, names["searches"]))
    yield from _check_keys_on(document, names)
    yield from _check_repeats(entries)
    yield from _check_folds(document, valid)
    yield from _check_stems(valid)
    yield from check_sizes(document, valid)
    yield from _check_results(entries, valid)


def check_sizes(document: dict, valid: ValidEntries) -> Iterator[Problem]:
    """Find the experiments whose images are too small for their network or recipe.

    Args:
        document, valid: as for `check_across`.
    """
    yield from _check_networks(valid)
    yield from _check_resizing(document, valid)
    yield from _check_augment(document, valid)


def check_unlisted(
    values: Mapping[str, Any],
    recipes: Mapping[str, Any],
    experiments: list[Experiment],
    datasets: Mapping[str, DatasetOptions],
    models: Mapping[str, _Model],
) -> Iterator[Problem]:
    """Find what `check_sizes` does for experiments that no study lists.

    Args:
        values: what they change of their recipe; key paths of problems with these start with `set`.
        recipes: their recipe as it is written, by its name.
        experiments, datasets, models: as in `ValidEntries`.
    """
    document = {"recipes": recipes, "studies": {"": [{"set": values}]}}
    for path, text in check_sizes(document, ValidEntries(datasets, models, {("", 0): experiments})):
        yield Problem(path[3:] if path[0] == "studies" else path, text)


def unknown_study(name: str, studies: Iterable[str], searches: Collection[str]) -> str:
    """Return the message for a name of no study, which may be that of a search."""
    if name in searches:
        return f"unknown study (got {shown(name)}); it is a search: make search STUDY={name}"
    return unknown("study", name, studies)


def _unknown(section: str, name: str, known: list[str], searches: Collection[str]) -> str:
    """Say that there is no such entry, and how one is added for a network that exists elsewhere."""
    if section == "studies":
        return unknown_study(name, known, searches)
    there = [name] if kind(name) else in_libraries(name)
    if section != "models" or not there:
        return unknown(SECTIONS[section], name, known)
    new = re.sub(r"\W", "_", re.split("[/:]", there[0])[-1])
    line = f"{new}: {{architecture: {' or '.join(there)}}}"
    return f"unknown model (got {shown(name)}); add a line below `models:`, {line}, and write {new} here"


def _table(value: Any) -> dict:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list:
    return value if isinstance(value, list) else []


def _check_names(names: Mapping[str, dict], valid: ValidEntries) -> Iterator[Problem]:
    for section, section_names in names.items():
        first: dict[str, str] = {}
        for name in section_names:
            other = first.setdefault(name.lower(), name)
            if other != name:
                yield Problem(
                    (section, name), f"differs from {shown(other)} in capitals only, one folder on macOS; rename one"
                )
    reported: dict[str, str] = {}
    for name in names.get("models", []):
        architecture = valid.models[name].architecture if name in valid.models else None
        other = reported.setdefault(models.display_name(name, architecture), name)
        if other != name:
            yield Problem(("models", name), f"reports would write it as they write {shown(other)}; rename one")
        reserved = "comparison-" if name.lower().startswith("comparison-") else name.lower()
        if reserved in RESERVED_MODEL_NAMES:
            yield Problem(("models", name), f"a reserved name: {RESERVED_MODEL_NAMES[reserved]}; choose another")
    for name, dataset in valid.datasets.items():
        # The name need not be in config.yaml: the published dataset need not be listed in it.
        if dataset.variant_of is not None and not re.fullmatch(NAME_PATTERN, dataset.variant_of):
            yield Problem(
                ("datasets", name, "variant_of"), f"not a valid name (got {shown(dataset.variant_of)}); {NAME_RULE}"
            )


def _references(document: dict, entries: Mapping[EntryKey, dict]) -> Iterator[tuple[KeyPath, str, Any]]:
    """Yield every reference to a named entry: the key path of the reference, the section, and the name."""
    yield ("study",), "studies", document.get("study")
    for model, options in _table(document.get("models")).items():
        for dataset in _table(_table(options).get("on")):
            yield ("models", model, "on", dataset), "datasets", dataset
    for search, options in _table(document.get("searches")).items():
        for section in ("datasets", "models", "recipes"):
            yield ("searches", search, SECTIONS[section]), section, _table(options).get(SECTIONS[section])
    for key, entry in entries.items():
        for section in ("datasets", "models"):
            for index, name in enumerate(_list(entry.get(section))):
                yield ("studies", *key, section, index), section, name
        yield ("studies", *key, "recipe"), "recipes", entry.get("recipe")


def _check_keys_on(document: dict, names: Mapping[str, dict]) -> Iterator[Problem]:
    """Check the keys of recipes' `on:`: datasets, models and pairs of them."""
    datasets, models = [*names["datasets"], *_published(document)], names["models"]
    for recipe, options in _table(document.get("recipes")).items() if names["datasets"] and models else ():
        for key in _table(_table(options).get("on")):
            dataset, pair, model = str(key).partition("/")
            if not pair and dataset in datasets and dataset in models:
                text = f"a dataset and a model have this name; write pairs, like '{dataset}/{next(iter(models))}'"
            elif not pair and dataset not in datasets and dataset not in models:
                text = unknown("dataset or model", key, [*datasets, *models])
            elif pair and dataset not in datasets:
                text = f"{unknown('dataset', dataset, datasets)}; a pair is dataset/model"
            elif pair and model not in models:
                text = f"{unknown('model', model, models)}; a pair is dataset/model"
            else:
                continue
            yield Problem(("recipes", recipe, "on", key), text)


def _published(document: dict) -> list[str]:
    """The published datasets that some dataset is a variant of; `on:` may name them, for their variants."""
    variants = [_table(dataset).get("variant_of") for dataset in _table(document.get("datasets")).values()]
    return [name for name in variants if isinstance(name, str)]


def _check_repeats(entries: Mapping[EntryKey, dict]) -> Iterator[Problem]:
    for entry_key, entry in entries.items():
        lists: dict[KeyPath, Any] = {(key,): entry.get(key) for key in ("datasets", "models", "seeds")}
        lists |= {("grid", *key): values for key, values in leaves(_table(entry.get("grid")))}
        for key, listed in lists.items():
            values = Counter(value for value in _list(listed) if isinstance(value, str | int | float))
            for value, count in values.items():
                if count > 1:
                    yield Problem(
                        ("studies", *entry_key, *key), f"{shown(value)} is listed {count} times; list it once"
                    )


def _check_folds(document: dict, valid: ValidEntries) -> Iterator[Problem]:
    """Check that each fold of a dataset is tested as often as the others."""
    for path, name, seeds in _seeds_of_datasets(document, valid):
        if name not in valid.datasets or (folds := valid.datasets[name].number_of_folds) is None:
            continue
        tested = Counter(seed % folds for seed in seeds)
        if len({tested[fold] for fold in range(folds)}) > 1:
            yield Problem(
                path,
                f"must test each of the {folds} folds of {name} equally often (got {shown(sorted(seeds))});"
                f" write {list(range(folds))}, or {folds} more for each repetition",
            )


def _check_stems(valid: ValidEntries) -> Iterator[Problem]:
    """Find the networks whose names show that they have no small stem; of the others, the network itself shows it."""
    for name, model in valid.models.items():
        if HAS_SMALL_STEM.search(untagged(model.architecture)):
            continue
        of_dataset = [(("on", key), options) for key, options in getattr(model, "on", {}).items()]
        for path, options in [((), model), *of_dataset]:
            if isinstance(options, LibraryOptions) and options.stem == "small":
                yield Problem(
                    ("models", name, *path, "stem"),
                    f"{model.architecture} has no small stem, which the families {FAMILIES_WITH_SMALL_STEM} have;"
                    " leave out stem, or choose another network",
                )


def _seeds_of_datasets(document: dict, valid: ValidEntries) -> Iterator[tuple[KeyPath, str, set[int]]]:
    """Yield the seeds of each entry and search on a dataset, with the key path where they are."""
    for key, experiments in valid.experiments.items():
        for name in dict.fromkeys(each.dataset for each in experiments):
            yield ("studies", *key, "seeds"), name, {each.seed for each in experiments if each.dataset == name}
    for search, options in _table(document.get("searches")).items():
        dataset, seeds = _table(options).get("dataset"), _list(_table(options).get("seeds", [0]))
        if isinstance(dataset, str):
            yield ("searches", search, "seeds"), dataset, {seed for seed in seeds if isinstance(seed, int)}


def _check_networks(valid: ValidEntries) -> Iterator[Problem]:
    too_small: dict[str, dict[str, int]] = defaultdict(dict)  # dataset -> model -> the model's minimum in pixels
    experiments = chain.from_iterable(valid.experiments.values())
    for dataset, model in dict.fromkeys((experiment.dataset, experiment.model) for experiment in experiments):
        minimum = _minimum_size(valid.models[model].architecture)
        if (size := _image_size(valid, dataset)) is not None and size < minimum:
            too_small[dataset][model] = minimum
    for dataset, minimums in too_small.items():
        _, height, width = valid.datasets[dataset].input_shape
        yield Problem(
            ("datasets", dataset, "size"),
            f"images too small for {', '.join(minimums)} (got {height}x{width} pixels);"
            f" set size to {max(minimums.values())} or more",
        )


def _check_resizing(document: dict, valid: ValidEntries) -> Iterator[Problem]:
    too_small: dict[tuple[KeyPath, float, int], set[str]] = defaultdict(set)  # (path, start, minimum) -> pairs
    for key, experiments in valid.experiments.items():
        for experiment in experiments:
            resizing = experiment.spec["recipe"].get("progressive_resizing")
            minimum = _minimum_size(experiment.spec["model"]["architecture"])
            image_size = _image_size(valid, experiment.dataset)
            if image_size is None:
                continue
            if resizing and round(image_size * resizing["start"]) < minimum <= image_size:
                path = _where_to_change(document, valid, key, experiment, "progressive_resizing", "start")
                too_small[path, resizing["start"], minimum].add(f"{experiment.model} on {experiment.dataset}")
    for (path, start, minimum), pairs in too_small.items():
        yield Problem(
            path, f"images under {minimum} pixels at the start for {', '.join(sorted(pairs))} (got {start}); raise it"
        )


def _check_augment(document: dict, valid: ValidEntries) -> Iterator[Problem]:
    too_large: dict[tuple[KeyPath, int], dict[str, int]] = defaultdict(dict)  # (path, value) -> dataset -> image size
    for entry_key, experiments in valid.experiments.items():
        for experiment, key in product(experiments, ("crop_padding", "cutout")):
            value = experiment.spec["recipe"].get("augment", {}).get(key, 0)  # a recipe with errors has an empty spec
            minimum = _minimum_size(experiment.spec["model"]["architecture"])
            if (known := _image_size(valid, experiment.dataset)) is None:
                continue
            # images below the network's minimum are another problem, after which they have at least that size
            image_size = max(minimum, known)
            if value >= image_size:
                path = _where_to_change(document, valid, entry_key, experiment, "augment", key)
                too_large[path, value][experiment.dataset] = image_size
    for (path, value), image_sizes in too_large.items():
        yield Problem(
            path,
            f"must be smaller than the images of {', '.join(image_sizes)} (got {value} pixels);"
            f" set it below {min(image_sizes.values())}",
        )


def _image_size(valid: ValidEntries, dataset: str) -> int | None:
    """Side of a dataset's images in pixels; None if only the images show it: then their jobs check it."""
    shape = valid.datasets[dataset].known_shape
    return None if shape is None else min(shape[1:])


def _minimum_size(architecture: str) -> int:
    return models.architecture(architecture).MIN_IMAGE_SIZE


def _where_to_change(
    document: dict, valid: ValidEntries, entry_key: EntryKey, experiment: Experiment, *keys: str
) -> KeyPath:
    """The key path where the user should change a recipe value: in its entry's `set:` or `grid:`, or in its recipe.

    It is the one that gives the value. If none does, because it is a default, it is the one that gives the nearest
    table around the value, else the recipe.
    """
    recipe: KeyPath = ("recipes", recipe_name(experiment.recipe))
    on = _table(_table(_table(document.get("recipes")).get(recipe[1])).get("on"))
    variant_of = valid.datasets[experiment.dataset].variant_of
    closest_first = reversed(keys_on(on, experiment.dataset, variant_of, experiment.model))
    candidates: list[KeyPath] = [("studies", *entry_key, values) for values in OF_VALUES]
    candidates += [*((*recipe, "on", key) for key in closest_first), recipe]
    for end in range(len(keys), 0, -1):
        for candidate in candidates:
            if _has(document, (*candidate, *keys[:end])):
                return (*candidate, *keys)
    return (*recipe, *keys)


def _has(document: dict, path: KeyPath) -> bool:
    try:
        reduce(getitem, path, document)
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _check_results(entries: Mapping[EntryKey, dict], valid: ValidEntries) -> Iterator[Problem]:
    """Check that a study lists an experiment only once."""
    first: dict[tuple[str, str], EntryKey] = {}
    shared = defaultdict(list)
    for key, experiments in valid.experiments.items():
        for experiment in experiments:
            if not experiment.spec["recipe"] and entries[key].keys() & set(OF_VALUES):
                continue  # its values have an error, so that its folder is not known
            other_key = first.setdefault((key[0], experiment.directory), key)
            if key != other_key:
                shared[key, other_key].append(experiment.directory)
    for (key, other_key), folders in shared.items():
        more = f" and {len(folders) - 1} more" if len(folders) > 1 else ""
        where = f"{folders[0]}{more} also belongs to {format_path(('studies', *other_key))}"
        yield Problem(("studies", *key), f"{where}; list each experiment once in a study")
