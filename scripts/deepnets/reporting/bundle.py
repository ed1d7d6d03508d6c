"""bundle.zip of an experiment: all that is needed to use its network elsewhere, without this project."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

import numpy as np
import onnxruntime
import PIL

from deepnets import models
from deepnets.config.experiment import spec_sha256
from deepnets.utils import paths
from deepnets.utils.checksums import record_checksums, verify
from deepnets.utils.errors import UserError
from deepnets.utils.files import atomic_path
from deepnets.utils.logging import LOG
from deepnets.utils.programs import program
from deepnets.utils.specs import check_made_by, read_head

PREDICT, REQUIREMENTS = "predict.py", "requirements.txt"  # in the zip
_READABLE = 0o644 << 16  # for everybody, in the place where a zip has it
_UNIX = 3


def write_bundle(job: dict[str, Any], root: Path) -> None:
    """Pack model card, weights, model.onnx, an example that predicts with it, and its requirements into bundle.zip.

    Where the network is in a file of the user's, that file and what it imports are packed, too: the weights need them.

    The same files and versions give the same bytes.

    Args:
        job: {"experiment": its names, "spec": its spec, "code": digests of the code, "network": those of the file of
            its network}.
        root: the folder that holds data/ and results/.

    Raises:
        UserError: a file is missing, damaged or of other settings, or the user's has the name of one in the zip.
    """
    names = job["experiment"]
    folder = root / paths.EXPERIMENT.format(**names)
    bundle = folder / paths.BUNDLE_FILE
    files = {name: folder / name for name in (paths.CARD_FILE, paths.MODEL_FILE, paths.ONNX_FILE)}
    for file in files.values():
        if not file.is_file():
            command = f"{program('snakemake')} --cores 2 {paths.BUNDLE.format(**names)}"
            raise UserError(f"{file}: the file is missing; {command} makes it.")
        verify(file)
    check_made_by(files[paths.MODEL_FILE], read_head(files[paths.MODEL_FILE], "spec").get("spec"), job["spec"])
    _check_onnx(files[paths.ONNX_FILE], spec_sha256(job["spec"]))
    files[PREDICT] = paths.REPOSITORY / paths.BUNDLE_EXAMPLE
    own = _files_of_network(job["spec"]["model"]["architecture"], job["network"])
    if PREDICT in own:
        raise UserError(
            f"{own[PREDICT]}: {paths.BUNDLE_FILE} has its own {PREDICT}; rename yours, also in architecture of"
            " config.yaml or where it is imported. Its networks are then retrained."
        )
    files |= own
    inside = paths.EXPERIMENT_NAME.format(**names).replace("/", "-")  # one folder, so that it can be unpacked anywhere
    # Not compressed: weights hardly shrink.
    with record_checksums("bundle", bundle), atomic_path(bundle) as temporary, ZipFile(temporary, "w") as packed:
        for name, file in files.items():
            with open(file, "rb") as source, packed.open(_entry(f"{inside}/{name}", file), "w") as entry:
                shutil.copyfileobj(source, entry)
        packed.writestr(_entry(f"{inside}/{REQUIREMENTS}"), _requirements())
    LOG.info("%s: %.1f MB, to be unpacked anywhere", bundle, bundle.stat().st_size / 1e6)


def _files_of_network(architecture: str, digests: Iterable[str]) -> dict[str, Path]:
    """Return the paths of the user's files of a network, by their names from the folder of config.yaml on."""
    network = models.named(architecture)
    own = None if network is None else network.own_file()
    if own is None:
        return {}
    _, folder = own
    return {name: folder / name for name in digests if not name.startswith("scripts/")}  # those are of this project


def _check_onnx(file: Path, expected: str) -> None:
    """Check which experiment model.onnx is of; with onnxruntime, as nothing else reads it."""
    found = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).get_modelmeta().custom_metadata_map
    if found.get("spec_sha256") != expected:
        raise UserError(f"{file}: made with other settings; delete it, and the next run rebuilds it.")


def _entry(name: str, file: Path | None = None) -> ZipInfo:
    """Return an entry without a time, and with the same rights wherever it is packed."""
    entry = ZipInfo(name)
    entry.external_attr, entry.create_system = _READABLE, _UNIX
    if file is not None:
        entry.file_size = file.stat().st_size  # zipfile has another header from 2 GB on
    return entry


def _requirements() -> str:
    versions = {"onnxruntime": onnxruntime.__version__, "numpy": np.__version__, "pillow": PIL.__version__}
    lines = [f"{name}=={version}" for name, version in versions.items()]
    return "\n".join(["# For predict.py; newer versions should do as well.", *lines, ""])
