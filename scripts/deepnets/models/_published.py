"""The weights that torchvision and timm publish of their networks: where they are, and how images were normalised.

Only the libraries themselves know it, so the functions import them, which takes seconds.
"""

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepnets.utils.errors import UserError

_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.\w+$")  # as in resnet18-f37072fd.pth: the start of the file's SHA-256
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
# Trained on images that torchvision normalises again inside the network, where it loads the weights itself.
_NORMALISED_AGAIN = ("googlenet", "inception_v3")


@dataclass(frozen=True)
class Published:
    """The weights that a library loads by default.

    file: its name in a mirror. url: its address, or "" if it is only on the library's model hub, as `hub` names it.
    sha256_start: the first digits of its SHA-256; "" if only the hub knows it. mean, std: per channel, as fractions of
    full intensity. size: side in pixels of the images that it was trained on.
    """

    architecture: str
    name: str
    file: str
    url: str
    hub: str
    sha256_start: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int

    @property
    def spec(self) -> dict[str, str]:
        """What identifies the weights in an experiment's spec."""
        return {"published": self.architecture, "name": self.name, "file": self.file}


@functools.cache
def published(architecture: str) -> Published:
    """The weights of a library's network, `torchvision/<name>`, `timm/<name>` or `timm/<name>.<tag of weights>`.

    Raises:
        UserError: the library publishes none, or none with a hash.
    """
    library, _, name = architecture.partition("/")
    found = _of_timm(architecture, name) if library == "timm" else _of_torchvision(architecture, name)
    if found is None:
        raise UserError(
            f"{architecture}: {library} publishes no weights of this network; leave out weights, or give a file"
        )
    return found


def _of_torchvision(architecture: str, name: str) -> Published | None:
    from torchvision.models import get_model_weights

    weights = getattr(get_model_weights(name), "DEFAULT", None)
    if weights is None:
        return None
    transforms, file = weights.transforms(), weights.url.rpartition("/")[2]
    half = (0.5, 0.5, 0.5)
    mean, std = (half, half) if name in _NORMALISED_AGAIN else (tuple(transforms.mean), tuple(transforms.std))
    size = transforms.crop_size[0]
    return Published(architecture, str(weights), file, weights.url, "", _hash_in(file), mean, std, size)


def _of_timm(architecture: str, name: str) -> Published | None:
    import timm

    try:
        config = timm.models.get_pretrained_cfg(name)
    except RuntimeError as error:  # of a tag that it does not know
        raise UserError(f"{architecture}: {error}; give the tag of other weights, or none") from None
    if config is None or not config.has_weights:
        return None
    url = config.url if isinstance(config.url, str) else (config.url or ("",))[0]
    file = url.rpartition("/")[2]
    full_name = ".".join(filter(None, (name.partition(".")[0], config.tag)))
    about: dict[str, Any] = {"mean": config.mean, "std": config.std, "size": config.input_size[-1]}
    if config.hf_hub_id and not _hash_in(file):
        hub = config.hf_hub_id + (full_name if config.hf_hub_id.endswith("/") else "")
        name_there = config.hf_hub_filename or "model.safetensors"
        file = f"{full_name}{Path(name_there).suffix}"
        return Published(architecture, full_name, file, "", f"{hub}:{name_there}", "", **about)
    if not _hash_in(file):
        raise UserError(
            f"{architecture}: timm gives no hash of its weights, so they are not downloaded; download {url} yourself,"
            " and write the path of the file after weights"
        )
    return Published(architecture, full_name, file, url, "", _hash_in(file), **about)


def _hash_in(file: str) -> str:
    found = _HASH_IN_NAME.search(file)
    return found[1] if found else ""


def ask_hub(hub: str) -> tuple[str, str]:
    """Ask the model hub that timm uses for a file's address and SHA-256.

    Args:
        hub: `<repository>:<file>`.

    Raises:
        UserError: there is no connection, or no such file.
    """
    from timm.models import _hub

    repository, _, file = hub.partition(":")
    try:
        found = _hub.model_info(repository, files_metadata=True)
        [sha256] = [each.lfs.sha256 for each in found.siblings or () if each.rfilename == file and each.lfs]
    except Exception as error:  # a library can fail in any way without a connection
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{repository}: the model hub did not name {file} ({type(error).__name__}: {reason})") from None
    return hub_address(hub, found.sha or "main"), sha256


def hub_address(hub: str, revision: str = "main") -> str:
    """The address of a file, `<repository>:<file>`, on the model hub that timm uses, or on the user's mirror of it."""
    from timm.models import _hub

    repository, _, file = hub.partition(":")
    return f"{_hub.HfApi().endpoint}/{repository}/resolve/{revision}/{file}"


def tensors_of(weights: Published, file: Path) -> dict[str, Any]:
    """The tensors of a published file by the names that the network has in the installed library.

    Raises:
        UserError: the file holds something else.
    """
    from deepnets.models._weight_files import read_weights

    library, _, name = weights.architecture.partition("/")
    if library == "torchvision":
        return {_OLD_DENSENET.sub(r"\1\2", key): tensor for key, tensor in read_weights(file)[0].items()}

    import timm

    # Read here, as older versions of timm run the code of a pickle; .npz are NumPy arrays, which timm itself reads.
    source = {"file": str(file)} if file.suffix == ".npz" else {"state_dict": read_weights(file)[0]}
    try:
        return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=source).state_dict()
    except Exception as error:  # a file can be anything
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{file}: timm cannot load it into {name} ({reason}); delete it, to fetch it again") from None
