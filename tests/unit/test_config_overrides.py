"""Snakemake's --config and --configfile, merged into config.yaml."""

import pytest
import yaml
from config_files import ROOT, changed, load, refused

from deepnets.config.loader import load_config


def test_overrides_are_merged_at_every_level(tmp_path):
    config = load(tmp_path, overrides={"study": "paper", "recipes": {"long": {"augment": {"cutout": 8}}}})
    assert config.study == "paper"
    long = config.recipes["long"]
    assert (long.epochs, long.augment.rotation, long.augment.cutout) == (20, 10, 8)


def test_overrides_keep_the_key_on_that_snakemake_reads_as_true(tmp_path):
    config = load(tmp_path, overrides={"models": {"resnet50": {True: {"mnist": {"stem_pool": False}}}}})
    assert config.models["resnet50"].spec("mnist", config.datasets["mnist"])["stem_pool"] is False


def test_overrides_that_repeat_the_whole_file_change_nothing():
    """Snakemake hands the whole of its config over where a workflow has a `configfile:`."""
    path = ROOT / "config.yaml"
    assert load_config(path, yaml.safe_load(path.read_text())) == load_config(path)


@pytest.mark.parametrize(
    ("overrides", "place"),
    [
        ({"study": "papr"}, "--config: study"),
        ({"recipes": {"quick": {"lr": 0}}}, "--config: recipes.quick.lr"),
        ({"studies": {"demo": [{}]}}, "--config: studies.demo[0]."),
        ({"datasets": {"new": {"source": "torchvision"}}}, "--config: datasets.new.name"),
    ],
)
def test_a_mistake_in_the_overrides_is_not_blamed_on_the_file(tmp_path, overrides, place):
    assert all(line.startswith(place) for line in refused(tmp_path, {}, overrides))


def test_a_mistake_in_the_file_is_not_blamed_on_overrides_that_repeat_it(tmp_path):
    changes = {"recipes/quick/lr": 0}
    [line] = refused(tmp_path, changes, overrides=changed(changes))
    assert line.startswith("config.yaml: recipes.quick.lr")
