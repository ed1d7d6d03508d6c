"""`weights:` and `freeze:` in config.yaml: what identifies them, what needs them, and what is refused."""

import json

import pytest
import torch

from deepnets.config.loader import load_config
from deepnets.config.starts import network_spec
from deepnets.models import _published
from deepnets.planning.job import Job
from deepnets.planning.jobs import Jobs
from deepnets.planning.start_files import start_records, start_weights, weights_arguments
from deepnets.utils.errors import UserError
from deepnets.utils.files import sha256_file

RESNET = "torchvision/resnet18"
SOURCE = "results/digits/small/quick/seed0"
BASE = {
    "study": "own",
    "datasets": {
        "digits": {"source": "sklearn_digits"},
        "mnist": {"source": "torchvision", "name": "MNIST"},
        "birds": {"path": "birds"},
    },
    "recipes": {"quick": {"epochs": 1}},
}


@pytest.fixture
def load(root, tmp_path, monkeypatch):
    """Load a configuration with one model more, `tuned`, in a folder that has weights.pth."""
    monkeypatch.chdir(tmp_path)
    torch.save({"fc.weight": torch.zeros(2)}, "weights.pth")

    def read(small=None, architecture=RESNET, **tuned):
        models = {"small": {"architecture": RESNET, **(small or {})}, "tuned": {"architecture": architecture, **tuned}}
        entries = [{"datasets": ["digits"], "models": ["tuned"], "recipe": "quick"}]
        text = json.dumps({**BASE, "models": models, "studies": {"own": entries}})
        (tmp_path / "config.yaml").write_text(text)
        return load_config("config.yaml")

    return read


def spec_of(config):
    return config.experiments()[0].spec


def test_a_file_is_identified_by_its_hash_wherever_it_is(load, tmp_path):
    spec = spec_of(load(weights="weights.pth"))
    assert spec["weights"] == {"sha256": sha256_file(tmp_path / "weights.pth")}
    (tmp_path / "nets").mkdir()
    (tmp_path / "weights.pth").rename(tmp_path / "nets/renamed.pt")
    moved = load(weights=str(tmp_path / "nets/renamed.pt"))
    assert spec_of(moved) == spec
    assert weights_arguments(moved.models["tuned"].weights) == ["--weights", str(tmp_path / "nets/renamed.pt")]
    torch.save({"fc.weight": torch.ones(3)}, "nets/renamed.pt")
    assert spec_of(load(weights="nets/renamed.pt")) != spec


@pytest.mark.parametrize("name", ["a.pt", "a.bin", "a.ckpt", "a.pth.tar", "a.safetensors"])
def test_files_may_have_the_names_that_others_give_them(name, load, tmp_path):
    (tmp_path / name).write_bytes(b"any")
    assert spec_of(load(weights=name))["weights"] == {"sha256": sha256_file(tmp_path / name)}


def test_a_model_without_weights_has_the_spec_that_it_had(load):
    spec = spec_of(load())
    assert spec.keys() == {"dataset", "model", "recipe", "seed"}
    assert spec["model"].keys() == {"architecture", "resize", "stem"}


def test_freezing_is_part_of_the_network_that_is_summarized_and_weights_are_not(load, root):
    names = {"dataset": "digits", "model": "tuned"}
    summaries = [
        Jobs(load(**options), root).settings("summarize", names)["spec"]
        for options in ({}, {"weights": "weights.pth"}, {"weights": "weights.pth", "freeze": "backbone"})
    ]
    assert summaries[0] == summaries[1]
    assert summaries[2]["model"] == {**summaries[0]["model"], "freeze": "backbone"}


def test_mean_and_std_of_weights_are_part_of_what_is_trained_and_not_of_the_network(load, root):
    plain, stated = (load(weights="weights.pth", **known) for known in ({}, {"mean": [0.5], "std": [0.25]}))
    assert spec_of(stated)["weights"] == {**spec_of(plain)["weights"], "mean": [0.5], "std": [0.25]}
    assert spec_of(stated)["model"] == spec_of(plain)["model"]
    names = {"dataset": "digits", "model": "tuned"}
    summaries = [Jobs(config, root).settings("summarize", names) for config in (plain, stated)]
    assert summaries[0] == summaries[1]


@pytest.mark.parametrize("written", [SOURCE, f"{SOURCE}/", f"{SOURCE}/model.safetensors"])
def test_an_experiment_is_made_first_and_its_settings_count(written, load, root):
    config = load(weights=written)
    spec = spec_of(config)
    assert spec["weights"]["experiment"] == "digits/small/quick/seed0"
    other = load(small={"stem": "small"}, weights=written)
    assert spec_of(other)["weights"]["spec_sha256"] != spec["weights"]["spec_sha256"]
    [tuned] = config.experiments()
    assert start_weights(tuned) == [f"{SOURCE}/model.safetensors"]
    assert start_records(tuned) == [f"{SOURCE}/history.csv"]
    jobs = [job for job in Jobs(config, root).of_study() if job.wildcards.get("model") == "small"]
    assert jobs == [Job("train", {"dataset": "digits", "model": "small", "recipe": "quick", "seed": "0"})]


def test_images_are_enlarged_to_the_size_that_the_weights_know_unless_config_says_how(load):
    on_mnist = "results/mnist/small/quick/seed0"
    assert spec_of(load(weights=on_mnist))["model"]["resize"] == 28
    assert spec_of(load(weights=on_mnist, resize=16))["model"]["resize"] == 16
    assert spec_of(load(weights=on_mnist, stem="small"))["model"]["resize"] is None
    assert spec_of(load(small={"resize": 48}, weights=on_mnist))["model"]["resize"] == 48


def test_weights_that_know_a_size_which_only_the_images_show_need_it_in_config_yaml(load, root):
    on_birds = {"weights": "results/birds/small/quick/seed0"}
    said = r"^config\.yaml: models\.tuned\.weights: results/birds/small/quick/seed0 was trained on images whose size .*"
    said += r"; write that size as resize: for models\.tuned .* data/birds/dataset\.json .* size: for datasets\.birds$"
    with pytest.raises(UserError, match=said):
        load(**on_birds).experiments()
    with pytest.raises(UserError, match=said):
        network_spec(load(**on_birds), "tuned", "digits")
    assert spec_of(load(**on_birds, resize=64))["model"]["resize"] == 64
    assert spec_of(load(**on_birds, stem="small"))["model"]["resize"] is None
    same_images = load(**on_birds).experiment("birds", "tuned", "quick", 1)
    assert same_images.spec["model"]["resize"] is None


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"weights": "wights.pth"}, r"models.tuned.*: no file wights.pth in .*, where config.yaml is"),
        ({"weights": "weights.txt"}, r"models.tuned.*: must be default, a file \(.safetensors, .pth"),
        ({"weights": "results/digits/small"}, r"models.tuned.*: not the path of an experiment"),
        ({"weights": "results/digits/smol/quick/seed0"}, r"models.tuned.weights: unknown model \(got 'smol'\)"),
        ({"weights": "results/digits/tuned/quick/seed0"}, r"models.tuned.weights: .* would start from itself"),
        (
            {"weights": SOURCE, "small": {"weights": "results/digits/tuned/quick/seed1"}},
            r"models.small.weights: .* would start from itself",
        ),
        ({"weights": "default", "architecture": "resnet50"}, r"models.tuned: weights: default is for networks of tor"),
        ({"weights": "/nowhere/a.pth"}, r"models.tuned.*: no file /nowhere/a.pth; correct the path or add the file"),
        ({"freeze": "backbone"}, "models.tuned: freeze: backbone without weights would keep random layers"),
        (
            {"weights": "weights.pth", "on": {"digits": {"freeze": "backbone"}}},
            r"models.tuned: on: freeze is of the whole model \(got 'backbone'\); write another model for this dataset",
        ),
        ({"freeze": "stem"}, r"models.tuned.*freeze: must be 'backbone' \(got 'stem'\)"),
        ({"pretrained": True}, r"pretrained is not an option .*; write weights: default"),
        ({"mean": [0.5], "std": [0.5]}, r"models.tuned: mean and std are those by which .*; add weights, or leave out"),
        ({"weights": "weights.pth", "mean": [0.5]}, r"models.tuned: mean and std must have .* \(got 1 and 0 numbers\)"),
        (
            {"weights": "weights.pth", "mean": [0, 0], "std": [1, 1]},
            r"for each channel, 1 or 3 \(got 2 and 2",
        ),
        (
            {"weights": "weights.pth", "mean": [124], "std": [0.2]},
            r"models.tuned.mean.*: must be at most 1 \(got 1",
        ),
        (
            {"weights": "weights.pth", "on": {"digits": {"mean": [0.5]}}},
            r"models.tuned: on: mean is of the whole model \(got \[0.5\]\); write another model for this dataset",
        ),
    ],
)
def test_weights_that_cannot_be_are_refused(options, text, load):
    with pytest.raises(UserError, match=text):
        load(**options)


def test_a_network_without_published_weights_is_refused_with_the_key(load):
    name = "timm/vit_giant_patch16_gap_224"  # an address, but no hash
    config = load(architecture=name, weights="default")
    with pytest.raises(UserError, match=rf"config.yaml: weights: default: {name}: timm gives no hash"):
        config.experiments()


def test_what_a_library_publishes_is_fetched_first(load, root, monkeypatch):
    half = (0.5, 0.5, 0.5)
    known = _published.Published(RESNET, "V1", "r-12345678.pth", "", "", "12345678", half, half, 224)
    monkeypatch.setattr("deepnets.models._published.published", lambda name: known)
    config = load(weights="default")
    spec = spec_of(config)
    assert spec["weights"] == {"published": RESNET, "name": "V1", "file": "r-12345678.pth"}
    assert spec["model"]["resize"] == 224
    [tuned] = config.experiments()
    folder = "data/_weights/torchvision/resnet18"
    assert (start_weights(tuned), start_records(tuned)) == (
        [f"{folder}/weights.safetensors"],
        [f"{folder}/weights.json"],
    )
    jobs = Jobs(config, root)
    fetch = Job("fetch_weights", {"library": "torchvision", "network": "resnet18"})
    assert fetch in list(jobs.of_study())
    assert jobs.settings(fetch.stage, fetch.wildcards) == {"spec": known.spec}
