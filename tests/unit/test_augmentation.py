"""Batched augmentation against slow loops over images and pixels; its draws: range, chance, repeatability."""

import math

import numpy as np
import pytest
import torch

from deepnets.config.recipe import Augment
from deepnets.training.augmentation import (
    Augmentation,
    affine_by,
    box_mask,
    crop_at,
    draw_affine,
    draw_boxes,
    draw_coins,
    draw_erasing,
    draw_offsets,
    erase_boxes,
    flip_where,
    mix_with_neighbour,
    paste_from_neighbour,
)

CPU = torch.device("cpu")
EVERYTHING = {"crop_padding": 2, "rotation": 20, "scale": 0.2, "translate": 0.1, "shear": 10}
EVERYTHING |= {"cutout": 3, "random_erasing": 0.5, "mixup": 1, "cutmix": 1}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=[1, 3], ids=["gray", "colour"])
def images(request) -> torch.Tensor:
    """uint8 (5, C, 6, 8), in the memory order in which batches come out of a dataset."""
    return torch.randint(256, (5, 6, 8, request.param), dtype=torch.uint8, generator=seeded()).permute(0, 3, 1, 2)


def augmentation(may_flip: bool = False, channels: int = 1, mean: float = 0.5, std: float = 0.25, **augment):
    augment = Augment(**{"horizontal_flip": False, **augment})
    return Augmentation(augment, may_flip, [mean] * channels, [std] * channels, CPU)


def keeping_raw_values(**augment) -> Augmentation:
    """An augmentation whose normalisation is the identity, so that pixels can be recognised."""
    return augmentation(mean=0.0, std=1 / 255, **augment)


def square(n: int = 8, channels: int = 1, side: int = 10, seed: int = 0) -> torch.Tensor:
    return torch.randint(256, (n, channels, side, side), dtype=torch.uint8, generator=seeded(seed))


# -- deeds, against loops --------------------------------------------------------------------------------------------


def test_crop_equals_a_loop_over_padded_images(images):
    offsets = draw_offsets(5, 2, seeded())
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)))
    loop = [p[:, y : y + 6, x : x + 8] for p, (y, x) in zip(padded, offsets.tolist(), strict=True)]
    np.testing.assert_array_equal(crop_at(images, offsets, 2), np.stack(loop))


def test_crop_in_the_middle_changes_nothing(images):
    assert torch.equal(crop_at(images, torch.full((5, 2), 3), padding=3), images)


def test_crop_keeps_type_and_channels_last_memory(images):
    cropped = crop_at(images, draw_offsets(5, 2, seeded()), 2)
    assert (cropped.shape, cropped.dtype) == (images.shape, torch.uint8)
    assert cropped.is_contiguous(memory_format=torch.channels_last)


def test_flip_equals_a_loop(images):
    coins = torch.tensor([True, False, True, True, False])
    loop = [image[:, :, ::-1] if coin else image for image, coin in zip(images.numpy(), coins, strict=True)]
    np.testing.assert_array_equal(flip_where(images, coins), np.stack(loop))


def bilinear(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Warp one image (C, H, W), pixel by pixel; both axes run from -1 to 1 between the image's outer edges."""
    _, height, width = image.shape
    warped = np.zeros(image.shape)
    for row, column in np.ndindex(height, width):
        x, y = matrix @ [(2 * column + 1) / width - 1, (2 * row + 1) / height - 1, 1]
        source_column, source_row = ((x + 1) * width - 1) / 2, ((y + 1) * height - 1) / 2
        left, top = math.floor(source_column), math.floor(source_row)
        for r, c in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
            if 0 <= r < height and 0 <= c < width:
                share = (1 - abs(source_row - r)) * (1 - abs(source_column - c))
                warped[:, row, column] += share * image[:, r, c]
    return warped


def test_affine_equals_bilinear_interpolation_pixel_by_pixel(images):
    matrices = draw_affine(5, Augment(rotation=40, scale=0.3, translate=0.2, shear=20), seeded())
    loop = [bilinear(image, matrix) for image, matrix in zip(images.double().numpy(), matrices.numpy(), strict=True)]
    np.testing.assert_allclose(affine_by(images.float(), matrices), np.stack(loop), atol=0.01)


def test_affine_by_a_quarter_turn_rotates_the_image():
    image = square(n=1).float()
    quarter = torch.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]])
    torch.testing.assert_close(affine_by(image, quarter), image.rot90(1, (2, 3)), atol=0.01, rtol=0)


def test_affine_without_change_returns_the_image(images):
    identity = draw_affine(5, Augment(), seeded())
    torch.testing.assert_close(affine_by(images.float(), identity), images.float(), atol=0.01, rtol=0)


def test_boxes_are_erased_as_in_a_loop(images):
    boxes = draw_boxes(5, torch.full((5,), 4), torch.full((5,), 3), (6, 8), seeded())
    loop = images.float().numpy().copy()
    for image, (top, bottom, left, right) in zip(loop, boxes.tolist(), strict=True):
        image[:, top:bottom, left:right] = 0
    np.testing.assert_array_equal(erase_boxes(images.float(), boxes), loop)


def test_an_empty_box_erases_nothing(images):
    assert torch.equal(erase_boxes(images, torch.tensor([[2, 2, 3, 3]] * 5)), images)


def test_mixup_equals_a_loop(images):
    values = images.float()
    loop = [0.3 * values[i] + 0.7 * values[i - 1] for i in range(5)]  # the first is mixed with the last
    torch.testing.assert_close(mix_with_neighbour(values, 0.3), torch.stack(loop))


def test_cutmix_equals_a_loop(images):
    boxes = draw_boxes(5, torch.full((5,), 4), torch.full((5,), 3), (6, 8), seeded())
    loop = images.numpy().copy()
    for i, (top, bottom, left, right) in enumerate(boxes.tolist()):
        loop[i, :, top:bottom, left:right] = images[i - 1, :, top:bottom, left:right]
    np.testing.assert_array_equal(paste_from_neighbour(images, boxes), loop)


# -- draws -----------------------------------------------------------------------------------------------------------


def test_offsets_reach_every_shift_and_no_further():
    assert draw_offsets(500, 2, seeded()).unique().tolist() == [0, 1, 2, 3, 4]


def test_coins_fall_with_their_probability():
    assert draw_coins(10_000, 0.3, seeded()).float().mean().item() == pytest.approx(0.3, abs=0.02)


def test_affine_is_a_rotation_of_a_shear_of_a_scaling_within_the_limits():
    matrices = draw_affine(2000, Augment(rotation=30, scale=0.2, translate=0.1, shear=15), seeded()).double()
    linear, shift = matrices[:, :, :2], matrices[:, :, 2]
    angle, zoom = torch.atan2(linear[:, 1, 0], linear[:, 0, 0]), linear[:, :, 0].norm(dim=1)
    back = torch.stack([torch.stack([angle.cos(), angle.sin()], 1), torch.stack([-angle.sin(), angle.cos()], 1)], 1)
    rest = back @ linear / zoom[:, None, None]  # [[1, tan(shear)], [0, 1]]
    torch.testing.assert_close(rest[:, 1], torch.tensor([[0.0, 1.0]]).double().expand(2000, 2), atol=1e-5, rtol=0)
    limits = [(angle, math.radians(30)), (rest[:, 0, 1].atan(), math.radians(15))]
    limits += [(axis / 2, 0.1) for axis in shift.unbind(1)]  # a side is 2 long
    for values, limit in limits:
        assert 0.95 * limit < values.max() < 1.0001 * limit
        assert -1.0001 * limit < values.min() < -0.95 * limit
    assert 0.8 - 1e-4 < (1 / zoom).min() < 0.82  # the object's size
    assert 1.18 < (1 / zoom).max() < 1.2 + 1e-4


def test_boxes_lie_in_the_image_and_are_whole_away_from_its_border():
    heights, widths = torch.full((1000,), 4), torch.full((1000,), 3)
    top, bottom, left, right = draw_boxes(1000, heights, widths, (6, 8), seeded()).unbind(1)
    assert top.min() == left.min() == 0
    assert (bottom.max(), right.max()) == (6, 8)
    assert ((bottom - top)[(top > 0) & (bottom < 6)] == 4).all()
    assert ((right - left)[(left > 0) & (right < 8)] == 3).all()
    assert (bottom > top).all()
    assert (right > left).all()


def test_box_mask_counts_the_pixels_of_each_box():
    boxes = torch.tensor([[0, 2, 1, 4], [3, 3, 0, 8], [0, 6, 0, 8]])
    assert box_mask(boxes, 6, 8).sum(dim=(1, 2, 3)).tolist() == [6, 0, 48]


def test_random_erasing_takes_areas_and_shapes_of_torchvision():
    top, bottom, left, right = draw_erasing(3000, 1.0, (1000, 1000), seeded()).unbind(1)
    whole = (top > 0) & (bottom < 1000) & (left > 0) & (right < 1000)  # not cut at the border
    height, width = (bottom - top)[whole].double(), (right - left)[whole].double()
    area, ratio = height * width / 1e6, height / width
    assert 0.0195 < area.min() < 0.03
    assert 0.25 < area.max() < 0.3305
    assert 0.3 < ratio.min() < 0.35
    assert 2.9 < ratio.max() < 3.35


def test_random_erasing_leaves_images_alone_if_the_coin_decides_so():
    top, bottom, _, _ = draw_erasing(3000, 0.25, (32, 32), seeded()).unbind(1)
    assert (bottom > top).float().mean().item() == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    "draw",
    [
        lambda generator: draw_offsets(50, 3, generator),
        lambda generator: draw_coins(50, 0.5, generator),
        lambda generator: draw_affine(50, Augment(rotation=10, scale=0.1), generator),
        lambda generator: draw_erasing(50, 0.5, (9, 9), generator),
    ],
    ids=["offsets", "coins", "affine", "erasing"],
)
def test_draws_follow_their_generator_alone(draw):
    outside = torch.get_rng_state()
    assert torch.equal(draw(seeded(1)), draw(seeded(1)))
    assert not torch.equal(draw(seeded(1)), draw(seeded(2)))
    assert torch.equal(torch.get_rng_state(), outside)


# -- the recipe's augmentation as a whole ----------------------------------------------------------------------------


def test_normalised_images_have_mean_zero_and_standard_deviation_one():
    images = square(n=50, channels=3)
    shares = images.double() / 255
    mean, std = shares.mean(dim=(0, 2, 3)), shares.std(dim=(0, 2, 3), correction=0)
    normalised = Augmentation(Augment(), False, mean.tolist(), std.tolist(), CPU).normalise(images)
    torch.testing.assert_close(normalised.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalised.std(dim=(0, 2, 3), correction=0), torch.ones(3))


def test_without_any_augmentation_a_batch_is_only_normalised():
    batch = augmentation()(square(), torch.arange(8), seeded())
    torch.testing.assert_close(batch.images, (square() / 255 - 0.5) / 0.25)
    assert torch.equal(batch.labels, torch.arange(8))
    assert batch.other_labels is None
    assert batch.weight is None


@pytest.mark.parametrize(("asked", "allowed"), [(True, False), (False, True)])
def test_images_are_mirrored_only_where_recipe_and_dataset_agree(asked, allowed):
    augment = augmentation(may_flip=allowed, horizontal_flip=asked)
    assert torch.equal(augment(square(64), torch.zeros(64).long(), seeded()).images, augment.normalise(square(64)))


def test_half_of_the_images_are_mirrored():
    augment = augmentation(may_flip=True, horizontal_flip=True)
    plain = augment.normalise(square(200))
    flipped = (augment(square(200), torch.zeros(200).long(), seeded()).images != plain).flatten(1).any(1)
    assert 70 < flipped.sum() < 130
    assert torch.equal(augment(square(200), torch.zeros(200).long(), seeded()).images[flipped], plain.flip(-1)[flipped])


@pytest.mark.parametrize("shift", [{"crop_padding": 4}, {"translate": 0.4}])
def test_pixels_from_outside_the_image_are_black(shift):
    white = torch.full((20, 1, 10, 10), 255, dtype=torch.uint8)
    values = augmentation(**shift)(white, torch.zeros(20).long(), seeded()).images
    assert values.min().item() == pytest.approx((0 - 0.5) / 0.25)
    assert values.max().item() == pytest.approx((1 - 0.5) / 0.25)


def test_cutout_is_a_square_of_the_mean():
    white = torch.full((200, 1, 10, 10), 255, dtype=torch.uint8)
    holes = (augmentation(cutout=4)(white, torch.zeros(200).long(), seeded()).images == 0).sum(dim=(1, 2, 3))
    assert holes.max() == 16
    assert holes.min() == 4  # a corner's share: the centre is always inside the image


def test_random_erasing_fills_with_the_mean():
    white = torch.full((200, 1, 10, 10), 255, dtype=torch.uint8)
    images = augmentation(random_erasing=0.5)(white, torch.zeros(200).long(), seeded()).images
    assert images.unique().tolist() == [0, pytest.approx(2)]
    assert 70 < (images == 0).flatten(1).any(1).sum() < 130


def test_mixup_weighs_images_and_labels_alike():
    batch = augmentation(mixup=1)(square(), torch.arange(8), seeded())
    plain, weight = augmentation().normalise(square()), batch.weight[:, None, None, None]
    torch.testing.assert_close(batch.images, weight * plain + (1 - weight) * plain.roll(1, 0))
    assert batch.other_labels.tolist() == [7, 0, 1, 2, 3, 4, 5, 6]
    assert 0 < batch.weight.unique().item() < 1


@pytest.mark.parametrize("seed", range(8))
def test_cutmix_weighs_labels_by_the_pixels_left_after_clipping(seed):
    numbers = torch.arange(32)
    images = numbers.to(torch.uint8)[:, None, None, None].expand(-1, 1, 10, 10)  # image i is all i
    batch = keeping_raw_values(cutmix=1)(images, numbers, seeded(seed))
    own = (batch.images.round() == numbers[:, None, None, None]).float().mean(dim=(1, 2, 3))
    others = (batch.images.round() == batch.other_labels[:, None, None, None]).float().mean(dim=(1, 2, 3))
    torch.testing.assert_close(batch.weight, own)
    torch.testing.assert_close(own + others, torch.ones(32))


def test_cutmix_boxes_cover_the_drawn_share_of_the_image():
    numbers = torch.arange(200)
    images = numbers.to(torch.uint8)[:, None, None, None].expand(-1, 1, 50, 50)
    pasted = 1 - keeping_raw_values(cutmix=100)(images, numbers, seeded()).weight  # so large an alpha always says half
    assert pasted.max().item() == pytest.approx(0.5, abs=0.02)  # where nothing is clipped


def test_mixup_and_cutmix_take_turns():
    batches = [keeping_raw_values(mixup=1, cutmix=1)(square(), torch.arange(8), seeded(seed)) for seed in range(40)]
    mixed = [bool((batch.images != batch.images.round()).any()) for batch in batches]
    assert 10 < sum(mixed) < 30
    assert all(batch.weight is not None for batch in batches)


@pytest.mark.parametrize("mix", [{}, {"mixup": 0}, {"cutmix": 0}], ids=["either", "cutmix", "mixup"])
def test_everything_at_once_keeps_shape_and_leaves_its_inputs_alone(mix):
    images, labels = square(channels=3), torch.arange(8)
    batch = augmentation(True, 3, **(EVERYTHING | mix), horizontal_flip=True)(images, labels, seeded())
    assert (batch.images.shape, batch.images.dtype) == (images.shape, torch.float32)
    assert torch.equal(images, square(channels=3))
    assert torch.equal(labels, torch.arange(8))
    assert batch.images.isfinite().all()


def test_equal_seeds_give_equal_batches_whatever_the_global_generator_holds():
    augment = augmentation(True, **EVERYTHING, horizontal_flip=True)
    first = augment(square(), torch.arange(8), seeded(5))
    torch.manual_seed(99)
    np.random.seed(99)
    again, other = augment(square(), torch.arange(8), seeded(5)), augment(square(), torch.arange(8), seeded(6))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.images, other.images)


def test_an_image_is_augmented_alone():
    """What an image becomes depends on its place in the batch, not on the other images, as long as none are mixed."""
    augment = augmentation(True, **(EVERYTHING | {"mixup": 0, "cutmix": 0}), horizontal_flip=True)
    images = square()
    others = torch.cat([images[:4], square(4, seed=1)])
    one, two = (augment(batch, torch.arange(8), seeded()).images for batch in (images, others))
    assert torch.equal(one[:4], two[:4])
