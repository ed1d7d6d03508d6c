"""The keys and values that config.yaml may have.

One definition, `Config`, gives the defaults, the checks and the JSON schema (workflow/schemas/config.schema.json).
Nothing here imports torch: Snakemake reads the configuration before every job.
"""

from collections.abc import Iterator, Mapping
from functools import cache, reduce
from operator import or_
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, create_model
from pydantic.json_schema import GenerateJsonSchema

from deepnets import models
from deepnets.config.experiment import Experiment
from deepnets.config.messages import NAME_PATTERN, unknown
from deepnets.config.recipe import Recipe, RecipeValues
from deepnets.config.validation import SECTIONS, ValidEntries, check_sizes
from deepnets.config.yaml_reader import merge
from deepnets.data import sources as datasets
from deepnets.data.sources import DatasetOptions
from deepnets.utils.errors import UserError
from deepnets.utils.option_types import AcceptExponent, StrictModel

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
MAX_SEED = 2**32 - 1  # the largest seed of NumPy's generators
EquivalenceMargin = Annotated[float, Field(strict=True, gt=0, lt=1, allow_inf_nan=False), AcceptExponent]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED, strict=True)]


class Model(StrictModel):
    """A model of config.yaml: an architecture with its options. Each architecture adds its own keys."""

    architecture: str
    on: dict[str, StrictModel] = Field(default_factory=dict)

    def spec(self, dataset_name: str, dataset: DatasetOptions) -> dict:
        """Return what identifies the network on a dataset: `{"architecture": ..., **options}`, all defaults resolved.

        Options of `on:` hold for the dataset that it names, and for a variant of it that `on:` does not name itself.
        """
        spec = {"architecture": self.architecture, **self.model_dump(mode="json", exclude={"architecture", "on"})}
        for name in (dataset_name, dataset.variant_of):
            if name is not None and name in self.on:
                return merge(spec, self.on[name].model_dump(mode="json", exclude_unset=True))
        return spec


def _model_class(architecture: str) -> type[Model]:
    """Return the class of one architecture's models: the architecture's options and the keys that all models have."""
    options = models.architecture(architecture).Options
    keys: dict[str, Any] = {
        "architecture": (
            Literal[architecture],
            Field(description="Which network: the name of its module in scripts/deepnets/models."),
        ),
        "on": (
            GenericAlias(dict, (str, options)),
            Field(default_factory=dict, description="Options that differ by dataset: the dataset's name -> options."),
        ),
    }
    return create_model(f"{architecture}_model", __base__=(Model, options), __doc__=options.__doc__, **keys)


if TYPE_CHECKING:  # type checkers cannot read unions that are computed
    AnyDataset = DatasetOptions
    AnyModel = Model
else:
    _dataset_classes = (datasets.source(name).Options for name in datasets.available())
    _model_classes = (_model_class(name) for name in models.available())
    AnyDataset = Annotated[reduce(or_, _dataset_classes), Field(discriminator="source")]
    AnyModel = Annotated[reduce(or_, _model_classes), Field(discriminator="architecture")]


class Entry(StrictModel):
    """Experiments of a study: every listed dataset with every listed model and every seed, trained by one recipe."""

    datasets: list[str] = Field(min_length=1, description="Names of datasets.")
    models: list[str] = Field(min_length=1, description="Names of models.")
    recipe: str = Field(description="Name of a recipe.")
    seeds: list[Seed] = Field([0], min_length=1, description="One experiment for each of these random seeds.")
    set: RecipeValues = Field(
        default_factory=RecipeValues, description="Recipe values that differ here, like {epochs: 4}."
    )


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
    recipes: dict[Name, Recipe] = Field(
        min_length=1, description="Ways to train: a name that you choose -> training options."
    )
    studies: dict[Name, Annotated[list[Entry], Field(min_length=1)]] = Field(
        min_length=1, description="What to compare: a name that you choose -> a list of experiments."
    )

    def experiments(self, study: str | None = None) -> list[Experiment]:
        """Return the experiments of a study (`self.study` by default), in the order of the file.

        Raises:
            UserError: there is no such study.
        """
        study = self.study if study is None else study
        if study not in self.studies:
            raise UserError(unknown("study", study, self.studies))
        found: list[Experiment] = []
        for entry in self.studies[study]:
            found += experiments_of(entry, self.datasets, self.models, recipe_of(entry, self.recipes))
        return found

    def experiment(self, dataset: str, model: str, recipe: str, seed: int) -> Experiment:
        """Return an experiment by its names, whether or not a study lists it; its recipe is as in `recipes:`.

        Raises:
            UserError: one of the names is unknown, the seed is out of range, or the images are too small for the model
                or the recipe.
        """
        for section, name in (("datasets", dataset), ("models", model), ("recipes", recipe)):
            if name not in getattr(self, section):
                raise UserError(unknown(SECTIONS[section], name, getattr(self, section)))
        if not 0 <= seed <= MAX_SEED:
            raise UserError(f"seed must be from 0 to {MAX_SEED} (got {seed})")
        entry = Entry(datasets=[dataset], models=[model], recipe=recipe, seeds=[seed])
        (found,) = experiments_of(entry, self.datasets, self.models, self.recipes[recipe])
        in_no_study = ValidEntries(self.datasets, self.models, {("", 0): [found]})
        if lines := [f"config.yaml: {problem}" for problem in check_sizes({}, in_no_study)]:
            raise UserError("\n".join(lines))
        return found


@cache
def json_schema() -> dict:
    """Return the JSON schema (draft 2020-12) of config.yaml, for editors and programs that write configurations."""
    schema = Config.model_json_schema(schema_generator=_SchemaGenerator)
    comment = "A validator that reads YAML 1.1 takes 1e-3 for text and refuses it; the workflow reads it as a number."
    return {"$schema": GenerateJsonSchema.schema_dialect, "$comment": comment, "title": "config.yaml", **schema}


class _SchemaGenerator(GenerateJsonSchema):
    """pydantic's schema without titles, which only repeat the keys, and with no other keys where keys are names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: Any) -> dict:
        return {key: value for key, value in super().model_schema(schema).items() if key != "title"}

    def dict_schema(self, schema: Any) -> dict:
        table = super().dict_schema(schema)
        return {**table, "additionalProperties": False} if "patternProperties" in table else table


def recipe_of(entry: Entry, recipes: Mapping[str, Recipe]) -> Recipe:
    """Return the recipe of an entry, with the values of its `set:`."""
    return Recipe(**merge(recipes[entry.recipe].model_dump(), entry.set.model_dump(exclude_unset=True)))


def experiments_of(
    entry: Entry, datasets: Mapping[str, DatasetOptions], models: Mapping[str, Model], recipe: Recipe | None
) -> Iterator[Experiment]:
    """Yield the experiments of an entry whose dataset and model are given; without a recipe, its spec is {}."""
    for dataset_name in (name for name in dict.fromkeys(entry.datasets) if name in datasets):
        dataset = datasets[dataset_name]
        flips = dataset.flips and (recipe is None or recipe.augment.horizontal_flip)
        dataset_spec = {**dataset.spec(), "horizontal_flip": flips}
        recipe_spec = recipe.spec(flips) if recipe else {}
        for model_name in (name for name in dict.fromkeys(entry.models) if name in models):
            model_spec = models[model_name].spec(dataset_name, dataset)
            for seed in dict.fromkeys(entry.seeds):
                spec = {"dataset": dataset_spec, "model": model_spec, "recipe": recipe_spec, "seed": seed}
                yield Experiment(dataset_name, model_name, entry.recipe, seed, spec)
