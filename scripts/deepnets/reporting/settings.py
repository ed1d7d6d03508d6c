"""How the networks were trained: recipes, options of the networks, and what differs between those that are compared."""

from typing import Any

from deepnets.comparison.aggregate import SeedGroup, best_by_model, compared
from deepnets.comparison.training_time import training_time
from deepnets.config.experiment import recipe_title
from deepnets.config.recipe import idle_options
from deepnets.evaluation.results import Result
from deepnets.models import about, display_name
from deepnets.reporting.headline import Row, as_sentence, place
from deepnets.reporting.markdown import Markdown, bold, code, enumerate_words, escape, table
from deepnets.reporting.tables import MISSING, ROWS
from deepnets.utils.durations import format_duration
from deepnets.utils.files import canonical_json

_USERS_NAMED = 4  # models that use a recipe; if there are more, only their number is shown
_DATASETS_NAMED = 3
_DIFFERENCES_NAMED = 3  # options that differ; if there are two more, or many, only their number is given
_SLOWER = 1.1  # times that differ by less are alike: the next run would take another one
_NAMED_FIRST = ("epochs", "lr")
_SMALL_STEM = (
    "with stem small, that is, the first convolution is 3x3 with stride 1 and the next halving is left out, so that the"
    " maps have four times the side"
)
_IN_WORDS = {"lr": "learning rate"}


def conditions(rows: dict[str, list[Row]]) -> str:
    """Return the sentence about what differs between what is compared, besides the networks; "" if nothing can."""
    found = [_differing(place(dataset, rows), [row.group for row in runs]) for dataset, runs in rows.items()]
    clauses = [clause for clause in found if clause]
    if not clauses:
        return ""
    left = len(clauses) - _DATASETS_NAMED
    more = [f"on {left} more dataset{'s' if left > 1 else ''}, the table of recipes has it"] if left > 0 else []
    return as_sentence([*clauses[:_DATASETS_NAMED], *more])


def whose_recipe(rows: dict[str, list[Row]]) -> str:
    """Return what the question adds to the networks where their recipes differ: it is not about networks alone."""
    chosen = {name: list(best_by_model(row.group for row in runs).values()) for name, runs in rows.items()}
    if not any(_options(groups) for groups in chosen.values()):
        return ""
    is_chosen = any(len(groups) < len(rows[name]) for name, groups in chosen.items())
    return ", each with the recipe that validation chose," if is_chosen else ", each with its own recipe,"


def _differing(where: str, groups: list[SeedGroup]) -> str:
    """Return the clause, from `where` on, about what differs between compared networks; "" if there is only one run.

    The recipe that stands for each network is compared, or the recipes of the only network; time is that of a
    training run, as `training_time` chooses it.
    """
    of_study, kind = compared(groups), training_time(groups)
    if len(of_study) < 2:
        return ""
    what = "networks" if len({group.model for group in of_study}) > 1 else "recipes"
    seconds = [kind.of(group) for group in of_study]
    time = " to ".join(dict.fromkeys(map(format_duration, (min(seconds), max(seconds))))) + kind.in_words
    options = _options(of_study)
    if not options:
        same = "networks have the same recipe" if what == "networks" else "recipes do the same"
        return f"{where}all {same}, and training took {time}"
    ordered = sorted(options, key=lambda name: name not in _NAMED_FIRST)
    first = ordered if len(ordered) <= _DIFFERENCES_NAMED + 1 else ordered[:_DIFFERENCES_NAMED]
    shown, left = [_difference(name, options[name]) for name in first], len(options) - len(first)
    shown += [f"{left} more options"] * (left > 0)
    shown += [f"training time ({time})"] * (max(seconds) >= _SLOWER * min(seconds))
    unlike = "were not trained alike: they differ" if what == "networks" else "differ"
    return f"{where}the {what} {unlike} in {enumerate_words(shown)}"


def _options(groups: list[SeedGroup]) -> dict[str, list[str]]:
    """Return the recipe options in which groups differ, with their values."""
    recipes = [in_effect(group.first) for group in groups]
    names = dict.fromkeys(key for recipe in recipes for key in recipe)
    values = {name: _values(recipes, name) for name in names}
    return {name: found for name, found in values.items() if len(found) > 1}


def _values(recipes: list[dict[str, str]], name: str) -> list[str]:
    """Return the different values of an option."""
    return list(dict.fromkeys(recipe.get(name, MISSING) for recipe in recipes))


def _difference(name: str, values: list[str]) -> str:
    """Return an option with its range, if it is a number: "epochs (3 to 10)"."""
    try:
        low, *_, high = sorted(values, key=float)
    except ValueError:
        return _IN_WORDS.get(name, name)
    return f"{_IN_WORDS.get(name, name)} ({low} to {high})"


def describe(results: list[Result]) -> dict[str, Any]:
    """Return what the template shows of the recipes and networks of a study."""
    recipe_line, recipe_table, recipes_left_out = recipes(results)
    table_of_networks, networks_left_out = networks_table(results)
    return {
        "recipe_line": recipe_line,
        "recipe_table": recipe_table,
        "recipes_left_out": recipes_left_out,
        "learning_rates": _learning_rates(results),
        "departures": departures(results),
        "networks_table": table_of_networks,
        "networks_left_out": networks_left_out,
    }


# -- recipes ----------------------------------------------------------------------------------------------------------


def recipes(results: list[Result]) -> tuple[str, Markdown | None, int]:
    """Describe the recipes of a study.

    Returns:
        What all recipes have in common, as one line; a table of what differs, None if nothing does; and the number of
        recipes that the table leaves out.
    """
    variants: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        variants.setdefault((result.recipe, canonical_json(in_effect(result))), []).append(result)
    flat = [in_effect(users[0]) for users in variants.values()]
    names = list(dict.fromkeys(name for recipe in flat for name in recipe))
    # An option that is off in one recipe and has options of its own in another is described by these options.
    settings = [name for name in names if not any(other.startswith(f"{name}.") for other in names)]
    differing = [name for name in settings if len({str(recipe.get(name)) for recipe in flat}) > 1]
    common = {name: flat[0][name] for name in settings if name not in differing}
    on = [f"{name} {value}" for name, value in common.items() if value not in OFF]
    off = [name for name, value in common.items() if value in OFF]
    line = ", ".join(on) + (f"; off: {', '.join(off)}" if off else "")
    if not differing:
        return line, None, 0
    rows = [
        [recipe_title(recipe), _users(users), *(str(values.get(name, MISSING)) for name in differing)]
        for ((recipe, _), users), values in zip(variants.items(), flat, strict=True)
    ]
    shown = rows[:ROWS]
    return line, table(["Recipe", "Used for", *differing], shown, numbers_from=2), len(rows) - len(shown)


def _learning_rates(results: list[Result]) -> Markdown:
    """Return the sentence on what the learning rates of Muon are of; "" where no recipe has several."""
    if not any("sgd_lr" in in_effect(result) for result in results):
        return Markdown("")
    return Markdown(
        f"Of Muon, {code('lr')} is the highest learning rate of the orthogonal steps of convolutions and hidden layers,"
        f" {code('classifier_lr')} that of the SGD steps of the classifier and of hidden layers of more than 8 million"
        f" parameters, and {code('sgd_lr')} that of the SGD steps of normalisation layers and biases."
    )


OFF = ("none", "no", "0", "0.0")  # values of an option that does nothing


def in_effect(result: Result) -> dict[str, str]:
    """Return the options that had an effect: some depend on what the dataset allows and brings."""
    spec = result.metrics.spec
    flat = _flatten(spec["recipe"])
    if not spec["dataset"]["horizontal_flip"]:
        flat["augment.horizontal_flip"] = "no"
    if result.metrics.validation.from_dataset:
        flat.pop("validation_fraction", None)
    idle = idle_options(flat)
    return {name: value for name, value in flat.items() if name not in idle}


def _flatten(recipe: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in recipe.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{name}.")
        else:
            words = {None: "none", True: "yes", False: "no"}
            flat[prefix + name] = words[value] if value is None or isinstance(value, bool) else str(value)
    return flat


def _users(results: list[Result]) -> str:
    models: dict[str, dict[str, None]] = {}
    for result in results:
        models.setdefault(result.dataset, {})[result.display_name] = None
    return "; ".join(f"{_counted(list(names))} on {dataset}" for dataset, names in models.items())


def _counted(names: list[str]) -> str:
    return enumerate_words(names) if len(names) <= _USERS_NAMED else f"{len(names)} models"


# -- networks ---------------------------------------------------------------------------------------------------------


def departures(results: list[Result]) -> list[Markdown]:
    """Return for each network that has one how it departs from the network that its name stands for."""
    architectures = dict.fromkeys(result.architecture for result in results)
    found = [(display_name(name), about(name).differs) for name in architectures]
    small = {result.display_name: None for result in results if result.metrics.spec["model"].get("stem") == "small"}
    found += [(enumerate_words(list(small)), _SMALL_STEM)] if small else []
    return [Markdown(f"{bold(names)}: {escape(differs)}.") for names, differs in found if differs]


def networks_table(results: list[Result]) -> tuple[Markdown, int]:
    """Return a row for the architecture and options of each model on each dataset, and how many are left out."""
    used: dict[tuple[str, str, str], dict[str, None]] = {}
    for result in results:
        options = _flatten({key: value for key, value in result.metrics.spec["model"].items() if key != "architecture"})
        written = ", ".join(f"{name} {value}" for name, value in options.items())
        used.setdefault((result.model, result.architecture, written), {})[result.dataset] = None
    rows = [
        [display_name(model, architecture), code(architecture), options or MISSING, ", ".join(datasets)]
        for (model, architecture, options), datasets in used.items()
    ]
    return table(["Model", "Architecture", "Options", "On"], rows[:ROWS], numbers_from=4), max(0, len(rows) - ROWS)
