"""Ask Optuna which values to try next. Nothing else here needs Optuna."""

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from deepnets.config.search import Range, is_whole
from deepnets.utils.errors import UserError
from deepnets.utils.files import canonical_json

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

Axes = Mapping[str, list[Any] | Range]
_DIGITS = 3  # of a number from a range, so that paths stay short
_ATTEMPTS = 100  # for each value that nobody tried; where lists are short, all may have been tried


@dataclass(frozen=True)
class Outcome:
    """The end of a trial.

    values: by the option's key, such as `augment.mixup`. accuracy: on validation, a fraction; of a trial that stopped,
    where it stopped; 0 if it failed.
    """

    values: dict[str, Any]
    state: Literal["done", "stopped", "failed"]
    accuracy: float


def check_optuna() -> None:
    """Check that Optuna is there.

    Raises:
        UserError: it is not.
    """
    if find_spec("optuna") is None:
        raise UserError("a search needs the package optuna: python -m pip install optuna")


def suggest(
    axes: Axes, outcomes: Sequence[Outcome], number: int, seed: int, fits: Callable[[dict[str, Any]], bool]
) -> list[dict[str, Any]]:
    """Return values to try next, none of which were tried: fewer than `number` where hardly any are left.

    The tree-structured Parzen estimator (Bergstra et al. 2011, NeurIPS 24) models which values are in the better
    trials. The same trials give the same suggestions, so that a search that was interrupted goes the same way.

    Args:
        axes: what to try.
        outcomes: the trials so far; those with values that are no longer to be tried do not count.
        number: of suggestions.
        seed: of the search.
        fits: whether values go together; others are not suggested.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {key: _distribution(key, axis) for key, axis in axes.items()}
    drawn = hashlib.sha256(f"{seed}/{len(outcomes)}".encode()).digest()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is experimental there
        sampler = optuna.samplers.TPESampler(seed=int.from_bytes(drawn[:4], "big"))
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for outcome in outcomes:
            if (trial := _as_trial(outcome, axes, distributions)) is not None:
                study.add_trial(trial)
        known = {canonical_json(outcome.values) for outcome in outcomes}
        found: list[dict[str, Any]] = []
        for _ in range(_ATTEMPTS * number):
            if len(found) == number:
                break
            params = study.ask(distributions).params
            values = {key: _value(axis, params[key]) for key, axis in axes.items()}
            if (text := canonical_json(values)) not in known:
                known.add(text)
                found += [values] if fits(values) else []
    return found


def _distribution(key: str, axis: list[Any] | Range) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(axis, list):
        return CategoricalDistribution(list(range(len(axis))))  # a value may be a table, which Optuna does not take
    if is_whole(key, axis):
        return IntDistribution(int(axis.low), int(axis.high), log=axis.is_log)
    return FloatDistribution(axis.low, axis.high, log=axis.is_log)


def _value(axis: list[Any] | Range, param: Any) -> Any:
    """The value that one of Optuna's parameters stands for."""
    if isinstance(axis, list):
        return axis[param]
    return param if isinstance(param, int) else min(max(float(f"{param:.{_DIGITS}g}"), axis.low), axis.high)


def _param(axis: list[Any] | Range, value: Any) -> Any:
    """The parameter of a value; None if it is not to be tried any more."""
    if isinstance(axis, list):
        return axis.index(value) if value in axis else None
    within = isinstance(value, int | float) and axis.low <= value <= axis.high
    return value if within else None


def _as_trial(outcome: Outcome, axes: Axes, distributions: Mapping[str, "BaseDistribution"]) -> "FrozenTrial | None":
    """A trial for Optuna; None if it has other options, or values that are not to be tried any more."""
    from optuna.trial import TrialState, create_trial

    params = {key: _param(axis, outcome.values.get(key)) for key, axis in axes.items()}
    if outcome.values.keys() != axes.keys() or None in params.values():
        return None
    stopped = outcome.state == "stopped"
    return create_trial(
        state=TrialState.PRUNED if stopped else TrialState.COMPLETE,
        value=None if stopped else outcome.accuracy,
        intermediate_values={0: outcome.accuracy} if stopped else {},
        params=params,
        distributions=dict(distributions),
    )
