"""A search of config.yaml: for which values of a recipe the validation accuracy is best, within a number of trials."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from deepnets.config.named_recipe import nested, table_among, tables_of_lists
from deepnets.config.recipe import RecipeValues
from deepnets.utils.option_types import AcceptExponent, Amount, Flag, PositiveInt, Seed, StrictModel, measured_in
from deepnets.utils.specs import leaves

_LOG_FROM = 10  # `high` divided by `low`
_Share = Annotated[float, Field(strict=True, gt=0, lt=1), measured_in("fraction"), AcceptExponent]


class Range(StrictModel):
    """A range of numbers, both ends included."""

    low: Amount = Field(description="The smallest value to try.")
    high: Amount = Field(description="The largest value to try.")
    log: Flag | None = Field(
        None,
        description="Whether as many values are tried from 0.01 to 0.1 as from 0.1 to 1; null: where high is ten times"
        " low or more.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low must be below high (got {self.low:g} and {self.high:g})")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs a low above 0 (got {self.low:g})")
        return self

    @property
    def is_log(self) -> bool:
        """Whether the logarithms of the values are spread evenly."""
        if self.log is not None:
            return self.log
        return self.low > 0 and self.high / self.low >= _LOG_FROM


class Space(StrictModel):
    """What to try of each option; what is left out stays as in the recipe."""

    model_config = ConfigDict(validate_default=False)

    def axes(self) -> dict[str, list[Any] | Range]:
        """Return the values to try by the option's key, such as `augment.mixup`."""
        found: dict[str, list[Any] | Range] = {}
        for name in self.model_fields_set:
            value = getattr(self, name)
            if isinstance(value, Space):
                found |= {f"{name}.{key}": axis for key, axis in value.axes().items()}
            else:
                found[name] = _plain(value)
        return dict(sorted(found.items()))


def _plain(value: Any) -> Any:
    """A range as it is, a list with its tables as they are written."""
    if not isinstance(value, list):
        return value
    return [each.model_dump(exclude_unset=True) if isinstance(each, StrictModel) else each for each in value]


def _space_of(values: type[StrictModel]) -> type[Space]:
    """The class of what may be tried of the options of a table: lists, ranges of numbers, and tables of these."""

    def range_or_table(kinds: list[Any]) -> type | None:
        if int in kinds or float in kinds:
            return Range
        table = table_among(kinds)
        return None if table is None else _space_of(table)

    return tables_of_lists(values, Space, range_or_table)


if TYPE_CHECKING:  # type checkers cannot read a class that is computed
    RecipeSpace = Space
else:
    RecipeSpace = _space_of(RecipeValues)


class Search(StrictModel):
    """A search: trials of one network on one dataset, chosen by the validation accuracy of earlier ones."""

    dataset: str = Field(description="Name of a dataset.")
    model: str = Field(description="Name of a model.")
    recipe: str = Field(description="Name of a recipe, which has all values that are not searched for.")
    values: RecipeSpace = Field(
        description="What to try of each recipe option: a list of values or a range, like {lr: {low: 0.01, high: 0.1}}."
    )
    trials: PositiveInt = Field(20, le=1_000, description="How many combinations to try.")
    parallel: PositiveInt = Field(4, le=1_000, description="Trials of a round, which are trained side by side.")
    early_stopping: _Share | None = Field(
        None,
        description="Share of the epochs after which a trial stops that is worse than the median; null: none stops.",
    )
    seeds: list[Seed] = Field(
        [0], min_length=1, description="Each trial is trained with these random seeds; the mean accuracy counts."
    )
    seed: Seed = Field(0, description="Random seed of the search: another one tries other values.")

    @model_validator(mode="after")
    def _values_fit(self) -> Self:
        if not (axes := self.values.axes()):
            raise ValueError("values has nothing to try; add an option, like {lr: {low: 0.01, high: 0.1}}")
        for key, axis in axes.items():
            for end in (axis.low, axis.high) if isinstance(axis, Range) else ():
                try:
                    RecipeValues(**nested(key.split("."), end))
                except ValidationError:
                    raise ValueError(
                        f"values: {key} cannot be {end:g}; choose low and high among the values that a recipe may have"
                    ) from None
        return self


def is_whole(key: str, axis: Range) -> bool:
    """Whether the values of a range are whole numbers: those of an option that is one, between ends that are."""
    default = dict(leaves(RecipeValues().model_dump())).get(tuple(key.split(".")))
    return isinstance(default, int) and isinstance(axis.low, int) and isinstance(axis.high, int)


def written(values: Mapping[str, Any]) -> str:
    """Return values for readers: "lr 0.0312, augment.mixup 0.2"."""
    return ", ".join(f"{key} {'null' if value is None else value}" for key, value in values.items())
