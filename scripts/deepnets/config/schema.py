"""The keys and values that config.yaml may have.

One definition, `Config`, gives the defaults, the checks and the JSON schema (workflow/schemas/config.schema.json).
Nothing here imports torch: Snakemake reads the configuration before every job.
"""

from collections.abc import Iterator, Mapping
from functools import cache, reduce
from importlib.util import find_spec
from operator import or_
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema

from deepnets import models
from deepnets.config import starts
from deepnets.config.experiment import Experiment, recipe_name
from deepnets.config.messages import NAME_PATTERN, Problem, explain, format_path, unknown
from deepnets.config.named_recipe import NamedRecipe, RecipeGrid, key_on, keys_on
from deepnets.config.recipe import Recipe, RecipeValues
from deepnets.config.recipe_label import changed_values, recipe_label, values_in
from deepnets.config.search import Search
from deepnets.config.validation import SECTIONS, check_unlisted, unknown_study
from deepnets.config.weights import PUBLISHED, Deviations, Means, check_normalisation, check_weights
from deepnets.config.yaml_reader import merge
from deepnets.data import sources as datasets
from deepnets.data.sources import DatasetOptions
from deepnets.data.sources._own_images import with_source
from deepnets.models import _named
from deepnets.utils.errors import UserError
from deepnets.utils.option_types import MAX_SEED, AcceptExponent, Flag, Seed, StrictModel, measured_in
from deepnets.utils.paths import OPTIONAL
from deepnets.utils.specs import leaves

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
EquivalenceMargin = Annotated[
    float, Field(strict=True, gt=0, lt=1, allow_inf_nan=False), measured_in("fraction"), AcceptExponent
]


class Model(StrictModel):
    """A model of config.yaml: an architecture with its options. Each architecture adds its own keys."""

    architecture: str
    on: dict[str, StrictModel] = Field(default_factory=dict)
    weights: Annotated[str, AfterValidator(check_weights)] | None = Field(
        None,
        min_length=1,
        description="Weights to start from: a file (.safetensors, or .pth of PyTorch), an experiment of this project"
        " (results/cifar10/resnet18/quick/seed0), or default, those that torchvision or timm publishes; null: random.",
    )
    mean: Means | None = Field(
        None,
        description="With `weights`: the mean of each channel by which images were normalised in their training, of"
        " images from 0 to 1; null: what the weights say, else the dataset's.",
    )
    std: Deviations | None = Field(None, description="The standard deviation of each channel; goes with `mean`.")
    freeze: Literal["backbone"] | None = Field(
        None, description="backbone: train the last layer alone, the others keep their weights; null: train all."
    )

    @model_validator(mode="after")
    def _weights_and_freeze_go_together(self) -> Self:
        if self.weights == PUBLISHED and models.library_of(self.architecture) is None:
            raise ValueError(
                f"weights: default is for networks of torchvision and timm (got {self.architecture}); give a file, or"
                " the path of an experiment"
            )
        if self.freeze is not None and self.weights is None:
            raise ValueError(
                "freeze: backbone without weights would keep random layers; add weights, or leave out freeze"
            )
        check_normalisation(self.mean, self.std, self.weights)
        return self

    def spec(self, dataset_name: str, dataset: DatasetOptions) -> dict:
        """Return what identifies the network on a dataset: `{"architecture": ..., **options}`, all defaults resolved.

        Options of `on:` hold for the dataset that it names, and for a variant of it that `on:` does not name itself.
        """
        options = self.model_dump(mode="json", exclude={*Model.model_fields})
        architecture = _named.untagged(self.architecture)  # the tag only chooses weights
        spec = {"architecture": architecture, **options} | ({"freeze": self.freeze} if self.freeze else {})
        key = key_on(self.on, dataset_name, dataset.variant_of)
        return spec if key is None else merge(spec, self.on[key].model_dump(mode="json", exclude_unset=True))


def _model_class(architecture: str) -> type[Model]:
    """Return the class of one architecture's models: the architecture's options and the keys that all models have."""
    name = Literal[architecture], Field(description="Which network: the name of its module in scripts/deepnets/models.")
    return _class(f"{architecture}_model", models.architecture(architecture).Options, name)


def _named_class(kind: str) -> type[Model]:
    """Return the class of models whose networks are elsewhere, in a library or in a file of the user's."""
    options = _named.OwnOptions if kind == _named.OWN else _named.LibraryOptions
    pattern = Field(pattern=_named.PATTERNS[kind], description=f"Which network: {kind}.")
    name = Annotated[str, pattern, AfterValidator(_named.check_name)], pattern
    return _class("own_model" if kind == _named.OWN else f"{kind.partition('/')[0]}_model", options, name)


def _class(name: str, options: type[StrictModel], architecture: tuple[Any, Any]) -> type[Model]:
    keys: dict[str, Any] = {
        "architecture": architecture,
        "on": (
            GenericAlias(dict, (str, options)),
            Field(default_factory=dict, description="Options that differ by dataset: the dataset's name -> options."),
        ),
    }
    return create_model(name, __base__=cast(tuple[type[Model], ...], (Model, options)), __doc__=options.__doc__, **keys)


def _tag(model: Any) -> str | None:
    """Return which of the classes of models an entry belongs to; None if it does not say it."""
    if not isinstance(model, dict):
        return getattr(model, "architecture", None)
    name = model.get("architecture")
    return name if name is None else _named.kind(str(name)) or str(name)


if TYPE_CHECKING:  # type checkers cannot read unions that are computed
    AnyDataset = DatasetOptions
    AnyModel = Model
else:
    _dataset_classes = (datasets.source(name).Options for name in datasets.available())
    _model_classes = {name: _model_class(name) for name in models.available()}
    _model_classes |= {kind: _named_class(kind) for kind in _named.PATTERNS}
    _tagged = (Annotated[each, Tag(tag)] for tag, each in _model_classes.items())
    AnyDataset = Annotated[
        reduce(or_, _dataset_classes),
        Field(
            discriminator="source",
            description="Where the images come from; where it is left out, `path` says it: csv for a .csv, .tsv or"
            " .parquet, folder for any other.",
        ),
        BeforeValidator(with_source),
    ]
    AnyModel = Annotated[reduce(or_, _tagged), Discriminator(_tag), Field(description="Which network.")]


class Entry(StrictModel):
    """Experiments of a study: every listed dataset with every listed model and every seed, trained by one recipe."""

    datasets: list[str] = Field(min_length=1, description="Names of datasets.")
    models: list[str] = Field(min_length=1, description="Names of models.")
    recipe: str = Field(description="Name of a recipe.")
    seeds: list[Seed] = Field([0], min_length=1, description="One experiment for each of these random seeds.")
    set: RecipeValues = Field(
        default_factory=RecipeValues, description="Recipe values that differ here, like {epochs: 4}."
    )
    grid: RecipeGrid = Field(
        default_factory=RecipeGrid,
        description="Lists of recipe values, like {lr: [0.01, 0.03]}: one experiment for each combination.",
    )
    latency: Flag = Field(
        False,
        description="true in one entry: the whole study also has the time of a prediction; each network is measured"
        " alone.",
    )
    robustness: Flag = Field(
        False,
        description="true in one entry: the whole study also has the accuracy on corrupted test images, with noise,"
        " blur and six more.",
    )

    @property
    def size(self) -> int:
        """The number of experiments."""
        return len(self.datasets) * len(self.models) * len(self.seeds) * self.grid.size

    @model_validator(mode="after")
    def _each_value_is_given_once(self) -> Self:
        fixed, varied = (dict(leaves(table.model_dump(exclude_unset=True))) for table in (self.set, self.grid))
        if both := [".".join(key) for key in fixed if key and key in varied]:
            raise ValueError(f"{', '.join(both)} is in set and in grid; keep one of them")
        return self


def _has_tensorboard(value: bool) -> bool:
    if value and find_spec("tensorboard") is None:
        raise ValueError("true needs the package tensorboard: python -m pip install tensorboard; or set false")
    return value


class Config(StrictModel):
    """The configuration of the workflow: config.yaml."""

    study: str = Field(description="Name of the study that results/report.md reports.")
    equivalence_margin: EquivalenceMargin = Field(
        0.005,
        description="Two networks are called equally good if their test accuracies surely differ by less than this"
        " fraction; 0.005 is half a percentage point.",
    )
    datasets: dict[Name, AnyDataset] = Field(
        min_length=1, description="Images: a name that you choose -> their source."
    )
    models: dict[Name, AnyModel] = Field(
        min_length=1, description="Networks: a name that you choose -> an architecture and its options."
    )
    recipes: dict[Name, NamedRecipe] = Field(
        min_length=1, description="Ways to train: a name that you choose -> training options."
    )
    studies: dict[Name, Annotated[list[Entry], Field(min_length=1)]] = Field(
        min_length=1, description="What to compare: a name that you choose -> a list of experiments."
    )
    searches: dict[Name, Search] = Field(
        default_factory=dict, description="Searches for recipe values: a name that you choose -> what to try."
    )
    # Of no spec: it changes no result, so it makes nothing run again.
    tensorboard: Annotated[bool, AfterValidator(_has_tensorboard)] = Field(
        False, description="Whether training runs write event files for TensorBoard, in logs/."
    )

    def experiments(self, study: str | None = None) -> list[Experiment]:
        """Return the experiments of a study (`self.study` by default), in the order of the file.

        Raises:
            UserError: there is no such study.
        """
        study = self.study if study is None else study
        if study not in self.studies:
            raise UserError(unknown_study(study, self.studies, self.searches))
        found: list[Experiment] = []
        for entry in self.studies[study]:
            found += self.of_entry(entry)
        return found

    def of_entry(self, entry: Entry) -> list[Experiment]:
        """Return the experiments of an entry whose names are all known; raises what `experiments_of` raises."""
        found = experiments_of(entry, self.datasets, self.models, self.recipes[entry.recipe])
        return [starts.with_start(self, each) for each in found]

    def optional_stages(self, study: str) -> list[str]:
        """Return the stages that a study has and others need not have: those that one of its entries asks for."""
        return [stage for stage in OPTIONAL if any(getattr(entry, stage) for entry in self.studies[study])]

    def experiment(self, dataset: str, model: str, recipe: str, seed: int) -> Experiment:
        """Return an experiment by its names, whether or not a study lists it; arguments and errors as of `find`."""
        return starts.with_start(self, self.find(dataset, model, recipe, seed))

    def find(self, dataset: str, model: str, recipe: str, seed: int) -> Experiment:
        """Return an experiment by its names, without the weights that it starts from.

        Args:
            recipe: as in paths: the name of a recipe, and values after it, as in "quick,lr=0.03".

        Raises:
            UserError: one of the names is unknown, a value is wrong or written in another way than in paths, the seed
                is out of range, or the images are too small for the model or the recipe.
        """
        name = recipe_name(recipe)
        for section, key in (("datasets", dataset), ("models", model), ("recipes", name)):
            if key not in getattr(self, section):
                raise UserError(unknown(SECTIONS[section], key, getattr(self, section)))
        if not 0 <= seed <= MAX_SEED:
            raise UserError(f"seed must be from 0 to {MAX_SEED} (got {seed})")
        values = values_in(recipe)
        try:
            entry = Entry(datasets=[dataset], models=[model], recipe=name, seeds=[seed], set=values)
            (found,) = experiments_of(entry, self.datasets, self.models, self.recipes[name])
        except ValidationError as error:
            raise UserError("\n".join(f"{recipe}: {line}" for line in _of_values(error))) from None
        if found.recipe != recipe:
            raise UserError(f"{recipe}: paths have {found.recipe} for these values; write that")
        recipes = {name: self.recipes[name].model_dump(exclude_unset=True)}
        lines = [
            f"{recipe}: {format_path(path[1:])}: {text}" if path[0] == "set" else f"config.yaml: {Problem(path, text)}"
            for path, text in check_unlisted(values, recipes, [found], self.datasets, self.models)
        ]
        if lines:
            raise UserError("\n".join(lines))
        return found


@cache
def json_schema() -> dict:
    """Return the JSON schema (draft 2020-12) of config.yaml, for editors and programs that write configurations."""
    return _without_units(schema_with_units())


def schema_with_units() -> dict:
    """Return the JSON schema with a keyword that it does not have, for docs/configuration.md: `unit`, of numbers."""
    schema = Config.model_json_schema(schema_generator=_SchemaGenerator)
    comment = "A validator that reads YAML 1.1 takes 1e-3 for text and refuses it; the workflow reads it as a number."
    return {"$schema": GenerateJsonSchema.schema_dialect, "$comment": comment, "title": "config.yaml", **schema}


def _without_units(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_units(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {key: _without_units(value) for key, value in node.items() if key != "unit" or isinstance(value, dict)}


class _SchemaGenerator(GenerateJsonSchema):
    """pydantic's schema without titles, which only repeat the keys, and with no other keys where keys are names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: Any) -> dict:
        return {key: value for key, value in super().model_schema(schema).items() if key != "title"}

    def tagged_union_schema(self, schema: Any) -> dict:
        """Add what pydantic leaves out where `_tag` chooses the class: the key, and the class of each value."""
        union = super().tagged_union_schema(schema)
        if schema["discriminator"] == "source":  # a path without a source may fit two of them
            return {("anyOf" if key == "oneOf" else key): value for key, value in union.items()}
        if schema["discriminator"] is not _tag:
            return union
        mapping = {str(tag): self.generate_inner(choice)["$ref"] for tag, choice in schema["choices"].items()}
        return {**union, "discriminator": {"propertyName": "architecture", "mapping": mapping}, **union}

    def dict_schema(self, schema: Any) -> dict:
        table = super().dict_schema(schema)
        return {**table, "additionalProperties": False} if "patternProperties" in table else table


def experiments_of(
    entry: Entry, datasets: Mapping[str, DatasetOptions], models: Mapping[str, Model], recipe: NamedRecipe | None
) -> Iterator[Experiment]:
    """Yield the experiments of an entry whose dataset and model are given; without a recipe, its spec is {}.

    Raises:
        ValidationError: the recipe does not go with the values of the entry.
    """

    @cache  # most pairs have the same values
    def variants(keys: tuple[str, ...], flips: bool) -> list[_Variant]:
        return [_Variant(entry.recipe, flips, {})] if recipe is None else _variants(entry, recipe, keys, flips)

    for dataset_name in (name for name in dict.fromkeys(entry.datasets) if name in datasets):
        dataset = datasets[dataset_name]
        dataset_spec = dataset.spec()
        for model_name in (name for name in dict.fromkeys(entry.models) if name in models):
            model_spec = models[model_name].spec(dataset_name, dataset)
            keys = keys_on(recipe.on, dataset_name, dataset.variant_of, model_name) if recipe else ()
            for label, flips, recipe_spec in variants(keys, dataset.flips):
                spec = {
                    "dataset": {**dataset_spec, "horizontal_flip": flips},
                    "model": model_spec,
                    "recipe": recipe_spec,
                }
                for seed in dict.fromkeys(entry.seeds):
                    of_seed = {**spec, "dataset": {**spec["dataset"], **dataset.of_seed(seed)}, "seed": seed}
                    yield Experiment(dataset_name, model_name, label, seed, of_seed)


class _Variant(NamedTuple):
    """A recipe with one combination of an entry's values: its part of the path, whether it mirrors, and its spec."""

    label: str
    flips: bool
    spec: dict[str, Any]


def _variants(entry: Entry, recipe: NamedRecipe, keys: tuple[str, ...], flips: bool) -> list[_Variant]:
    """The variants of a recipe in an entry; combinations that differ only in values without effect are one."""
    own = recipe.values_on(keys)
    base, fixed = Recipe(**own), merge(own, entry.set.model_dump(exclude_unset=True))
    found: dict[str, _Variant] = {}
    for combination in entry.grid.combinations():
        varied = Recipe(**merge(fixed, combination))
        label = recipe_label(entry.recipe, changed_values(base, varied, flips))
        mirrors = flips and varied.augment.horizontal_flip
        found.setdefault(label, _Variant(label, mirrors, varied.spec(mirrors)))
    return list(found.values())


def _of_values(error: ValidationError) -> Iterator[str]:
    """What is wrong with the values in a recipe's part of a path, a line each."""
    for path, text in explain(error, {"$defs": json_schema()["$defs"], "$ref": "#/$defs/Entry"}):
        yield f"{format_path(path[1:])}: {text}" if path else text
