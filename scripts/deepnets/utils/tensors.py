"""Tensors on disk, in safetensors files and never as pickle; a file is either complete or absent."""

import json
import os
import re
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from safetensors.torch import save
from torch import Tensor

from deepnets.utils.errors import UserError
from deepnets.utils.files import atomic_path, canonical_json


def save_tensors(path: str | Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write tensors and metadata atomically as one safetensors file; the same content gives the same bytes.

    Tensors that share memory, such as tied weights, are each written in full.

    Args:
        path: the file.
        tensors: by name.
        metadata: strings are stored as they are, all other values as canonical JSON.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    texts = {key: value if isinstance(value, str) else canonical_json(value) for key, value in metadata.items()}
    with atomic_path(path) as temporary:
        try:
            safetensors.torch.save_file(_separate(tensors), temporary, texts)
        except safetensors.SafetensorError as error:  # a full disk is reported only in its text
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None
        _sort_metadata(temporary)


def can_be_saved(tensor: Tensor) -> bool:
    """Whether safetensors knows the tensor's layout and type."""
    if tensor.layout != torch.strided:
        return False
    try:
        save({"value": torch.zeros(1, dtype=tensor.dtype)})  # the type matters, not the values
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError):
        return False
    return True


def _separate(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, contiguous and without shared memory, which safetensors refuses; copied only where they share it."""
    owners: set[int] = set()
    separate = {}
    for name, tensor in tensors.items():
        own = tensor.contiguous()
        address = own.untyped_storage().data_ptr()
        separate[name] = own.clone() if address in owners else own
        owners.add(address)
    return separate


def _sort_metadata(path: Path) -> None:
    """Sort a safetensors file's metadata, which safetensors writes in the random order of a Rust hash map."""
    with open(path, "r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header = {"__metadata__": dict(sorted(header.pop("__metadata__").items())), **header}
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        file.seek(8)
        file.write(text.ljust(length))


def load_tensors(path: str | Path, hint: str = "delete it") -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a safetensors file, on the CPU, and its metadata.

    Args:
        path: the file.
        hint: what to do if it is damaged; what the workflow wrote is rebuilt once it is deleted.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(f"{path}: the file is missing; the next run rebuilds it.") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged ({error}); {hint}.") from None
