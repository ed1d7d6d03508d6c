"""Weights that a library publishes are taken from a mirror or an address, and only with the right hash."""

import hashlib
import io
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import timm
import torch

from deepnets.config.loader import load_config
from deepnets.models import _published
from deepnets.models._published import Published, published
from deepnets.planning.jobs import Jobs
from deepnets.training import fetch_weights as stage
from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json, sha256_file
from deepnets.utils.tensors import load_tensors, save_tensors

NAME = "torchvision/shufflenet_v2_x0_5"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A mirror with a stand-in of a published file, which the library is made to name; returns its start of a hash."""
    folder = tmp_path / "mirror/torchvision"
    folder.mkdir(parents=True)
    torch.save({"fc.weight": torch.ones(2)}, folder / "file.pth")
    start = sha256_file(folder / "file.pth")[:8]
    monkeypatch.setenv("DEEPNETS_MIRROR", str(tmp_path / "mirror"))
    known = Published(NAME, "V1", "file.pth", "", "", start, *IMAGENET, 224)
    monkeypatch.setattr(stage, "published", lambda name: known)
    return folder / "file.pth", known


def fetch(folder, spec):
    stage.fetch_weights(spec, folder / "weights.json", folder / "weights.safetensors")


def test_weights_of_the_mirror_are_kept_with_what_is_known_of_them(mirror, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    fetch(folder, mirror[1].spec)
    tensors, texts = load_tensors(folder / "weights.safetensors")
    assert torch.equal(tensors["fc.weight"], torch.ones(2))
    about = read_json(folder / "weights.json")
    assert about["sha256"] == sha256_file(mirror[0])
    assert about["mean"] == [0.485, 0.456, 0.406]
    assert about["input_shape"] == [3, 224, 224]
    assert texts["std"] == "[0.229,0.224,0.225]"


def test_a_file_with_another_hash_is_refused_and_removed(mirror, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    torch.save({"fc.weight": torch.zeros(2)}, mirror[0])
    with pytest.raises(UserError, match=r"file.pth: wrong hash: sha256 is .*, expected to start with .*mirror"):
        fetch(folder, mirror[1].spec)
    assert not (folder / "file.pth").exists()
    assert not (folder / "weights.safetensors").exists()


def test_weights_without_a_mirror_ask_for_one(mirror, tmp_path, monkeypatch):
    monkeypatch.delenv("DEEPNETS_MIRROR")
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(UserError, match="DEEPNETS_MIRROR"):
        fetch(folder, mirror[1].spec)


@pytest.fixture
def served(server, monkeypatch):
    """Let the server have a stand-in of a published file; returns the server and the SHA-256 of the file."""
    file = io.BytesIO()
    torch.save(timm.create_model("test_resnet").state_dict(), file)
    monkeypatch.setattr("download_server.CONTENT", file.getvalue())
    return server, hashlib.sha256(file.getvalue()).hexdigest()


def test_downloaded_weights_are_kept_only_if_their_hash_starts_as_published(served, tmp_path, monkeypatch):
    server, sha256 = served
    known = Published(NAME, "V1", "file.pth", f"{server.url}/file.pth", "", sha256[:8], *IMAGENET, 224)
    monkeypatch.setattr(stage, "published", lambda name: known)
    fetch(tmp_path, known.spec)
    assert server.requests == [("/file.pth", None)]
    assert "fc.weight" in load_tensors(tmp_path / "weights.safetensors")[0]
    assert read_json(tmp_path / "weights.json")["sha256"] == sha256
    wrong = replace(known, sha256_start="00000000")
    monkeypatch.setattr(stage, "published", lambda name: wrong)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(UserError, match=f"wrong hash: sha256 is {sha256}, expected to start with 00000000"):
        fetch(other, wrong.spec)
    assert len(server.requests) == 2
    assert not list(other.glob("[!.]*"))


def test_a_download_of_the_hub_is_kept_only_with_the_hash_that_the_hub_names(served, tmp_path, monkeypatch):
    server, sha256 = served
    known = Published("timm/test_resnet", "V1", "own.name.bin", "", "timm/r:model.bin", "", *IMAGENET, 160)
    monkeypatch.setattr(stage, "published", lambda name: known)
    monkeypatch.setattr("timm.models._hub.HfApi", lambda: SimpleNamespace(endpoint=server.url))
    let_the_hub_name(monkeypatch, "model.bin", "0" * 64)
    with pytest.raises(UserError, match=rf"/abc/model\.bin: wrong hash: sha256 is {sha256}, expected 0+\)"):
        fetch(tmp_path, known.spec)
    assert not list(tmp_path.glob("[!.]*"))
    let_the_hub_name(monkeypatch, "model.bin", sha256)
    fetch(tmp_path, known.spec)
    assert read_json(tmp_path / "weights.json")["sha256"] == sha256
    assert [path for path, _ in server.requests] == ["/timm/r/resolve/abc/model.bin"] * 2


def let_the_hub_name(monkeypatch, file: str, sha256: str) -> None:
    """Let the model hub answer that a repository has one file with this hash, at the revision abc."""
    listed = SimpleNamespace(rfilename=file, lfs=SimpleNamespace(sha256=sha256))
    answer = SimpleNamespace(siblings=[listed], sha="abc")
    monkeypatch.setattr("timm.models._hub.model_info", lambda repository, files_metadata: answer)


def test_without_internet_the_message_says_which_file_of_the_hub_to_put_where(tmp_path, monkeypatch):
    def no_answer(repository, files_metadata):
        raise ConnectionError("no route to host")

    known = Published("timm/test_resnet", "V1", "own.name.safetensors", "", "timm/r:model.x", "", *IMAGENET, 160)
    monkeypatch.setattr(stage, "published", lambda name: known)
    monkeypatch.setattr("timm.models._hub.model_info", no_answer)
    monkeypatch.delenv("DEEPNETS_MIRROR", raising=False)
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(UserError) as refusal:
        fetch(folder, known.spec)
    message = str(refusal.value)
    assert "the model hub did not name model.x (ConnectionError: no route to host)" in message
    assert re.search(r"download https://\S+/timm/r/resolve/main/model\.x,", message)
    name = re.search(r"put it here as <folder>/(\S+) and set DEEPNETS_MIRROR=<folder>", message)[1]
    place = tmp_path / "mirror" / name
    place.parent.mkdir(parents=True)
    save_tensors(place, timm.create_model("test_resnet").state_dict(), {})
    monkeypatch.setenv("DEEPNETS_MIRROR", str(tmp_path / "mirror"))
    fetch(folder, known.spec)
    assert (folder / "weights.safetensors").exists()


def test_its_code_is_not_that_of_the_report(root):
    jobs = Jobs(load_config(root / "config.yaml"), root)
    code = json.loads(jobs.fingerprint("fetch_weights", {"library": "torchvision", "network": "resnet18"}))["code"]
    assert "scripts/deepnets/models/_published.py" in code
    assert "scripts/deepnets/data/duplicates.py" not in code


def test_what_torchvision_publishes_is_read_from_it():
    found = published(NAME)
    assert found.file.endswith(f"-{found.sha256_start}.pth")
    assert len(found.sha256_start) >= 8
    assert (found.mean, found.std, found.size) == (*IMAGENET, 224)
    assert published("torchvision/inception_v3").mean == (0.5, 0.5, 0.5)  # images are normalised again inside


def test_what_timm_publishes_has_a_hash_in_its_name_or_is_asked_of_the_hub(monkeypatch):
    found = published("timm/resnet18")
    assert (found.url.rpartition("/")[2], found.hub) == (found.file, "")
    none = next(name for name in timm.list_models() if not timm.models.get_pretrained_cfg(name).has_weights)
    with pytest.raises(UserError, match="timm publishes no weights of this network"):
        published(f"timm/{none}")
    with pytest.raises(UserError, match="timm gives no hash of its weights, so they are not downloaded"):
        published("timm/vit_giant_patch16_gap_224")
    on_hub = published("timm/vit_tiny_patch16_224")
    assert on_hub.hub == f"timm/{on_hub.name}:model.safetensors"
    assert on_hub.mean == (0.5, 0.5, 0.5)
    let_the_hub_name(monkeypatch, "model.safetensors", "ab" * 32)
    url, sha256 = _published.ask_hub(on_hub.hub)
    assert url.endswith(f"/timm/{on_hub.name}/resolve/abc/model.safetensors")
    assert sha256 == "ab" * 32


def test_a_tag_chooses_weights_of_timm():
    assert published("timm/resnet18.a1_in1k").name == published("timm/resnet18").name == "resnet18.a1_in1k"
    other = published("timm/resnet18.tv_in1k")
    assert (other.name, other.spec["published"]) == ("resnet18.tv_in1k", "timm/resnet18.tv_in1k")
    assert other.file != published("timm/resnet18").file
    with pytest.raises(UserError, match=r"timm/resnet18.new: Invalid pretrained tag .*; give the tag of other weights"):
        published("timm/resnet18.new")


def test_names_of_an_older_densenet_become_those_of_the_installed_one(tmp_path):
    torch.save({"features.denseblock1.denselayer1.norm.1.weight": torch.ones(1)}, tmp_path / "a.pth")
    weights = Published("torchvision/densenet121", "V1", "a.pth", "", "", "", *IMAGENET, 224)
    assert list(_published.tensors_of(weights, tmp_path / "a.pth")) == ["features.denseblock1.denselayer1.norm1.weight"]


def test_what_timm_publishes_is_read_without_running_code_and_renamed_by_timm(tmp_path):
    weights = Published("timm/test_resnet", "V1", "a.pth", "", "", "", *IMAGENET, 160)
    made = timm.create_model("test_resnet").state_dict()
    torch.save({"model": made}, tmp_path / "a.pth")
    found = _published.tensors_of(weights, tmp_path / "a.pth")
    assert all(torch.equal(found[name], tensor) for name, tensor in made.items())
    torch.save({"layer.weight": torch.ones(1)}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a.pth: timm cannot load it into test_resnet \(.*\); delete it"):
        _published.tensors_of(weights, tmp_path / "a.pth")
    torch.save({"model": Bomb()}, tmp_path / "a.pth")
    with pytest.raises(UserError, match="only tensors are"):
        _published.tensors_of(weights, tmp_path / "a.pth")


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('the code of a pickle was run')",)
