"""Damaged input of every kind is taken, or refused in one line that names it: no traceback, no hang, no other harm.

Hypothesis damages whole files: it flips, cuts, repeats and inserts bytes. Each example has seconds and a gigabyte.
A failure prints the example and FUZZ_SEED; `FUZZ_SEED=<number> pytest --full tests/unit/test_fuzzing.py` repeats it.
"""

import contextlib
import io
import json
import os
import random
import signal
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, note, seed, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from deepnets.config.loader import load_config
from deepnets.data import sources as datasets
from deepnets.data.arrays import open_dataset
from deepnets.data.decode import decode
from deepnets.data.download import download
from deepnets.data.prepare import prepare
from deepnets.evaluation.history import read_history
from deepnets.evaluation.results import read_metrics, read_timing
from deepnets.training.checkpoints import CheckpointDir
from deepnets.utils.errors import UserError
from deepnets.utils.tensors import load_tensors

pytestmark = [pytest.mark.slow, pytest.mark.full]

SEED = int(os.environ.get("FUZZ_SEED", random.SystemRandom().randrange(2**32)))
SECONDS = 20  # of one example; the slowest takes one
BYTES = 2**30
fuzz = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "300")),
    deadline=None,  # `harmless` keeps the time: hypothesis only measures it afterwards
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


# -- how files are damaged, and what must not happen -------------------------------------------------------------------


# One damage: its kind, where (as a share of the file), how many bytes, and which bytes where it inserts some.
DAMAGE = st.tuples(
    st.sampled_from(("flip", "cut", "zero", "ones", "repeat", "insert", "truncate")),
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 64),
    st.binary(min_size=1, max_size=16),
)
DAMAGES = st.lists(DAMAGE, min_size=1, max_size=4)


def damaged(whole: bytes, damages: list[tuple[str, float, int, bytes]]) -> bytes:
    """Return a damaged copy of a file."""
    content = bytearray(whole)
    for kind, where, length, inserted in damages:
        start = int(where * len(content))
        part = content[start : start + length]
        match kind:
            case "flip":
                content[start : start + 1] = bytes(byte ^ 1 << length % 8 for byte in part[:1])
            case "cut":
                del content[start : start + length]
            case "zero":
                content[start : start + length] = bytes(len(part))
            case "ones":
                content[start : start + length] = b"\xff" * len(part)
            case "repeat":
                content[start:start] = part
            case "insert":
                content[start:start] = inserted
            case "truncate":
                del content[start:]
    return bytes(content)


class TooSlow(BaseException):
    """An example took too long; no handler of the code may catch this."""


@contextlib.contextmanager
def harmless() -> Iterator[None]:
    """Fail if the block takes too long, or too much memory."""

    def stop(*_: object) -> None:
        raise TooSlow(f"more than {SECONDS} s")

    note(f"FUZZ_SEED={SEED}")
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory is counted from here
    in_use = memory("VmRSS")
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert memory("VmHWM") - in_use < BYTES


def memory(key: str) -> int:
    """Return a figure of this process's memory in bytes: VmRSS, in use, or VmHWM, its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def files_in(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_names(error: Exception, *names: str) -> None:
    """Check that a refusal is plain lines that name the input."""
    text = str(error)
    assert any(name in text for name in names), text
    assert "Traceback" not in text
    assert all(line.isprintable() for line in text.splitlines()), text
    assert len(text) < 20_000


def read_or_refuse(read: Callable[[Path], object], path: Path, content: bytes) -> None:
    """Have a damaged file read; if it is refused, then by a line with its name."""
    path.write_bytes(content)
    with harmless():
        try:
            read(path)
        except UserError as error:
            assert_names(error, path.name)


# -- images ------------------------------------------------------------------------------------------------------------


@cache
def pictures() -> dict[str, bytes]:
    """A small file of each format and mode that people have, some with EXIF."""
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (9, 7, 3), np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (9, 7), np.uint16))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"  # orientation, description
    saved = {
        "jpeg": (colour, {"format": "JPEG", "exif": exif}),
        "progressive jpeg": (colour, {"format": "JPEG", "progressive": True}),
        "cmyk": (colour.convert("CMYK"), {"format": "JPEG"}),
        "png": (colour, {"format": "PNG", "exif": exif}),
        "transparent": (colour.convert("RGBA"), {"format": "PNG"}),
        "palette": (colour.convert("P"), {"format": "PNG"}),
        "16 bits": (deep, {"format": "PNG"}),
        "webp": (colour, {"format": "WEBP", "exif": exif}),
        "bmp": (colour, {"format": "BMP"}),
        "gif": (colour.convert("P"), {"format": "GIF", "save_all": True, "append_images": [colour.convert("P")]}),
        "tiff": (colour, {"format": "TIFF", "compression": "tiff_deflate"}),
        "ppm": (colour, {"format": "PPM"}),
    }
    files = {}
    for name, (image, options) in saved.items():
        buffer = io.BytesIO()
        image.save(buffer, **options)
        files[name] = buffer.getvalue()
    return files


@pytest.mark.parametrize("kind", pictures())
@pytest.mark.filterwarnings("ignore")  # of decoders, about damage
def test_a_damaged_picture_is_decoded_or_refused(kind):
    @seed(SEED)
    @fuzz
    @given(DAMAGES, st.sampled_from((1, 3)))
    def check(damages, channels):
        with harmless(), contextlib.suppress(ValueError):  # its message becomes a line with the file's name
            image = decode(damaged(pictures()[kind], damages), 6, channels)
            assert (image.shape, image.dtype) == ((6, 6, channels), np.uint8)

    assert decode(pictures()[kind], 6, 3).shape == (6, 6, 3)
    check()


# -- archives ----------------------------------------------------------------------------------------------------------


@cache
def archives() -> dict[str, bytes]:
    """An archive of each kind with two classes."""
    names = [f"{split}/{name}/{index}.png" for split in ("train", "test") for name in ("a", "b") for index in range(2)]
    picture, files = pictures()["png"], {}
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", compression) as archive:
            for name in names:
                archive.writestr(name, picture)
        files[f"{compression}.zip"] = buffer.getvalue()
    for mode, suffix in (("w", "tar"), ("w:gz", "tar.gz"), ("w:xz", "tar.xz")):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode=mode) as packed:
            for name in names:
                member = tarfile.TarInfo(name)
                member.size = len(picture)
                packed.addfile(member, io.BytesIO(picture))
        files[suffix] = buffer.getvalue()
    return files


@pytest.mark.parametrize("kind", archives())
def test_a_damaged_archive_is_prepared_or_refused(kind, tmp_path):
    path = tmp_path / f"images.{kind}"
    outside = {"note.txt": b"not to be touched"}
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/note.txt").write_bytes(outside["note.txt"])
    folders = iter(range(10**9))

    @seed(SEED)
    @fuzz
    @given(DAMAGES)
    def check(damages):
        folder = tmp_path / f"data{next(folders)}" / "tiny"
        path.write_bytes(damaged(archives()[kind], damages))
        options = datasets.source("folder").Options(source="folder", path=str(path), classes=2, size=4, channels=3)
        with harmless():
            try:
                download("tiny", options.raw_spec(), None, folder / "raw.json", path=options.own_path)
                prepare("tiny", options.prepared_spec(), folder / "raw.json", folder / "dataset.json")
            except UserError as error:
                assert_names(error, path.name)
                assert not (folder / "dataset.json").exists()
            else:
                images, _, info = open_dataset(folder / "dataset.json", "train")
                assert images.shape[1:] == (4, 4, 3)
                assert len(info["classes"]) == 2
        assert files_in(tmp_path / "outside") == outside
        assert {each.name.rstrip("0123456789") for each in tmp_path.iterdir()} == {"data", "outside", path.name}

    check()


# -- configuration -----------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


def test_a_damaged_configuration_is_taken_or_refused(root, tmp_path):
    whole = (root / "config.yaml").read_bytes()

    @seed(SEED)
    @fuzz
    @given(DAMAGES)
    def check(damages):
        read_or_refuse(load_config, tmp_path / "config.yaml", damaged(whole, damages))

    check()


def test_any_value_at_any_key_is_taken_or_refused(root, tmp_path):
    whole = (root / "config.yaml").read_text(encoding="utf-8")
    (tmp_path / "config.yaml").write_text(whole, encoding="utf-8")
    keys = [
        ("study",),
        ("datasets", "digits"),
        ("datasets", "digits", "size"),
        ("models", "vgg16"),
        ("models", "resnet50", "architecture"),
        ("recipes", "quick"),
        *(("recipes", "quick", key) for key in ("epochs", "lr", "batch_size", "augment", "optimizer", "clip_norm")),
        ("recipes", "quick", "augment", "mixup"),
        ("studies", "demo"),
    ]

    @seed(SEED)
    @fuzz
    @given(st.sampled_from(keys), VALUES)
    def check(path, value):
        overrides = value
        for key in reversed(path):
            overrides = {key: overrides}
        with harmless():
            try:
                load_config(tmp_path / "config.yaml", overrides)
            except UserError as error:
                assert_names(error, path[0])

    check()


# -- results and states ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "read"),
    [("history.csv", read_history), ("metrics.json", read_metrics), ("timing.json", read_timing)],
)
def test_a_damaged_result_is_read_or_refused(name, read, experiment, tmp_path):
    whole = (experiment() / name).read_bytes()

    @seed(SEED)
    @fuzz
    @given(DAMAGES)
    def check(damages):
        read_or_refuse(read, tmp_path / name, damaged(whole, damages))

    check()


def test_damaged_weights_are_read_or_refused(tmp_path):
    save_file({"layer.weight": torch.arange(12.0).reshape(3, 4)}, tmp_path / "whole", {"spec": "{}"})
    whole = (tmp_path / "whole").read_bytes()

    @seed(SEED)
    @fuzz
    @given(DAMAGES)
    def check(damages):
        read_or_refuse(load_tensors, tmp_path / "model.safetensors", damaged(whole, damages))

    check()


def test_a_damaged_saved_state_is_used_whole_or_not_at_all(tmp_path):
    saved = {"model.weight": torch.arange(12.0).reshape(3, 4)}
    CheckpointDir(tmp_path / "whole", "key", pytest.fail).save(7, saved, {"epoch": 1})
    names = ("state-7.safetensors", "state-7.json")
    whole = {name: (tmp_path / "whole" / name).read_bytes() for name in names}

    @seed(SEED)
    @fuzz
    @given(st.sampled_from(names), DAMAGES)
    def check(name, damages):
        lines: list[str] = []
        folder = tmp_path / "damaged"
        folder.mkdir(exist_ok=True)
        for other, content in whole.items():
            (folder / other).write_bytes(damaged(content, damages) if other == name else content)
        with harmless():
            found = CheckpointDir(folder, "key", lines.append).load()
        if found is None:
            assert any("state-7" in line for line in lines) or not json_object(folder / "state-7.json")
        else:
            assert torch.equal(found[0]["model.weight"], saved["model.weight"])
            assert found[1] == {"epoch": 1}

    check()


def json_object(path: Path) -> bool:
    """Return whether a file is a JSON object."""
    try:
        return isinstance(json.loads(path.read_text()), dict)
    except ValueError:
        return False
