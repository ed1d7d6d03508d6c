"""A photographed digit, from the demo's network to its class: ink on paper, drawn as a camera saves it."""

import csv
import io
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

pytestmark = pytest.mark.slow  # trains a network, for half a minute
EXPERIMENT = "results/digits/mobilenet_v2/quick/seed0"
SIDE, STROKE = 480, 72  # pixels
ORIENTATION, TURN_RIGHT = 0x0112, 6  # of EXIF: the camera was held upright


def arc(center, radii, start, end):
    """Return points of an ellipse's arc, by angles in degrees, clockwise from the right."""
    angles = np.radians(np.linspace(start, end, 24))
    (x, y), (width, height) = center, radii
    return list(zip(x + width * np.cos(angles), y + height * np.sin(angles), strict=True))


# The strokes of each digit, from (0, 0), the upper left corner, to (1, 1).
STROKES = [
    [arc((0.5, 0.5), (0.3, 0.45), 0, 360)],
    [[(0.35, 0.25), (0.55, 0.05), (0.55, 0.95)]],
    [[*arc((0.5, 0.3), (0.28, 0.25), 180, 380), (0.22, 0.95), (0.8, 0.95)]],
    [[*arc((0.47, 0.27), (0.27, 0.22), 200, 450), *arc((0.47, 0.72), (0.3, 0.23), -90, 160)]],
    [[(0.45, 0.05), (0.2, 0.6), (0.82, 0.6)], [(0.62, 0.35), (0.62, 0.95)]],
    [[(0.75, 0.05), (0.3, 0.05), (0.27, 0.45), *arc((0.48, 0.67), (0.28, 0.28), 230, 500)]],
    [arc((0.72, 0.6), (0.47, 0.55), 255, 180), arc((0.5, 0.7), (0.25, 0.25), 180, 540)],
    [[(0.2, 0.05), (0.8, 0.05), (0.4, 0.95)]],
    [arc((0.5, 0.27), (0.22, 0.22), 0, 360), arc((0.5, 0.72), (0.28, 0.23), 0, 360)],
    [arc((0.5, 0.3), (0.25, 0.25), 0, 360), [(0.75, 0.3), (0.62, 0.95)]],
]


def ink(digit):
    """Draw a digit with a thick pen: float (SIDE, SIDE), from 0 to 1."""
    image = Image.new("L", (SIDE, SIDE))
    pen = ImageDraw.Draw(image)
    for stroke in STROKES[digit]:
        points = [(x * SIDE, y * SIDE) for x, y in stroke]
        pen.line(points, fill=255, width=STROKE, joint="curve")
        for x, y in points:
            pen.circle((x, y), STROKE / 2, fill=255)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(3))) / 255


def photo(drawn, draws, paper, shade):
    """Return a photo of ink on paper: a JPEG file whose EXIF says how it was held.

    Args:
        drawn: the ink, float (SIDE, SIDE), from 0 to 1.
        draws: the generator of random numbers.
        paper: the least and the most brightness of the paper in the middle.
        shade: how much brighter, at most, it is on one side than in the middle, where the light comes from.
    """
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE - 0.5
    angle = draws.uniform(0, 2 * np.pi)
    light = 1 + 2 * shade * draws.uniform(0.3, 1) * (x * np.cos(angle) + y * np.sin(angle))
    noise = draws.normal(0, 5, (SIDE, SIDE))
    gray = draws.uniform(*paper) * light * (1 - drawn) + draws.uniform(30, 70) * drawn + noise
    colour = np.clip(gray[..., None] * [1, 0.97, 0.9], 0, 255).astype(np.uint8)  # in the light of a lamp
    exif = Image.Exif()
    exif[ORIENTATION] = TURN_RIGHT
    file = io.BytesIO()
    Image.fromarray(colour).transpose(Image.Transpose.ROTATE_90).save(file, "jpeg", quality=85, exif=exif)
    return file.getvalue()


@pytest.fixture(scope="module")
def demo(checkout, snakemake, tmp_path_factory):
    """Train MobileNetV2 on the digits as the demo does; return the folder of the clone."""
    folder = checkout(tmp_path_factory.mktemp("demo"))
    done = snakemake(folder, f"{EXPERIMENT}/model.safetensors")
    assert done.returncode == 0, done.stdout
    return folder


# The brightness of the paper in the middle, and its shade.
PAPERS = {"bright and even": ((190, 235), 0.08), "gray with a shade": ((110, 220), 0.2)}


@pytest.mark.parametrize(("paper", "shade"), PAPERS.values(), ids=PAPERS)
def test_most_photographed_digits_are_recognised(demo, tmp_path, paper, shade):
    draws = np.random.default_rng(0)
    for number in range(30):
        (tmp_path / f"{number:02}.jpg").write_bytes(photo(ink(number % 10), draws, paper, shade))
    right = [digit == number % 10 for number, digit in enumerate(predicted(demo, tmp_path))]
    assert sum(right) >= 25


def predicted(demo, folder):
    """Return the digits that the demo's network names on the photos in a folder, in the order of their names."""
    command = [sys.executable, "scripts/predict.py", EXPERIMENT, str(folder), "--invert", "--gpus", "0"]
    done = subprocess.run([*command, "--threads", "1"], cwd=demo, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [int(row["class"]) for row in csv.DictReader(io.StringIO(done.stdout))]


def written(image, margin):
    """Draw a test image as ink with margins, shares of its height, around it: float (SIDE, SIDE), from 0 to 1."""
    side = round(SIDE / (1 + 2 * margin))
    digit = Image.fromarray(image[..., 0]).resize((side, side), Image.Resampling.BICUBIC)
    page = Image.new("L", (SIDE, SIDE))
    page.paste(digit, ((SIDE - side) // 2, (SIDE - side) // 2))
    return np.asarray(page) / 255


def test_accuracies_of_photographed_test_digits_are_those_of_the_page(demo, root, tmp_path):
    images, labels = (np.load(demo / f"data/digits/test_{kind}.npy") for kind in ("images", "labels"))
    found = {}
    for name, (paper, shade), margin in [
        *((name, paper, 0.0) for name, paper in PAPERS.items()),
        ("with margins", PAPERS["bright and even"], 0.3),
    ]:
        (folder := tmp_path / name).mkdir()
        draws = np.random.default_rng(0)
        for number, image in enumerate(images):
            (folder / f"{number:03}.jpg").write_bytes(photo(written(image, margin), draws, paper, shade))
        found[name] = 100 * np.mean(predicted(demo, folder) == labels)
    page = " ".join((root / "docs/how-to/predict.md").read_text(encoding="utf-8").split())
    paper = r"(\d+) % on bright paper, (\d+) % on gray paper [^,]*, and (\d+) % on bright paper with margins of 30 %"
    [stated] = re.findall(f"names {paper}", page)
    assert list(found.values()) == pytest.approx(list(map(int, stated)), abs=3), found
