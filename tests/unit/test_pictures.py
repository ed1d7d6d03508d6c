"""Pictures that a user names: which are found, and that they are prepared as the images of a dataset."""

import os
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from deepnets.data.archive import MAX_MEMBER_BYTES
from deepnets.data.decode import decode
from deepnets.data.pictures import (
    Form,
    PictureFile,
    block_length,
    decode_block,
    dim_line,
    list_pictures,
    prepare_picture,
    read_blocks,
)

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
    files, problems = list_pictures(arguments)
    assert problems == []
    return [file.name for file in files]


def read(files, encoding=None):
    """Return the pixels of each picture by its name, and the lines of those that are broken."""
    decoded = [decode_block(block, [FORM]) for block in read_blocks(files, encoding=encoding)]
    pixels = {name: image for block in decoded for name, image in zip(block.names, block.images[0], strict=True)}
    return pixels, [line for block in decoded for line in block.problems]


def damage(archive, member):
    """Change a byte of a member's content, which is stored as it is."""
    with zipfile.ZipFile(archive) as packed:
        start = packed.getinfo(member).header_offset + 30 + len(member) + 20
    content = bytearray(archive.read_bytes())
    content[start] ^= 1
    archive.write_bytes(content)


def test_folders_are_searched_to_their_depth_without_what_desktops_leave(pictures):
    assert names("folder") == ["folder/b.png", "folder/below/a.JPG", "folder/below/deeper/c.webp"]


def test_archives_and_patterns_are_as_the_files_in_them(pictures):
    assert set(names("packed.zip")) == {"packed.zip/b.png", "packed.zip/below/a.JPG", "packed.zip/below/deeper/c.webp"}
    assert names("folder/**/*.[Jw]*") == ["folder/below/a.JPG", "folder/below/deeper/c.webp"]
    outside, inside = read(list_pictures(["folder"])[0])[0], read(list_pictures(["packed.zip"])[0])[0]
    assert len(inside) == 3
    for name, pixels in inside.items():
        assert np.array_equal(pixels, outside[name.replace("packed.zip", "folder")])


def test_short_endings_of_archives_are_those_of_archives_too(pictures):
    shutil.move(shutil.make_archive("packed", "xztar", pictures), "packed.TXZ")
    shutil.move(shutil.make_archive("packed", "bztar", pictures), "packed.tbz")
    assert len(names("packed.TXZ", "packed.tbz")) == 3 + 3


def test_a_named_file_is_taken_whatever_its_ending_and_once(pictures):
    (pictures / "b.png").rename(pictures / "b")
    assert names("folder/b", "folder/below", "./folder/b")[0] == "folder/b"
    assert names("folder/b", "folder/below", "./folder/b").count("folder/b") == 1


def test_pictures_of_formats_that_are_not_read_are_reported_and_the_others_are_found(pictures):
    for name in ("c.HEIC", "below/d.dng", "._e.heic"):
        (pictures / name).write_bytes(b"no matter what")
    shutil.make_archive("phone", "zip", pictures)
    for where in ("folder", "phone.zip"):
        files, problems = list_pictures([where])
        assert len(files) == 3
        assert sorted(problems) == [
            f"{where}/{name}: pictures with this ending are not read; convert it to JPEG or PNG."
            for name in ("below/d.dng", "c.HEIC")
        ]


def test_an_archive_of_a_kind_that_is_not_read_is_to_be_unpacked(pictures):
    (pictures.parent / "packed.tar.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(600))
    _, problems = read(list_pictures(["packed.tar.zst"])[0])
    assert problems == ["packed.tar.zst: is a Zstandard file; unpack it, or remove it."]


def test_links_in_a_circle_end(pictures):
    (pictures / "below/circle").symlink_to(pictures)
    assert len(names("folder")) == 3


def test_what_leads_to_no_picture_is_named_and_the_others_are_found(pictures):
    (pictures / "empty").mkdir()
    (pictures.parent / "broken.zip").write_bytes(b"PK no archive")
    files, problems = list_pictures(["missing.png", "*.tif", "folder/empty", "broken.zip", "folder/b.png"])
    assert [file.name for file in files] == ["folder/b.png"]
    starts = ("missing.png: does not exist", "*.tif: ", "folder/empty: there are no pictures", "broken.zip: ")
    assert all(line.startswith(start) for line, start in zip(problems, starts, strict=True))


def test_files_are_decoded_as_those_of_a_dataset(pictures):
    photo = Image.effect_noise((40, 24), 60).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save("photo.jpg", exif=exif)
    for form in (Form(8, 1), Form(16, 3)):
        expected = decode((pictures.parent / "photo.jpg").read_bytes(), form.size, form.channels).pixels
        assert np.array_equal(prepare_picture("photo.jpg", form).pixels, expected)
        with Image.open("photo.jpg") as opened:
            assert np.array_equal(prepare_picture(opened, form).pixels, expected)


def test_bits_of_a_dataset_count_for_its_pictures(tmp_path):
    Image.fromarray(np.full((8, 8), 4095, np.uint16)).save(tmp_path / "12bit.png")
    assert prepare_picture(tmp_path / "12bit.png", Form(8, 1, bit_depth=12)).pixels.min() == 255


def test_arrays_of_the_networks_size_stay_as_they_are():
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert np.array_equal(prepare_picture(gray, FORM).pixels[..., 0], gray)
    assert np.array_equal(prepare_picture(gray[..., None], FORM).pixels[..., 0], gray)
    colour = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    assert np.array_equal(prepare_picture(colour, Form(8, 3)).pixels, colour)


@pytest.mark.parametrize(
    "wrong", [np.zeros((8, 8)), np.zeros((2, 8, 8, 3), np.uint8), np.zeros((0, 8), np.uint8), Image.new("F", (8, 8))]
)
def test_pixels_of_another_kind_are_refused(wrong):
    with pytest.raises(ValueError, match=r"uint8|not of 8 bits"):
        prepare_picture(wrong, FORM)


def test_each_broken_picture_has_its_line(pictures):
    (pictures / "b.png").write_bytes((pictures / "b.png").read_bytes()[:40])
    (pictures / "notes.txt").rename(pictures / "a.png")
    with open(pictures / "huge.png", "wb") as file:
        os.truncate(file.fileno(), MAX_MEMBER_BYTES + 1)
    (pictures / "lost.png").symlink_to("nowhere")
    os.mkfifo(pictures / "pipe.png")
    pixels, problems = read(list_pictures(["folder"])[0])
    expected = [f"folder/{name}.png" for name in ("a", "b", "huge", "lost", "pipe")]
    assert sorted(line.partition(": ")[0] for line in problems) == expected
    assert len(pixels) == 2


def test_a_large_picture_is_refused_with_the_option_that_takes_it(tmp_path):
    Image.new("1", (1200, 1000)).save(tmp_path / "large.png")
    with pytest.raises(ValueError, match=r"take more with max_megapixels 2$"):
        prepare_picture(tmp_path / "large.png", FORM._replace(max_megapixels=1))
    assert prepare_picture(tmp_path / "large.png", FORM).pixels.shape == (8, 8, 1)


def test_an_archive_that_changes_after_it_was_listed_costs_a_line_for_each_of_its_pictures(pictures):
    files = list_pictures(["packed.zip", "folder/b.png"])[0]
    (pictures.parent / "packed.zip").write_bytes(b"replaced since it was listed")
    pixels, problems = read(files)
    assert list(pixels) == ["folder/b.png"]
    assert [line.partition(": ")[0] for line in problems] == [file.name for file in files[:-1]]
    with zipfile.ZipFile("packed.zip", "w") as packed:
        packed.write("folder/b.png", "b.png")
    pixels, problems = read(files)
    assert set(pixels) == {"packed.zip/b.png", "folder/b.png"}
    assert len(problems) == 2
    assert all(line.endswith(": has changed since its names were read; run this again.") for line in problems)


def test_a_damaged_member_of_a_zip_costs_none_of_the_others(pictures):
    with zipfile.ZipFile("stored.zip", "w") as packed:
        for name in ("1.png", "2.png", "3.png"):
            packed.write("folder/b.png", name)
    damage(pictures.parent / "stored.zip", "2.png")
    pixels, problems = read(list_pictures(["stored.zip"])[0])
    assert list(pixels) == ["stored.zip/1.png", "stored.zip/3.png"]
    assert len(problems) == 1
    assert problems[0].startswith("stored.zip/2.png: a damaged archive, or not one (Bad CRC-32")


def test_a_tar_that_breaks_off_costs_a_line_for_each_picture_after_that(pictures):
    Image.new("L", (64, 64)).save("gray.bmp")
    with tarfile.open("packed.tar", "w") as packed:
        for name in ("1.bmp", "2.bmp", "3.bmp"):
            packed.add("gray.bmp", name)
    with tarfile.open("packed.tar") as packed:
        second = packed.getmember("2.bmp").offset_data
    files = list_pictures(["packed.tar"])[0]
    os.truncate("packed.tar", second + 1000)
    pixels, problems = read(files)
    assert list(pixels) == ["packed.tar/1.bmp"]
    assert [line.partition(": a damaged archive")[0] for line in problems] == ["packed.tar/2.bmp", "packed.tar/3.bmp"]


def test_pictures_before_the_damage_of_a_tar_are_found_and_the_damage_is_one_line(pictures):
    Image.new("L", (64, 64)).save("gray.bmp")
    with tarfile.open("packed.tar", "w") as packed:
        for name in ("1.bmp", "2.bmp", "3.bmp", "4.bmp"):
            packed.add("gray.bmp", name)
    with tarfile.open("packed.tar") as packed:
        third = packed.getmember("3.bmp").offset_data
    os.truncate("packed.tar", third + 1000)
    files, problems = list_pictures(["packed.tar", "folder/b.png"])
    assert [file.name for file in files] == ["packed.tar/1.bmp", "packed.tar/2.bmp", "folder/b.png"]
    assert problems == ["packed.tar: damaged from 3.bmp on; fetch it again."]
    pixels, lost = read(files)
    assert list(pixels) == [file.name for file in files]
    assert lost == []


def test_a_pattern_with_a_broken_archive_still_leads_to_the_others(pictures):
    (pictures.parent / "broken.zip").write_bytes(b"PK no archive")
    files, problems = list_pictures(["*.zip"])
    assert len(files) == 3
    assert [line.partition(": ")[0] for line in problems] == ["broken.zip"]


@pytest.mark.parametrize(
    "argument",
    [
        *("folder", "folder/**/*", "folder/**", "**/*.[pJ]*", "folder/**/a.JPG folder/b.png"),
        "fold*/*.png folder/b*/*.JPG folder/*/*/*",
    ],
)
def test_a_folder_that_cannot_be_read_is_named_and_the_others_are_searched(pictures, monkeypatch, argument):
    scandir = os.scandir

    def refuse(folder):
        if os.path.basename(os.path.normpath(folder)) == "deeper":
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    files, problems = list_pictures(argument.split())
    assert {file.name for file in files} - {"folder/notes.txt"} >= {"folder/b.png", "folder/below/a.JPG"}
    assert problems == ["folder/below/deeper: Permission denied; correct the path or its permissions."]


def test_a_pattern_passes_over_files_and_links_that_lead_nowhere(pictures):
    (pictures / "lost").symlink_to("nowhere")
    (pictures / "itself").symlink_to("itself")
    assert names("folder/*/*.JPG") == ["folder/below/a.JPG"]


def test_names_of_a_zip_of_another_encoding_are_read_with_the_option_that_its_message_names(pictures):
    """Windows packs names in the encoding of its country, and does not say which."""
    with zipfile.ZipFile("windows.zip", "w") as packed:
        packed.write("folder/b.png", "Bar.png")
    content = (pictures.parent / "windows.zip").read_bytes().replace(b"Bar.png", "Bär.png".encode("cp437"))
    (pictures.parent / "windows.zip").write_bytes(content)
    files, (problem,) = list_pictures(["windows.zip"])
    assert files == []
    assert "cp437" in problem
    assert "as --encoding, or pack it again" in problem
    assert "config.yaml" not in problem
    files, problems = list_pictures(["windows.zip"], "cp437")
    assert (files, problems) == ([PictureFile("windows.zip", "Bär.png")], [])
    assert list(read(files, "cp437")[0]) == ["windows.zip/Bär.png"]


def test_a_message_about_an_archive_names_no_option_of_config_yaml(pictures):
    body, *members = (pictures.parent / "packed.zip").read_bytes().split(b"PK\1\2")
    deflate64 = [part[:6] + b"\x09" + part[7:] for part in members]  # as Windows packs large files
    (pictures.parent / "packed.zip").write_bytes(b"PK\1\2".join([body, *deflate64]))
    (problem,) = list_pictures(["packed.zip"])[1]
    assert "name the folder" in problem
    assert "`path:`" not in problem


def test_a_name_that_a_terminal_would_obey_is_escaped_on_its_one_line(pictures):
    name = "folder/a\n\x1b[2Jb.png"
    (pictures.parent / name).write_text("no picture")
    problems = [*list_pictures([name + "x"])[1], *read(list_pictures([name])[0])[1]]
    assert len(problems) == 2
    assert all(line.startswith("folder/a\\n\\x1b[2Jb.png") for line in problems)


def test_dim_pictures_of_16_bits_are_named_unless_the_network_knows_their_bits(pictures):
    Image.fromarray(np.full((8, 8), 1023, np.uint16)).save("dim.png")
    (block,) = read_blocks(list_pictures(["dim.png", "folder"])[0])
    assert decode_block(block, [FORM]).dim == ["dim.png"]
    assert decode_block(block, [FORM._replace(bit_depth=10)]).dim == []
    assert dim_line(["dim.png", "a", "b", "c\n"]).startswith("dim.png, a, b and 1 more: of 16 bits")


def test_blocks_are_small_where_pictures_are_large_and_make_whole_batches():
    lengths = [block_length([Form(size, 3)]) for size in (8, 28, 64, 224, 512, 4096)]
    assert lengths[:3] == [128] * 3
    assert lengths[-1] == 1
    assert all(256 % length == 0 for length in lengths)
    assert all(length * 3 * size**2 <= 2**22 for length, size in zip(lengths[:5], (8, 28, 64, 224, 512), strict=True))
    assert block_length([Form(224, 3)] * 3) < block_length([Form(224, 3)])


def test_few_bytes_of_an_archive_are_in_memory_at_once(pictures, monkeypatch):
    monkeypatch.setattr("deepnets.data.pictures._BLOCK_BYTES", 1500)
    with zipfile.ZipFile("photos.zip", "w") as packed:
        for index, size in enumerate((5000, 400, 400, 400, 400, 5000)):
            packed.writestr(f"{index}.png", bytes(size))
    assert [len(block) for block in read_blocks(list_pictures(["photos.zip"])[0])] == [1, 4, 1]
