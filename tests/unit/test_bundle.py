"""bundle.zip: a trained network that is used without this project."""

import csv
import io
import json
import os
import struct
import subprocess
import sys
import time
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from unittest.mock import Mock
from zipfile import ZipFile

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image, UnidentifiedImageError
from png_files import png_of_16_bits
from tiny_experiment import CLASSES, JOB, arguments, error_line, experiment_folder, set_temperature

import bundle as bundle_script
import export as export_script
from deepnets.data.pictures import Form, prepare_picture
from deepnets.evaluation.network import load_network
from deepnets.planning.code_digest import digests
from deepnets.reporting import bundle
from deepnets.utils import paths
from deepnets.utils.files import write_json

pytestmark = pytest.mark.usefixtures("process_as_it_was")
INSIDE = "digits-mobilenet_v2-quick-seed3"


@pytest.fixture(scope="module")
def exported(finished, data, tmp_path_factory, root):
    """Export the finished experiment and put a card next to it; return the folder of data/ and results/.

    Its temperature is 2.5.
    """
    home = tmp_path_factory.mktemp("exported")
    folder = experiment_folder(home)
    folder.mkdir(parents=True)
    for file in finished.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    set_temperature(folder, 2.5)
    job = JOB | {"code": digests(["scripts/export.py"], root)}
    export_script.main(arguments(data, home, job)[:5])
    (folder / "MODEL_CARD.md").write_text("What readers must know.")
    return home


@pytest.fixture
def pack(exported, root):
    """Call scripts/bundle.py: `pack(spec=...) -> bundle.zip`."""

    def call(**changes):
        job = JOB | {"code": digests(["scripts/bundle.py"], root), "network": {}}
        write_json(exported / "bundle.json", job | changes)
        bundle_script.main([INSIDE.replace("-", "/"), "--job", str(exported / "bundle.json"), "--root", str(exported)])
        return experiment_folder(exported) / "bundle.zip"

    return call


@pytest.fixture
def unpacked(pack, tmp_path):
    """Unpack bundle.zip into an empty folder; return the folder inside."""
    with ZipFile(pack()) as packed:
        packed.extractall(tmp_path / "empty")
    return tmp_path / "empty" / INSIDE


@pytest.fixture
def predict(unpacked, tmp_path):
    """Call the example with three packages alone: `predict(*pictures, code=0) -> rows`; `predict.errors`.

    Other options are variables of its environment.
    """
    packages = tmp_path / "packages"
    packages.mkdir()
    for name in ("numpy", "numpy.libs", "PIL", "pillow.libs", "onnxruntime"):
        spec = find_spec("PIL" if name == "pillow.libs" else name.partition(".")[0])
        source = Path(spec.origin).parent.with_name(name)
        if source.exists():
            (packages / name).symlink_to(source)

    def call(*pictures, code=0, **environment):
        command = [sys.executable, "-S", unpacked / "predict.py", *pictures]  # -S: without the other packages
        environment |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(packages)}
        text = {"encoding": "utf-8", "errors": "surrogateescape"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, **text)
        assert done.returncode == code, done.stderr
        call.errors = done.stderr.splitlines()
        return list(csv.DictReader(io.StringIO(done.stdout)))

    return call


def test_onnxruntime_and_pillow_alone_predict_in_an_empty_folder(predict, data, exported, tmp_path):
    images = np.load(data.parent / "test_images.npy")
    network, facts = load_network(experiment_folder(exported) / "model.safetensors")
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        expected = network.eval()((pixels - facts["mean"][0]) / facts["std"][0]).div(2.5).softmax(1).numpy()
    files = [tmp_path / f"{index:02}.png" for index in range(len(expected))]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image[..., 0]).save(file)
    rows = predict(*files)
    assert [row["file"] for row in rows] == [str(file) for file in files]
    for row, probabilities in zip(rows, expected, strict=True):
        assert float(row["probability"]) == pytest.approx(probabilities.max(), abs=1e-3)
        assert probabilities[CLASSES.index(row["class"])] == pytest.approx(probabilities.max(), abs=1e-3)


def test_broken_picture_is_a_line_and_the_others_are_predicted(predict, tmp_path):
    Image.new("L", (9, 7)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no picture")
    assert [row["file"] for row in predict("b.png", "a.png", "missing.png", code=1)] == ["a.png"]
    named = [line.partition(": cannot be read (")[0] for line in predict.errors if ": cannot be read (" in line]
    assert named == ["b.png", "missing.png"]


def test_a_folder_is_answered_with_what_to_write(predict, tmp_path):
    (tmp_path / "pictures").mkdir()
    Image.new("L", (9, 7)).save(tmp_path / "a.png")
    assert [row["file"] for row in predict("pictures", "a.png", code=1)] == ["a.png"]
    assert "pictures: a folder; name its pictures: pictures/*" in predict.errors


def test_bundle_has_the_card_the_weights_the_network_an_example_and_its_requirements(pack, exported):
    with ZipFile(pack()) as packed:
        contents = {name: packed.read(name) for name in packed.namelist()}
    for name in ("MODEL_CARD.md", "model.safetensors", "model.onnx"):
        assert contents.pop(f"{INSIDE}/{name}") == (experiment_folder(exported) / name).read_bytes()
    assert set(contents) == {f"{INSIDE}/predict.py", f"{INSIDE}/requirements.txt"}
    lines = contents[f"{INSIDE}/requirements.txt"].decode().splitlines()
    assert [line.partition("==")[0] for line in lines[1:]] == ["onnxruntime", "numpy", "pillow"]


def test_the_file_of_a_users_network_is_packed_with_what_it_imports(pack, tmp_path, monkeypatch):
    (tmp_path / "nets").mkdir()
    for name in ("nets/my_models.py", "nets/blocks.py"):
        (tmp_path / name).write_text(f"# {name}")
    network = Mock(own_file=lambda: ("nets/my_models.py", tmp_path))
    monkeypatch.setattr(bundle.models, "named", lambda _: network)
    code = {"nets/my_models.py": "a", "nets/blocks.py": "b", "scripts/deepnets/models/__init__.py": "c"}
    with ZipFile(pack(network=code)) as packed:
        found = {name: packed.read(name) for name in packed.namelist() if "/nets/" in name or "/scripts/" in name}
    assert found == {f"{INSIDE}/{name}": f"# {name}".encode() for name in ("nets/my_models.py", "nets/blocks.py")}


def test_a_users_file_with_the_name_of_the_example_is_refused(pack, tmp_path, monkeypatch, caplog):
    network = Mock(own_file=lambda: ("predict.py", tmp_path))
    monkeypatch.setattr(bundle.models, "named", lambda _: network)
    line = error_line(caplog, lambda: pack(network={"predict.py": "a"}))
    assert f"{tmp_path}/predict.py: bundle.zip has its own predict.py; rename yours" in line


def test_same_files_are_the_same_bytes(pack, exported):
    before = pack().read_bytes()
    for file in experiment_folder(exported).glob("[mM]*"):
        os.utime(file, (time.time() - 10_000,) * 2)
    (experiment_folder(exported) / "model.onnx").chmod(0o600)
    assert pack().read_bytes() == before


def test_what_is_missing_damaged_or_of_other_settings_is_not_packed(pack, exported, caplog):
    folder = experiment_folder(exported)
    packed, onnx = pack(), folder / "model.onnx"
    packed.unlink()
    whole = onnx.read_bytes()
    other = JOB["spec"] | {"seed": 4}
    assert "model.safetensors: made with other settings" in error_line(caplog, lambda: pack(spec=other))
    onnx.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "model.onnx: damaged" in error_line(caplog, pack)
    onnx.unlink()
    assert f"snakemake --cores 2 results/{INSIDE.replace('-', '/')}/bundle.zip" in error_line(caplog, pack)
    onnx.write_bytes(whole)
    assert not packed.exists()


@pytest.fixture(scope="module")
def example(root):
    """Import the example of the bundle."""
    spec = spec_from_file_location("bundle_predict", root / paths.BUNDLE_EXAMPLE)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Write pictures of several kinds: turned, transparent, with a palette, gray of 16 bits, some of it clear."""
    folder, draws = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    colour = Image.fromarray(draws.integers(256, size=(20, 31, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    colour.save(folder / "turned.jpg", exif=exif)
    Image.fromarray(draws.integers(256, size=(25, 20, 4), dtype=np.uint8)).save(folder / "transparent.png")
    colour.quantize(16).save(folder / "palette.png", transparency=3)
    Image.fromarray(draws.integers(2**12, size=(30, 22), dtype=np.uint16)).save(folder / "16_bits.png")
    few_values = draws.integers(4, size=(30, 22), dtype=np.uint16) * np.uint16(1000)
    Image.fromarray(few_values).save(folder / "16_bits_clear.png", transparency=2000)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dataset", [{}, {"non_square": "pad", "bit_depth": 12}, {"non_square": "squash"}])
def test_example_prepares_pictures_as_the_training_images_were(example, pictures, channels, dataset):
    form = Form(8, channels, **dataset)
    for picture in pictures:
        for invert in (False, True):
            read = example.read(picture, 8, channels, dataset, invert)
            assert np.array_equal(read, prepare_picture(picture, form, invert).pixels), picture.name


def test_clear_colour_of_16_bits_is_white_in_the_example_too(example, tmp_path):
    clear, opaque = [30_000, 20_000, 10_000], [51_400] * 3
    (tmp_path / "a.png").write_bytes(png_of_16_bits(2, [*clear, *opaque, *opaque, *clear], clear))
    dataset = {"non_square": "squash"}
    read = example.read(tmp_path / "a.png", 4, 3, dataset)
    assert read[0, :, 0].tolist() == [255, 200, 200, 255]
    assert np.array_equal(read, prepare_picture(tmp_path / "a.png", Form(4, 3, **dataset)).pixels)
    with pytest.raises(ValueError, match="16 bits in colour or with transparency"):
        example.read(tmp_path / "a.png", 4, 3, {"bit_depth": 12})
    with pytest.raises(ValueError, match="16 bits in colour or with transparency"):
        prepare_picture(tmp_path / "a.png", Form(4, 3, bit_depth=12))


@pytest.mark.parametrize(("kind", "bits"), [("F", 32), ("I", 32), ("I;16", 16)])
def test_values_that_the_example_cannot_prepare_as_in_training_are_refused_in_a_line(predict, tmp_path, kind, bits):
    """In training, 16 bits of a TIFF are scaled by its tags, and other values of more than 8 bits are refused."""
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    Image.new(kind, (8, 8)).save(tmp_path / "b.tif")
    assert [row["file"] for row in predict("b.tif", "a.png", code=1)] == ["a.png"]
    (line,) = [line for line in predict.errors if line.startswith("b.tif: ")]
    why = f"its values are of the kind {kind}, of {bits} bits; only PNG files may have 16 bits"
    assert line == f"b.tif: cannot be read ({why}); convert, replace or remove it"


def test_16_bits_in_colour_are_refused_although_pillow_keeps_8_of_them(example, tmp_path):
    values = np.full((4, 4, 3), 4095, ">u2").tobytes()
    (tmp_path / "a.ppm").write_bytes(b"P6\n# by a microscope\n4 4\n65535\n" + values)
    (tmp_path / "b.tif").write_bytes(tiff_of_16_bits(values))
    for name in ("a.ppm", "b.tif"):
        with Image.open(tmp_path / name) as opened:
            assert opened.mode == "RGB"
        with pytest.raises(ValueError, match="of the kind RGB, of 16 bits; only PNG files may have 16 bits"):
            example.read(tmp_path / name, 4, 3, {"bit_depth": 12})


def tiff_of_16_bits(values):
    """Return a TIFF file of 4 x 4 pixels in colour, whose values are of 16 bits, the higher byte first."""
    entries = [(256, 3, 1, 4 << 16), (257, 3, 1, 4 << 16), (258, 3, 3, 8), (259, 3, 1, 1 << 16), (262, 3, 1, 2 << 16)]
    entries += [(273, 4, 1, 14), (277, 3, 1, 3 << 16), (278, 3, 1, 4 << 16), (279, 4, 1, len(values))]
    tags = struct.pack(">H", len(entries)) + b"".join(struct.pack(">HHLL", *each) for each in entries) + bytes(4)
    return struct.pack(">2sHL3H", b"MM", 42, 14 + len(values), 16, 16, 16) + values + tags


def test_formats_that_datasets_do_not_have_are_refused_in_the_example_too(example, tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.tga")
    with pytest.raises(UnidentifiedImageError):
        example.read(tmp_path / "a.tga", 8, 1, {})


def test_an_answer_that_is_no_number_is_a_line(example, unpacked, tmp_path, monkeypatch, capfd):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    model = onnxruntime.InferenceSession(unpacked / "model.onnx").get_modelmeta()
    session = Mock(get_modelmeta=lambda: model, run=lambda *_: [np.full((1, len(CLASSES)), np.nan, np.float32)])
    monkeypatch.setattr(example.onnxruntime, "InferenceSession", lambda _: session)
    monkeypatch.setattr(sys, "argv", ["predict.py", str(tmp_path / "a.png")])
    with pytest.raises(SystemExit, match="1"):
        example.main()
    printed = capfd.readouterr()
    assert printed.out == "file,class,probability\n"
    assert printed.err == f"{tmp_path}/a.png: the network's answer is not a number (NaN); train it again\n"


def test_names_of_files_and_classes_may_be_of_any_letters(predict, unpacked, tmp_path):
    model = onnx.load(unpacked / "model.onnx")
    classes = next(each for each in model.metadata_props if each.key == "classes")
    classes.value = json.dumps(["zéro \N{SNOWMAN}"] * len(CLASSES))
    onnx.save(model, unpacked / "model.onnx")
    name = os.fsdecode(b"\xff.png")
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / name)
    [row] = predict(name, PYTHONIOENCODING="cp1252")
    assert (row["file"], row["class"]) == (name, "zéro \N{SNOWMAN}")
