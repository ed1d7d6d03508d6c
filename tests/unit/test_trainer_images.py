"""Training gets its images from memory, from the disk ahead of time, and on a GPU from pinned memory."""

import itertools

import numpy as np
import pytest
import torch
from small_trainer import CPU, separable, trainer

from deepnets.data.splits import Split


def test_split_gives_images_of_its_rows_channels_first():
    whole = separable()
    images, labels = whole.subset(torch.tensor([5, 3, 8])).get_batch(torch.tensor([2, 0]), CPU)
    assert torch.equal(images, whole.images[[8, 5]].permute(0, 3, 1, 2))
    assert torch.equal(labels, whole.labels[[8, 5]])
    assert torch.equal(whole.subset(torch.tensor([5, 3])).all_labels(), whole.labels[[5, 3]])
    assert len(whole.subset(torch.tensor([5, 3]))) == 2


class Pinned(torch.Tensor):
    """Stands in for pinned memory, which needs a GPU."""


def test_images_on_the_host_are_copied_to_a_gpu_from_pinned_memory(monkeypatch):
    copied = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor.as_subclass(Pinned))
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *args, **how: copied.append((type(tensor), how)) or tensor)
    images, labels = separable().get_batch(torch.tensor([2, 0]), torch.device("cuda"))
    assert copied[1:] == [(Pinned, {"non_blocking": True})] * 2
    assert (images.shape, labels.shape) == ((2, 1, 6, 6), (2,))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_images_on_the_host_arrive_whole_on_a_gpu():
    whole, index = separable(), torch.tensor([2, 0])
    images, labels = whole.get_batch(index, torch.device("cuda"))
    assert torch.equal(images.cpu(), whole.images[index].permute(0, 3, 1, 2))
    assert torch.equal(labels.cpu(), whole.labels[index])


@pytest.fixture
def expected(tmp_path, monkeypatch) -> tuple[Split, list[int]]:
    """Return images that training takes for too many for memory, and the list of the rows that are read ahead."""
    whole, rows = separable(), []
    np.save(tmp_path / "images.npy", whole.images.numpy())
    monkeypatch.setattr("deepnets.data.arrays.HASHED_UP_TO", 0)
    monkeypatch.setattr("deepnets.data.splits.read_ahead", lambda images, ahead: rows.extend(ahead.tolist()))
    return Split.of_arrays(np.load(tmp_path / "images.npy", mmap_mode="r"), whole.labels.numpy()), rows


def test_images_on_the_disk_are_read_ahead_by_a_step(expected, checkpoints, monkeypatch):
    whole, rows = expected
    taken, take = [], Split.get_batch
    monkeypatch.setattr(
        Split,
        "get_batch",
        lambda split, index, *more: [taken.append((split.rows[index].tolist(), [*rows])), take(split, index, *more)][1],
    )
    on_disk = trainer(train=whole.subset(torch.arange(34)), validation=whole.subset(torch.arange(34, 40)), epochs=1)
    on_disk.fit(checkpoints)
    assert len(taken) == 3 + 1
    of_training = taken[:3]
    assert all(set(following) <= set(asked) for (_, asked), (following, _) in itertools.pairwise(of_training))
    assert all(set(batch) <= set(asked) for batch, asked in taken)


def test_images_on_the_disk_are_read_ahead_when_batch_statistics_are_collected(expected):
    whole, rows = expected
    one = trainer(train=whole.subset(torch.arange(34)))
    images = [len(batch) for batch in one._clean_batches()]
    assert rows == list(range(sum(images)))


def test_images_on_the_disk_train_to_the_same_weights(expected, fit):
    splits = [images.subset(torch.arange(34)) for images in (separable(), expected[0])]
    (plain, _), (on_disk, _) = (fit(lambda split=split: trainer(train=split)) for split in splits)
    assert all(torch.equal(plain[name], on_disk[name]) for name in plain)


def test_images_in_memory_are_not_read_ahead(monkeypatch, tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((4, 6, 6, 1), np.uint8))
    assert Split.of_arrays(np.load(tmp_path / "images.npy", mmap_mode="r"), np.zeros(4, np.int64)).on_disk is None
