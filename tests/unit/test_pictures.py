"""Pictures that a user names: which are found, and that they are prepared as the images of a dataset."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from deepnets.data.archive import MAX_MEMBER_BYTES
from deepnets.data.decode import decode
from deepnets.data.pictures import Form, Place, Problem, decode_block, find, read_blocks, to_pixels

FORM = Form(8, 1)


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Make a folder with pictures, what desktops leave, and a text, and an archive of it; work next to them."""
    folder = tmp_path / "folder"
    for name in ("b.png", "below/a.JPG", "below/deeper/c.webp", "._b.png", "__MACOSX/b.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 9), (10 * len(name), 0, 90)).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    monkeypatch.chdir(tmp_path)
    return folder


def names(*arguments):
    places, problems = find(arguments)
    assert problems == []
    return [place.name for place in places]


def read(places):
    return [each for block in read_blocks(places) for each in decode_block(block, [FORM])]


def test_folders_are_searched_to_their_depth_without_what_desktops_leave(pictures):
    assert names("folder") == ["folder/b.png", "folder/below/a.JPG", "folder/below/deeper/c.webp"]


def test_archives_and_patterns_are_as_the_files_in_them(pictures):
    assert set(names("packed.zip")) == {"packed.zip/b.png", "packed.zip/below/a.JPG", "packed.zip/below/deeper/c.webp"}
    assert names("folder/**/*.[Jw]*") == ["folder/below/a.JPG", "folder/below/deeper/c.webp"]
    outside = dict(read(find(["folder"])[0]))
    inside = dict(read(find(["packed.zip"])[0]))
    assert len(inside) == 3
    for name, (pixels,) in inside.items():
        assert np.array_equal(pixels, outside[name.replace("packed.zip", "folder")][0])


def test_a_named_file_is_taken_whatever_its_ending_and_once(pictures):
    (pictures / "b.png").rename(pictures / "b")
    assert names("folder/b", "folder/below", "folder/b")[0] == "folder/b"
    assert names("folder/b", "folder/below", "folder/b").count("folder/b") == 1


def test_links_in_a_circle_end(pictures):
    (pictures / "below/circle").symlink_to(pictures)
    assert len(names("folder")) == 3


def test_what_leads_to_no_picture_is_named_and_the_others_are_found(pictures):
    (pictures / "empty").mkdir()
    (pictures.parent / "broken.zip").write_bytes(b"PK no archive")
    places, problems = find(["missing.png", "*.tif", "folder/empty", "broken.zip", "folder/b.png"])
    assert [place.name for place in places] == ["folder/b.png"]
    starts = ("missing.png: does not exist", "*.tif: ", "folder/empty: there are no pictures", "broken.zip: ")
    assert all(line.startswith(start) for line, start in zip(problems, starts, strict=True))


def test_files_are_decoded_as_those_of_a_dataset(pictures):
    photo = Image.effect_noise((40, 24), 60).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save("photo.jpg", exif=exif)
    for form in (Form(8, 1), Form(16, 3)):
        expected = decode((pictures.parent / "photo.jpg").read_bytes(), form.size, form.channels)
        assert np.array_equal(to_pixels("photo.jpg", form), expected)
        with Image.open("photo.jpg") as opened:
            assert np.array_equal(to_pixels(opened, form), expected)


def test_bits_of_a_dataset_count_for_its_pictures(tmp_path):
    Image.fromarray(np.full((8, 8), 4095, np.uint16)).save(tmp_path / "12bit.png")
    assert to_pixels(tmp_path / "12bit.png", Form(8, 1, bit_depth=12)).min() == 255


def test_arrays_of_the_networks_size_stay_as_they_are():
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert np.array_equal(to_pixels(gray, FORM)[..., 0], gray)
    assert np.array_equal(to_pixels(gray[..., None], FORM)[..., 0], gray)
    colour = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    assert np.array_equal(to_pixels(colour, Form(8, 3)), colour)


@pytest.mark.parametrize(
    "wrong", [np.zeros((8, 8)), np.zeros((2, 8, 8, 3), np.uint8), np.zeros((0, 8), np.uint8), Image.new("F", (8, 8))]
)
def test_pixels_of_another_kind_are_refused(wrong):
    with pytest.raises(ValueError, match=r"uint8|not of 8 bits"):
        to_pixels(wrong, FORM)


def test_each_broken_picture_has_its_line(pictures):
    (pictures / "b.png").write_bytes((pictures / "b.png").read_bytes()[:40])
    (pictures / "notes.txt").rename(pictures / "a.png")
    with open(pictures / "huge.png", "wb") as file:
        os.truncate(file.fileno(), MAX_MEMBER_BYTES + 1)
    (pictures / "lost.png").symlink_to("nowhere")
    outcomes = dict(read(find(["folder"])[0]))
    broken = {name: outcome.line for name, outcome in outcomes.items() if isinstance(outcome, Problem)}
    assert set(broken) == {f"folder/{name}.png" for name in ("a", "b", "huge", "lost")}
    assert all(line.startswith(f"{name}: ") for name, line in broken.items())
    assert len(outcomes) == 6


def test_a_large_picture_is_refused_with_the_option_that_takes_it(tmp_path):
    Image.new("1", (1200, 1000)).save(tmp_path / "large.png")
    with pytest.raises(ValueError, match=r"take more with max_megapixels 2$"):
        to_pixels(tmp_path / "large.png", FORM._replace(max_megapixels=1))
    assert to_pixels(tmp_path / "large.png", FORM).shape == (8, 8, 1)


def test_an_archive_that_breaks_off_costs_only_its_rest(pictures):
    places = find(["packed.zip", "folder/b.png"])[0]
    (pictures.parent / "packed.zip").write_bytes(b"replaced since it was listed")
    found = read(places)
    assert [isinstance(outcome, Problem) for _, outcome in found] == [True, False]
    assert found[1][0] == Place(pictures.relative_to(pictures.parent) / "b.png").name
