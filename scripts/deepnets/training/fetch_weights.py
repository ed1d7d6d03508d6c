"""Fetch the weights that a library publishes: from a mirror or over https, checked against their hash."""

from pathlib import Path

from deepnets.data.download import fetch
from deepnets.data.raw_files import RawFile
from deepnets.data.search_paths import MIRROR_VARIABLE, find_local
from deepnets.models._published import Published, ask_hub, hub_address, published, tensors_of
from deepnets.utils.checksums import record_checksums
from deepnets.utils.errors import UserError
from deepnets.utils.files import sha256_file, write_json
from deepnets.utils.locks import hold_lock
from deepnets.utils.logging import LOG
from deepnets.utils.tensors import save_tensors


def fetch_weights(spec: dict[str, str], info: Path, weights: Path) -> None:
    """Write weights.safetensors, with the names of the installed library, and weights.json about it.

    The file itself stays next to them, for the next version of the library.

    Args:
        spec: of the published weights.
        info: path of weights.json.
        weights: path of weights.safetensors.

    Raises:
        UserError: the library publishes other weights now, or the file cannot be found or has another hash.
    """
    found = published(spec["published"])
    if found.spec != spec:
        raise UserError(f"{info}: the library publishes {found.name} now; start Snakemake again")
    with hold_lock(info.with_name(".fetch_weights.lock"), "fetches the same weights"):
        file = _fetch(found, info.parent)
        tensors = tensors_of(found, file)
        about = {"mean": found.mean, "std": found.std, "input_shape": [len(found.mean), found.size, found.size]}
        with record_checksums("fetch_weights", info, weights):
            save_tensors(weights, tensors, {"published": spec, **about})
            write_json(info, {"spec": spec, "sha256": sha256_file(file), **about})
    LOG.info("%s: %s", weights, found.name)


def _fetch(found: Published, folder: Path) -> Path:
    """The file itself, with the right hash, in a folder."""
    library = found.architecture.partition("/")[0]
    url, sha256, start = found.url, None, found.sha256_start
    if found.hub and find_local(found.file, library, own_path=False) is None:
        url, sha256 = _ask_hub(found, library)
    try:
        fetch(RawFile(found.file, (url,) if url else (), sha256=sha256), folder, library)
    except UserError as error:
        reason = str(error).partition(", or set `mirror:`")[0]  # which datasets have, and weights have not
        raise UserError(reason) from None
    file = folder / found.file
    digest = sha256_file(file)
    if not digest.startswith(start):
        file.unlink()
        raise UserError(
            f"{file}: wrong hash: sha256 is {digest}, expected to start with {start}; if it is from a mirror, replace"
            " it there"
        )
    return file


def _ask_hub(found: Published, library: str) -> tuple[str, str]:
    """Ask for the address and the SHA-256; without an answer, the error says which file is needed, and where."""
    try:
        return ask_hub(found.hub)
    except UserError as error:
        raise UserError(
            f"{error}; on a machine with internet, download {hub_address(found.hub)}, put it here as"
            f" <folder>/{library}/{found.file} and set {MIRROR_VARIABLE}=<folder>"
        ) from None
