"""Files of tensors are whole and repeatable; resume states survive damage, full disks and strangers."""

import errno
import hashlib
import re
from pathlib import Path

import pytest
import safetensors.torch
import torch

from deepnets.training import checkpoints as checkpoints_module
from deepnets.training.checkpoints import CheckpointDir
from deepnets.utils.errors import UserError
from deepnets.utils.files import canonical_json
from deepnets.utils.tensors import load_tensors, save_tensors

METADATA = {letter: letter * 9 for letter in "zyxwvutsrq"}
PROGRESS = {"epoch": 2, "history": [{"b": 0.1, "a": 1e-17}], "none": None}


def tensors(value: float = 1.0) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((3, 2), value), "count": torch.tensor(7), "half": torch.ones(3, dtype=torch.bfloat16)}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# -- files of tensors ------------------------------------------------------------------------------------------------


def test_safetensors_itself_writes_metadata_in_random_order(tmp_path):
    """Why save_tensors sorts: should this fail one day, the sorting can go."""
    seen = set()
    for _ in range(20):
        safetensors.torch.save_file(tensors(), tmp_path / "a", METADATA)
        seen.add(sha256(tmp_path / "a"))
    assert len(seen) > 1


def test_same_tensors_make_the_same_bytes(tmp_path):
    seen = set()
    for _ in range(20):
        save_tensors(tmp_path / "a.safetensors", tensors(), METADATA)
        seen.add(sha256(tmp_path / "a.safetensors"))
    assert len(seen) == 1


@pytest.mark.parametrize("metadata", [{}, METADATA, {"text": 'ü "\\\n\t\x01\x7f 日本 😀', "json": {"b": [1, None]}}])
def test_tensors_and_metadata_come_back(tmp_path, metadata):
    save_tensors(tmp_path / "a.safetensors", tensors(), metadata)
    loaded, texts = load_tensors(tmp_path / "a.safetensors")
    assert loaded.keys() == tensors().keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors().items())
    assert texts == {key: text if isinstance(text, str) else canonical_json(text) for key, text in metadata.items()}


def test_tensors_come_back_whatever_their_memory_order(tmp_path):
    weight = torch.randn(4, 3, 5, 5)
    save_tensors(tmp_path / "a.safetensors", {"w": weight.to(memory_format=torch.channels_last)}, {"a": "b"})
    save_tensors(tmp_path / "b.safetensors", {"w": weight}, {"a": "b"})
    assert torch.equal(load_tensors(tmp_path / "a.safetensors")[0]["w"], weight)
    assert sha256(tmp_path / "a.safetensors") == sha256(tmp_path / "b.safetensors")


@pytest.mark.parametrize(
    "damage",
    [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b[:5], lambda b: b"\xff" * len(b), lambda b: b + b"x"],
    ids=["empty", "truncated", "a-stub", "overwritten", "too-long"],
)
def test_damaged_file_is_one_clear_line(tmp_path, damage):
    path = tmp_path / "model.safetensors"
    save_tensors(path, tensors(), METADATA)
    path.write_bytes(damage(path.read_bytes()))
    message = r"^.*model\.safetensors: damaged .*; delete it\.$"
    with pytest.raises(UserError, match=message):
        load_tensors(path)


def test_missing_file_says_how_to_rebuild_it(tmp_path):
    with pytest.raises(UserError, match=r"no\.safetensors: the file is missing"):
        load_tensors(tmp_path / "no.safetensors")


def test_failed_write_leaves_the_old_file(tmp_path, full_disk):
    save_tensors(tmp_path / "a.safetensors", tensors(), METADATA)
    before = sha256(tmp_path / "a.safetensors")
    full_disk("save_file")
    with pytest.raises(OSError, match="No space left"):
        save_tensors(tmp_path / "a.safetensors", tensors(2), METADATA)
    assert sha256(tmp_path / "a.safetensors") == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_no_pickle_is_ever_read_or_written_but_cifars(root):
    only_tensors = r"torch\.load\(file, map_location=\"cpu\", weights_only=True\)"  # runs no code of a pickle
    readers = rf"(?!{only_tensors})torch\.(load|save)\((?!network\.state_dict\(\), \.\.\.)|\bpickle\.|allow_pickle=True"
    pickles = re.compile(rf"{readers}|from joblib|\bjoblib\.(?!Parallel\b|delayed\b)")  # those two touch no file
    users = {path.name for path in (root / "scripts").rglob("*.py") if pickles.search(path.read_text())}
    assert users <= {"torchvision.py"}  # CIFAR's official files, after their hash is right, by a reader of bytes alone


# -- resume states ---------------------------------------------------------------------------------------------------


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def states(tmp_path, said) -> CheckpointDir:
    return CheckpointDir(tmp_path / ".resume", "key", said.append)


@pytest.fixture
def two(states) -> CheckpointDir:
    """States at steps 9 and 10, whose weights are their steps."""
    states.save(9, tensors(9), PROGRESS | {"step": 9})
    states.save(10, tensors(10), PROGRESS | {"step": 10})
    return states


@pytest.fixture
def full_disk(monkeypatch):
    """`full_disk("write_json")`: from now on this function of checkpoint.py meets a full disk."""

    def fill(function: str) -> None:
        def fail(*_args):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(safetensors.torch if function == "save_file" else checkpoints_module, function, fail)

    return fill


def step_loaded(states: CheckpointDir) -> int | None:
    found = states.load()
    if found is None:
        return None
    assert torch.equal(found[0]["weight"], tensors(found[1]["step"])["weight"])
    return found[1]["step"]


def file_names(states: CheckpointDir) -> list[str]:
    return sorted(path.name for path in states.folder.iterdir())


def test_nothing_saved_is_nothing_loaded(states, said):
    assert states.load() is None
    assert said == []


def test_state_comes_back_with_its_progress(states):
    states.save(3, tensors(), PROGRESS)
    loaded, progress = states.load()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors().items())
    assert progress == PROGRESS
    assert list(progress["history"][0]) == ["b", "a"]  # in the order of history.csv


def test_newest_state_is_the_one_of_the_largest_number(two):
    assert step_loaded(two) == 10  # as text, 9 would be


def test_two_newest_states_are_kept(two):
    two.save(11, tensors(11), PROGRESS | {"step": 11})
    assert file_names(two) == [f"state-{step}.{end}" for step in (10, 11) for end in ("json", "safetensors")]


def flip_bit(data: bytes, byte: int) -> bytes:
    return data[:byte] + bytes([data[byte] ^ 1]) + data[byte + 1 :]


@pytest.mark.parametrize("file", ["state-10.safetensors", "state-10.json"])
@pytest.mark.parametrize(
    "damage",
    [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: flip_bit(b, len(b) // 2), lambda b: b"null", None],
    ids=["empty", "truncated", "bit-flipped", "null", "missing"],
)
def test_damaged_state_is_skipped_and_the_one_before_is_loaded(two, said, file, damage):
    path = two.folder / file
    data = path.read_bytes()
    path.unlink()
    if damage:
        path.write_bytes(damage(data))
    assert step_loaded(two) == 9
    marker_is_gone = file.endswith("json") and damage is None
    assert [line for line in said if "state-10" in line and "trying the one before" in line] or marker_is_gone


def test_no_single_flipped_bit_goes_unnoticed(two):
    """A bit is flipped in each byte in turn: either the state is skipped, or the loaded values are the saved ones."""
    expected = two.load()
    for path in two.folder.glob("state-10.*"):
        data = path.read_bytes()
        for byte in range(len(data)):
            path.write_bytes(flip_bit(data, byte))
            loaded, progress = two.load()
            assert progress["step"] == 9 or progress == expected[1], f"byte {byte} of {path.name}"
            assert progress["step"] == 9 or torch.equal(loaded["weight"], expected[0]["weight"])
        path.write_bytes(data)


def test_state_of_another_configuration_is_refused(two, said):
    stranger = CheckpointDir(two.folder, "another key", said.append)
    assert stranger.load() is None
    assert len(said) == 2
    assert "written by another configuration" in said[0]


def test_states_of_another_configuration_do_not_crowd_out_new_ones(two, said):
    """A training run that was stopped late, then changed, starts at small steps again."""
    changed = CheckpointDir(two.folder, "another key", said.append)
    for step in (1, 2, 3):
        changed.save(step, tensors(step), {"step": step})
        assert step_loaded(changed) == step
    assert file_names(changed) == [f"state-{step}.{end}" for step in (2, 3) for end in ("json", "safetensors")]


def test_leftovers_of_a_killed_save_are_swept_away(two):
    for name in (".state-11-abc.safetensors", "state-11.safetensors", ".state-11-def.json"):
        (two.folder / name).write_bytes(b"half")
    two.save(12, tensors(12), PROGRESS | {"step": 12})
    assert file_names(two) == [f"state-{step}.{end}" for step in (10, 12) for end in ("json", "safetensors")]


@pytest.mark.parametrize("function", ["save_file", "write_json"])
def test_full_disk_leaves_the_old_states_and_is_reported(two, said, full_disk, function):
    full_disk(function)
    two.save(11, tensors(11), PROGRESS | {"step": 11})
    assert "could not save the state" in said[0]
    assert "No space left on device" in said[0]
    assert step_loaded(two) == 10


@pytest.mark.parametrize("function", ["save_file", "write_json"])
def test_killed_save_leaves_the_old_states(two, said, monkeypatch, function):
    def killed(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(safetensors.torch if function == "save_file" else checkpoints_module, function, killed)
    with pytest.raises(KeyboardInterrupt):
        two.save(11, tensors(11), PROGRESS)
    assert step_loaded(two) == 10
    assert said == []


def test_folder_that_cannot_be_made_is_reported_and_training_continues(tmp_path, said):
    (tmp_path / "file").touch()
    states = CheckpointDir(tmp_path / "file" / ".resume", "key", said.append)
    states.save(1, tensors(), PROGRESS)
    assert "could not save" in said[0]
    assert states.load() is None
