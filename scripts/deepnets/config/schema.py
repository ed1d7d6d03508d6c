"""What config.yaml may say.

One definition, `Config`, gives the defaults, the checks and the JSON schema (workflow/schemas/config.schema.json).
Nothing here imports torch: Snakemake reads the configuration before every job.
"""

from collections.abc import Iterator, Mapping
from functools import cache, reduce
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import Field, create_model
from pydantic.json_schema import GenerateJsonSchema

from deepnets import models
from deepnets.config.experiment import Experiment
from deepnets.config.messages import NAME_PATTERN, unknown
from deepnets.config.recipe import Recipe, RecipeValues
from deepnets.config.validation import SECTIONS, Parts, check_pairs
from deepnets.config.yaml_reader import merge
from deepnets.data import sources as datasets
from deepnets.data.sources import DatasetOptions
from deepnets.utils.errors import UserError
from deepnets.utils.option_types import StrictModel

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
MAX_SEED = 2**32 - 1  # what NumPy's generators take
Seed = Annotated[int, Field(ge=0, le=MAX_SEED, strict=True)]


class Model(StrictModel):
    """A network of one's own naming; each architecture adds its options."""

    architecture: str
    on: dict[str, StrictModel] = Field(default_factory=dict)

    def spec(self, dataset_name: str, dataset: DatasetOptions) -> dict:
        """What identifies the network on a dataset: `{"architecture": ..., **options}`, every default resolved.

        `on:` counts for the dataset that it names and, where that one is not named, for its variants.
        """
        spec = {"architecture": self.architecture, **self.model_dump(mode="json", exclude={"architecture", "on"})}
        for name in (dataset_name, dataset.variant_of):
            if name in self.on:
                return merge(spec, self.on[name].model_dump(mode="json", exclude_unset=True))
        return spec


def _model_class(architecture: str) -> type[Model]:
    """The settings of one architecture's models: its own options, beside the keys that all models have."""
    options = models.architecture(architecture).Options
    on = Field(default_factory=dict, description="Options that differ by dataset: a dataset's name -> its options.")
    name = Field(description="Which network, by the name of its module in scripts/deepnets/models.")
    return create_model(
        f"{architecture}_model",
        __base__=(Model, options),
        __doc__=options.__doc__,
        architecture=(Literal[architecture], name),
        on=(dict[str, options], on),
    )


_dataset_classes = (datasets.source(name).Options for name in datasets.available())
_model_classes = (_model_class(name) for name in models.available())
AnyDataset = Annotated[reduce(or_, _dataset_classes), Field(discriminator="source")]
AnyModel = Annotated[reduce(or_, _model_classes), Field(discriminator="architecture")]


class Entry(StrictModel):
    """Experiments of a study: every listed dataset with every listed model and every seed, by one recipe."""

    datasets: list[str] = Field(min_length=1, description="Names of datasets.")
    models: list[str] = Field(min_length=1, description="Names of models.")
    recipe: str = Field(description="Name of a recipe.")
    seeds: list[Seed] = Field([0], min_length=1, description="One experiment for each of these random seeds.")
    set: RecipeValues = Field(
        default_factory=RecipeValues, description="Recipe values that differ here, like {epochs: 4}."
    )


class Config(StrictModel):
    """The configuration of the workflow: config.yaml."""

    study: str = Field(description="Name of the study that results/report.md is about.")
    datasets: dict[Name, AnyDataset] = Field(min_length=1, description="Images: a name of your own -> their source.")
    models: dict[Name, AnyModel] = Field(
        min_length=1, description="Networks: a name of your own -> an architecture and its options."
    )
    recipes: dict[Name, Recipe] = Field(min_length=1, description="Ways to train: a name of your own -> settings.")
    studies: dict[Name, Annotated[list[Entry], Field(min_length=1)]] = Field(
        min_length=1, description="What to compare: a name of your own -> a list of experiments."
    )

    def experiments(self, study: str | None = None) -> list[Experiment]:
        """The experiments of a study (of `self.study` by default), in the order of the file.

        Raises:
            UserError: there is no such study.
        """
        study = self.study if study is None else study
        if study not in self.studies:
            raise UserError(unknown("study", study, self.studies))
        found = []
        for entry in self.studies[study]:
            found += experiments_of(entry, self.datasets, self.models, recipe_of(entry, self.recipes))
        return found

    def experiment(self, dataset: str, model: str, recipe: str, seed: int) -> Experiment:
        """An experiment by its names, with the recipe as it stands, whether or not a study lists it.

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
        in_no_study = Parts(self.datasets, self.models, {("", 0): [found]})
        if lines := [f"config.yaml: {problem}" for problem in check_pairs({}, in_no_study)]:
            raise UserError("\n".join(lines))
        return found


@cache
def json_schema() -> dict:
    """The JSON schema (draft 2020-12) of config.yaml, for editors and for those who generate configurations."""
    schema = Config.model_json_schema(schema_generator=_SchemaGenerator)
    comment = "A validator whose reader is of YAML 1.1 sees 1e-3 as text and refuses it; the workflow takes the number."
    return {"$schema": GenerateJsonSchema.schema_dialect, "$comment": comment, "title": "config.yaml", **schema}


class _SchemaGenerator(GenerateJsonSchema):
    """pydantic's schema without its titles, which only repeat the keys, and closed where keys are names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: Any) -> dict:
        return {key: value for key, value in super().model_schema(schema).items() if key != "title"}

    def dict_schema(self, schema: Any) -> dict:
        table = super().dict_schema(schema)
        return {**table, "additionalProperties": False} if "patternProperties" in table else table


def recipe_of(entry: Entry, recipes: Mapping[str, Recipe]) -> Recipe:
    """The recipe of an entry, with the values that it sets itself."""
    return Recipe(**merge(recipes[entry.recipe].model_dump(), entry.set.model_dump(exclude_unset=True)))


def experiments_of(
    entry: Entry, datasets: Mapping[str, DatasetOptions], models: Mapping[str, Model], recipe: Recipe | None
) -> Iterator[Experiment]:
    """The experiments of an entry, without those whose dataset or model is not there; no recipe has an empty spec."""
    recipe_spec = recipe.model_dump(mode="json") if recipe else {}
    for dataset_name in (name for name in dict.fromkeys(entry.datasets) if name in datasets):
        dataset = datasets[dataset_name]
        for model_name in (name for name in dict.fromkeys(entry.models) if name in models):
            model_spec = models[model_name].spec(dataset_name, dataset)
            for seed in dict.fromkeys(entry.seeds):
                spec = {"dataset": dataset.spec(), "model": model_spec, "recipe": recipe_spec, "seed": seed}
                yield Experiment(dataset_name, model_name, entry.recipe, seed, spec)
