"""Sweeps: runs that differ in a number of their recipes, and what each further trial gains.

The Snakefile asks for the runs, so numpy and SciPy are imported where they are used.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from deepnets.config.experiment import HASH_KEY, recipe_name, recipe_title, written
from deepnets.config.recipe import idle_options
from deepnets.utils.files import canonical_json
from deepnets.utils.specs import leaves

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


class HasRecipe(Protocol):
    """An Experiment, a Result or a SeedGroup."""

    @property
    def model(self) -> str: ...
    @property
    def recipe(self) -> str: ...
    @property
    def spec(self) -> Mapping[str, Any]: ...


Run = TypeVar("Run", bound=HasRecipe)
_Options = dict[str, Any]  # by their keys, such as `augment.mixup`


def budget_lines(runs: Iterable[Run]) -> list[list[Run]]:
    """Find the runs of one dataset that differ only in `epochs`, as `lines_over` does."""
    return lines_over("epochs", runs)


def lines_over(option: str, runs: Iterable[Run]) -> list[list[Run]]:
    """Find the runs of one dataset that differ only in a number: the same model, recipes equal in all other options.

    Returns:
        A line for each model and recipe with two or more values of the option, the smallest value first.
    """
    return [[run for run, _ in line] for line in _lines(option, _with_options(runs))]


def swept(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Find the options whose values a study compares on one dataset, each with its runs, the smallest value first.

    These are numbers in which recipes of a model differ, and that is all in which they differ, or they are one recipe
    with other values, as in a grid or a search. Recipes that differ in all sorts of things are not a sweep.
    """
    known = _with_options(runs)
    found = {}
    for option in dict.fromkeys(name for _, options in known for name in options):
        ordered = _by_value(option, known)
        if not _varies(option, ordered):
            continue
        of_recipe: dict[tuple[str, str], list[tuple[Run, _Options]]] = {}
        for run, options in ordered:
            of_recipe.setdefault((run.model, recipe_name(run.recipe)), []).append((run, options))
        sets = [*_lines(option, known), *(each for each in of_recipe.values() if _varies(option, each))]
        compared = {id(run) for each in sets for run, _ in each}
        if compared:
            found[option] = [run for run, _ in ordered if id(run) in compared]
    return found


def options_of(run: HasRecipe) -> _Options:
    """Return the values of a run's recipe that have an effect, by their keys, such as `augment.mixup`."""
    recipe = run.spec["recipe"]
    idle = idle_options(recipe)
    return {".".join(key): value for key, value in leaves(recipe) if key[0] not in idle}


def titles(runs: Sequence[HasRecipe]) -> list[str]:
    """Return the recipe of each run of one dataset for readers: "quick, lr 0.03".

    An option that a study sets for one recipe has its value in all recipes of this model and name, also in the one
    whose own value it is: "quick, lr 0.05" next to "quick, lr 0.03".
    """
    given = [dict(part.split("=", 1) for part in run.recipe.split(",")[1:]) for run in runs]
    shown: dict[tuple[str, str], set[str]] = {}
    for run, values in zip(runs, given, strict=True):
        shown.setdefault((run.model, recipe_name(run.recipe)), set()).update(values)
    found = []
    for run, values in zip(runs, given, strict=True):
        name, options = recipe_name(run.recipe), options_of(run)
        others = {} if HASH_KEY in values else {key: options[key] for key in shown[run.model, name] & options.keys()}
        texts = {key: written(value) for key, value in others.items()} | values
        found.append(recipe_title(",".join([name, *(f"{key}={texts[key]}" for key in sorted(texts))])))
    return found


def expected_best(values: "ArrayLike") -> "NDArray[np.float64]":
    """Return the expected best of k of N trials, drawn without replacement, for k = 1..N; (N,).

    The unbiased estimator of Tang et al. 2020 (arXiv 2004.13705); that of Dodge et al. 2019 (D19-1224) draws with
    replacement and is too low.
    """
    import numpy as np
    from scipy.special import gammaln

    def log_choose(n: "NDArray[np.float64]", k: "NDArray[np.float64]") -> "NDArray[np.float64]":
        return gammaln(n + 1) - gammaln(k + 1) - gammaln(np.maximum(n - k, 0) + 1)

    ordered = np.sort(np.asarray(values, dtype=np.float64))
    number = len(ordered)
    rank = np.arange(1.0, number + 1)
    trials = rank[:, None]
    with np.errstate(invalid="ignore"):
        # The i-th smallest is the best of k where the other k - 1 are among the i - 1 below it.
        logs = log_choose(rank - 1, trials - 1) - log_choose(np.full(1, float(number)), trials)
    return np.where(rank >= trials, np.exp(logs), 0) @ ordered


def _with_options(runs: Iterable[Run]) -> list[tuple[Run, _Options]]:
    return [(run, options_of(run)) for run in runs]


def _lines(option: str, known: Iterable[tuple[Run, _Options]]) -> list[list[tuple[Run, _Options]]]:
    lines: dict[tuple[str, str], list[tuple[Run, _Options]]] = {}
    for run, options in _by_value(option, known):
        # The recipe's values, not its name, which has those that a study gives it, the epochs too.
        others = {name: value for name, value in options.items() if name != option}
        lines.setdefault((run.model, canonical_json(others)), []).append((run, options))
    return [line for line in lines.values() if _varies(option, line)]


def _by_value(option: str, known: Iterable[tuple[Run, _Options]]) -> list[tuple[Run, _Options]]:
    """Return the runs in which the option is a number, the smallest first."""
    numbers = [each for each in known if type(each[1].get(option)) in (int, float)]  # not bool
    return sorted(numbers, key=lambda each: each[1][option])


def _varies(option: str, ordered: Sequence[tuple[Run, _Options]]) -> bool:
    return bool(ordered) and ordered[0][1][option] < ordered[-1][1][option]
