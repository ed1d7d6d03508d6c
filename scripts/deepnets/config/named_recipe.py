"""A recipe with its values for one dataset, one model or one pair (`on:`), and grids of recipe values."""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from functools import reduce
from itertools import product
from math import prod
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import ConfigDict, Discriminator, Field, Tag, create_model

from deepnets.config.recipe import Recipe, RecipeValues
from deepnets.config.yaml_reader import merge
from deepnets.utils.option_types import StrictModel
from deepnets.utils.specs import leaves

Table = TypeVar("Table", bound=StrictModel)


class NamedRecipe(Recipe):
    """A recipe of config.yaml: how to train, what differs by dataset or model, and how to evaluate."""

    test_time_augmentation: Literal["none", "mirror"] = Field(
        "none",
        description="With mirror, the evaluation also averages the probabilities of each image and its mirror image and"
        " reports this accuracy next to that of plain predictions; only where the dataset allows mirrored images, so"
        " never digits. A change trains nothing again. Not for `on:`, `set:` and `grid:`, which change the training.",
    )
    on: dict[str, RecipeValues] = Field(
        default_factory=dict,
        description="Values of one dataset, one model or one pair, written dataset/model. Where several set the same"
        " value, the pair holds, then the model, then the dataset.",
    )

    def values_on(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the recipe's values with those of some keys of `on:`, the last key on top; unchecked."""
        layers = (self.on[key].model_dump(exclude_unset=True) for key in keys)
        return reduce(merge, layers, self.model_dump(exclude={"on", "test_time_augmentation"}))


def key_on(on: Container[str], dataset: str, variant_of: str | None, ending: str = "") -> str | None:
    """Return the key of `on:` that holds for a dataset: its own, else that of the dataset that it is a variant of."""
    names = (dataset,) if variant_of is None else (dataset, variant_of)
    return next((f"{name}{ending}" for name in names if f"{name}{ending}" in on), None)


def keys_on(on: Container[str], dataset: str, variant_of: str | None, model: str) -> tuple[str, ...]:
    """Return the keys of a recipe's `on:` that hold for a pair, the closest last: dataset, model, pair.

    A model is closer than a dataset: a learning rate or a batch size that a network does not stand stays wrong on other
    images.
    """
    keys = (
        key_on(on, dataset, variant_of),
        model if model in on else None,
        key_on(on, dataset, variant_of, f"/{model}"),
    )
    return tuple(key for key in keys if key is not None)


class Grid(StrictModel):
    """Lists of recipe values; what is left out has none."""

    model_config = ConfigDict(validate_default=False)

    @property
    def size(self) -> int:
        """The number of combinations; 1 without lists."""
        return prod(len(values) for _, values in self._axes())

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Yield one value of each list, in every combination; {} without lists."""
        for chosen in product(*([nested(key, value) for value in values] for key, values in self._axes())):
            yield reduce(merge, chosen, {})

    def _axes(self) -> list[tuple[tuple[str, ...], list[Any]]]:
        lists = leaves(self.model_dump(exclude_unset=True))
        return [(key, values) for key, values in lists if isinstance(values, list)]


def nested(key: Sequence[str], value: Any) -> dict[str, Any]:
    """Return the tables around a value: {"augment": {"mixup": 1}} for the key ("augment", "mixup")."""
    for name in reversed(key):
        value = {name: value}
    return value


def tables_of_lists(
    values: type[StrictModel], base: type[Table], other_than_list: Callable[[list[Any]], type | None]
) -> type[Table]:
    """Make the class of a table that has a list of values for each option of another table.

    Args:
        values: the table of options.
        base: of the class.
        other_than_list: returns what an option of these types may have where it has no list; None: nothing.
    """
    keys: dict[str, Any] = {}
    annotated: Any = Annotated  # type checkers cannot read types that are computed
    for name, field in values.model_fields.items():
        one = annotated[(field.annotation, *field.metadata, Field())]
        many = annotated[GenericAlias(list, one), Field(min_length=1)]
        other = other_than_list([_without_marks(kind) for kind in (field.annotation, *get_args(field.annotation))])
        if other is not None:
            tagged = annotated[many, Tag("list")] | annotated[other, Tag("table")]
            many = annotated[tagged, Discriminator(lambda value: "list" if isinstance(value, list) else "table")]
        keys[name] = (many, Field(default_factory=list, description=field.description))
    return create_model(f"{values.__name__}{base.__name__}", __base__=base, __doc__=base.__doc__, **keys)


def _without_marks(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def table_among(kinds: Iterable[Any]) -> type[StrictModel] | None:
    """The first of some types that is a table of options."""
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, StrictModel)), None)


def _grid_of(values: type[StrictModel]) -> type[Grid]:
    """The class of a grid over the options of a table: a list for each, and for a table also a table of lists."""

    def of_table(kinds: list[Any]) -> type | None:
        table = table_among(kinds)
        return None if table is None else _grid_of(table)

    return tables_of_lists(values, Grid, of_table)


if TYPE_CHECKING:  # type checkers cannot read a class that is computed
    RecipeGrid = Grid
else:
    RecipeGrid = _grid_of(RecipeValues)
