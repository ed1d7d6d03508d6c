"""Corruptions of images: shapes, strengths, draws, and each kind against another implementation."""

import io

import numpy as np
import pytest
import torch
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv
from PIL import Image
from scipy.ndimage import gaussian_filter

from deepnets.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt

DRAWN = {"noise", "shift", "rotation"}
_FIRST, _LAST = slice(None, -1), slice(1, None)  # all but the last, or the first, row or column


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth_images(size: int, channels: int = 3, number: int = 8) -> torch.Tensor:
    """Return images with large and small structures, uint8 (N, C, H, W), in the memory layout of a dataset."""
    noise = np.random.default_rng(0).normal(size=(number, size, size, channels))
    blurred = sum(gaussian_filter(noise, (0, sigma, sigma, 0)) * sigma for sigma in (1, size / 8))
    low, high = blurred.min((1, 2, 3), keepdims=True), blurred.max((1, 2, 3), keepdims=True)
    pixels = (30 + 180 * (blurred - low) / (high - low)).astype(np.uint8)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def applied(kind: str, images: torch.Tensor, strength: float) -> torch.Tensor:
    return CORRUPTIONS[kind].apply(images, strength, generator())


@pytest.mark.parametrize("kind", CORRUPTIONS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 28, 64])
def test_a_corrupted_batch_has_the_shape_of_the_images_and_leaves_them(kind, channels, size):
    images = smooth_images(size, channels, number=3)
    before = images.clone()
    for severity in SEVERITIES:
        corrupted = corrupt(images, kind, severity, generator())
        assert corrupted.dtype == torch.uint8
        assert corrupted.shape == images.shape
        assert not torch.equal(corrupted, images)
    assert torch.equal(images, before)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_the_same_seed_gives_the_same_bytes_and_another_one_draws_again(kind):
    images = smooth_images(32)
    first = corrupt(images, kind, 2, generator())
    assert torch.equal(corrupt(images, kind, 2, generator()), first)
    assert torch.equal(corrupt(images, kind, 2, generator(1)), first) is (kind not in DRAWN)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_network_in_bfloat16_gets_the_same_images(kind):
    images = smooth_images(32)
    with torch.autocast("cpu", torch.bfloat16):
        in_bfloat16 = corrupt(images, kind, 2, generator())
    assert torch.equal(corrupt(images, kind, 2, generator()), in_bfloat16)


@pytest.mark.parametrize("kind", CORRUPTIONS)
@pytest.mark.parametrize("size", [8, 28, 32, 224])
def test_a_higher_severity_changes_images_more(kind, size):
    images = smooth_images(size, number=4)
    batches = [corrupt(images, kind, severity, generator()).double() for severity in SEVERITIES]
    changes = [(batch - images).abs().mean().item() for batch in batches]
    assert changes[0] < changes[1] < changes[2]


def test_strengths_are_those_of_the_paper_at_its_two_sizes_and_between_them_in_between():
    noise, blur, quality = (CORRUPTIONS[kind] for kind in ("noise", "blur", "jpeg"))
    assert [noise.strength(severity, 32) for severity in SEVERITIES] == [0.04, 0.08, 0.10]  # CIFAR-10-C
    assert [noise.strength(severity, 224) for severity in SEVERITIES] == pytest.approx([0.08, 0.18, 0.38])  # ImageNet-C
    assert blur.strength(3, 8) == blur.strength(3, 28) == 1.0
    assert blur.strength(3, 512) == pytest.approx(6)
    between = [quality.strength(2, size) for size in (32, 64, 96, 224)]
    assert between == sorted(between, reverse=True)
    assert between[1] == pytest.approx(58 * (15 / 58) ** (np.log(2) / np.log(7)))


def test_noise_has_its_deviation():
    grey = torch.full((4, 3, 64, 64), 128, dtype=torch.uint8)
    noise = applied("noise", grey, 0.08) - grey
    assert noise.std().item() == pytest.approx(255 * 0.08, rel=0.02)
    assert noise.mean().item() == pytest.approx(0, abs=0.3)


@pytest.mark.parametrize("sigma", [0.4, 1, 6])
def test_blur_is_that_of_scipy(sigma):
    images, radius = smooth_images(28), int(np.ceil(3 * sigma))
    pixels = images.numpy().astype(np.float64)
    expected = gaussian_filter(pixels, (0, 0, sigma, sigma), mode="nearest", radius=(0, 0, radius, radius))
    np.testing.assert_allclose(applied("blur", images, sigma), expected, atol=1e-3)


def test_contrast_shrinks_the_distance_to_the_mean_of_each_channel():
    images = smooth_images(16)
    pixels = images.numpy().astype(np.float64)
    means = pixels.mean((2, 3), keepdims=True)
    np.testing.assert_allclose(applied("contrast", images, 0.3), means + 0.3 * (pixels - means), atol=1e-3)


def test_brightness_raises_the_value_of_hsv_alone():
    images = smooth_images(16)
    images[0, :, 0, 0], images[0, :, 0, 1] = 0, 255
    hsv = rgb_to_hsv(images.permute(0, 2, 3, 1).numpy() / 255)
    hsv[..., 2] = np.clip(hsv[..., 2] + 0.3, 0, 1)
    expected = 255 * hsv_to_rgb(hsv).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(applied("brightness", images, 0.3), expected, atol=1e-3)
    grey = images[:, :1]
    np.testing.assert_allclose(applied("brightness", grey, 0.3), (grey + 76.5).clamp(max=255), atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_that_of_pillow(channels):
    images = smooth_images(16, channels)
    file = io.BytesIO()
    pixels = images[2].permute(1, 2, 0).numpy()
    Image.fromarray(pixels.squeeze()).save(file, "JPEG", quality=25)
    expected = np.asarray(Image.open(file)).reshape(pixels.shape)
    assert np.array_equal(applied("jpeg", images, 25)[2].permute(1, 2, 0), expected)


def test_pixelation_by_half_gives_the_means_of_two_by_two_pixels():
    images = smooth_images(16)
    means = images.numpy().astype(np.float64).reshape(-1, 3, 8, 2, 8, 2).mean((3, 5))
    expected = means.repeat(2, 2).repeat(2, 3)
    np.testing.assert_allclose(applied("pixelation", images, 0.5), expected, atol=1)  # Pillow rounds rows and columns


def test_a_shift_moves_images_to_all_four_corners_by_the_same_number_of_pixels():
    images = torch.zeros(64, 1, 16, 16, dtype=torch.uint8)
    images[:, :, 8, 8] = 200
    places = {tuple(place.tolist()) for place in applied("shift", images, 1 / 8).round().squeeze(1).nonzero()[:, 1:]}
    assert places == {(6, 6), (6, 10), (10, 6), (10, 10)}


def test_a_shift_by_half_a_pixel_is_the_mean_of_the_pixels_that_it_lies_between():
    images = smooth_images(8)
    shifted = applied("shift", images, 1 / 16)
    pixels = images.double()
    means = (pixels[..., 1:, 1:] + pixels[..., :-1, 1:] + pixels[..., 1:, :-1] + pixels[..., :-1, :-1]) / 4
    for image, expected in zip(shifted, means, strict=True):
        corners = [image[..., rows, columns] for rows in (_FIRST, _LAST) for columns in (_FIRST, _LAST)]
        assert any(torch.allclose(each.double(), expected, atol=1e-3) for each in corners)


def test_rotation_turns_images_to_both_sides():
    images = smooth_images(16, number=32)
    turned = applied("rotation", images, 90)
    sides = {
        side
        for image, result in zip(images.float(), turned, strict=True)
        for side in (1, -1)
        if torch.allclose(result, image.rot90(side, (1, 2)), atol=0.1)
    }
    assert sides == {1, -1}
