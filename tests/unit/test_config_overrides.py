"""Snakemake's --config and --configfile, merged into config.yaml."""

import pytest
import yaml
from config_files import ROOT, VALID, changed, load, refused, write
from snakemake.cli import parse_config

from deepnets.config.loader import load_config
from deepnets.utils.errors import UserError


def load_with(tmp_path, *config):
    """Load VALID with `--config`, as Snakemake reads it."""
    parsed = parse_config(list(config))
    return load_config(write(tmp_path, VALID), parsed, command_line=parsed)


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


def test_overrides_of_aliases_in_aliases_are_refused_in_a_second(tmp_path):
    """Snakemake reads --configfile itself, and shares what an alias stands for."""
    laughs = ["x"]
    for _ in range(12):
        laughs = [laughs] * 10
    endless = {}
    endless["models"] = endless
    for overrides in ({"studies": laughs}, endless):
        [line] = refused(tmp_path, {}, overrides)
        assert "more than 100,000 keys and values" in line


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


def test_numbers_flags_null_and_lists_in_nested_config_are_read_as_in_a_file(tmp_path):
    recipe = "{lr: 1e-3, epochs: 3, compile: true, clip_norm: null, warmup: 0.1, augment: {mixup: 1, cutout: 3}}"
    demo = "{demo: [{datasets: [digits], models: [resnet50], recipe: new, seeds: [4, 5], set: {epochs: 2}}]}"
    config = load_with(tmp_path, f"recipes={{new: {recipe}}}", f"studies={demo}", "datasets={digits: {size: 20}}")
    new = config.recipes["new"]
    assert (new.lr, new.epochs, new.compile, new.clip_norm, new.warmup) == (0.001, 3, True, None, 0.1)
    assert (new.augment.mixup, new.augment.cutout) == (1, 3)
    assert [each.seed for each in config.experiments()] == [4, 5]
    assert config.experiments()[0].spec["recipe"]["epochs"] == 2
    assert config.datasets["digits"].size == 20


def test_text_in_nested_config_stays_text_where_its_key_takes_text(tmp_path):
    config = load_with(tmp_path, 'datasets={digits: {note: "3"}, photos: {path: 2024, sha256: ' + "1" * 64 + "}}")
    assert config.datasets["digits"].note == "3"
    assert (config.datasets["photos"].path, config.datasets["photos"].sha256) == ("2024", "1" * 64)


@pytest.mark.parametrize("null", ["null", "~", "Null", "NULL", ""])
def test_null_in_config_is_null_wherever_a_key_takes_it(tmp_path, null):
    config = load_with(tmp_path, f"datasets={{digits: {{size: {null}, mirror: {null}, note: {null}}}}}")
    digits = config.datasets["digits"]
    assert (digits.size, digits.mirror, digits.note) == (None, None, None)
    config = load_with(tmp_path, f"recipes={{long: {{clip_norm: {null}}}}}")
    assert config.recipes["long"].clip_norm is None


@pytest.mark.parametrize("null", ["null", "~", "Null"])
@pytest.mark.parametrize(
    ("config", "place"),
    [
        *((f"{key}={{}}", key) for key in ("study", "datasets", "models", "recipes", "studies")),
        ("datasets={{digits: {}}}", "datasets.digits"),
        ("datasets={{photos: {{path: {}}}}}", "datasets.photos.path"),
        ("recipes={{quick: {{epochs: {}}}}}", "recipes.quick.epochs"),
        ("recipes={{quick: {{augment: {}}}}}", "recipes.quick.augment"),
        ("models={{resnet50: {{on: {}}}}}", "models.resnet50.on"),
        ("studies={{demo: {}}}", "studies.demo"),
        ("studies={{demo: [{}]}}", "studies.demo[0]"),
        ("studies={{demo: [{{datasets: [digits], models: [{}], recipe: quick}}]}}", "studies.demo[0].models[0]"),
        ("new={}", "new"),
    ],
)
def test_null_where_a_key_takes_none_is_refused_in_one_line(tmp_path, config, place, null):
    with pytest.raises(UserError) as refusal:
        load_with(tmp_path, config.format(null))
    assert str(refusal.value).startswith(f"--config: {place}: ")
    assert str(refusal.value).count("(got nothing)") == 1
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (
            "recipes={quick: {batch_size: ten}}",
            "--config: recipes.quick.batch_size: must be a whole number (got 'ten')",
        ),
        ("recipes={quick: {batch_size: 2.5}}", "--config: recipes.quick.batch_size: must be a whole number (got 2.5)"),
        ("recipes={quick: {lr: .nan}}", "--config: recipes.quick.lr: must be a finite number (got nan)"),
        ("recipes={quick: 3}", "--config: recipes.quick: must have keys and values, like {key: value} (got 3)"),
        ("models={m: {architecture: 3}}", "--config: models.m.architecture: unknown architecture (got 3)"),
    ],
)
def test_a_mistake_in_nested_config_is_shown_as_it_was_written(tmp_path, config, line):
    with pytest.raises(UserError) as refusal:
        load_with(tmp_path, config)
    assert str(refusal.value).startswith(line)


def test_a_quoted_number_of_a_configfile_is_still_refused(tmp_path):
    [line] = refused(tmp_path, {}, {"recipes": {"quick": {"epochs": "3"}}})
    assert line == "--config: recipes.quick.epochs: must be a number (got '3'); write it without quotes"
