"""Read weights that others saved: safetensors, or files of torch.save, of which no code is run."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepnets.utils.errors import UserError
from deepnets.utils.tensors import load_tensors
from deepnets.utils.text import first_few

# Under which a checkpoint may have its weights, next to optimizer state and more; averaged weights come first, as those
# are what a training run with an average is measured by.
_TABLES = (
    *("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "module"),
    *("network", "net", "weights", "params"),
)


def read_weights(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file by name, on the CPU, and what a file of this program says of them.

    Of a checkpoint, the tensors are those of its network.

    Returns:
        the tensors; and spec, classes, mean, std and more, {} for files of other programs.

    Raises:
        UserError: it is missing or damaged, or holds something else than tensors.
    """
    if file.suffix == ".safetensors":
        tensors, texts = load_tensors(file)
        # Other programs mean other things by the same keys.
        ours = "spec_sha256" in texts or "published" in texts
        return tensors, {key: _decoded(text) for key, text in texts.items()} if ours else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other kinds of pickle, which it reads or refuses
            content = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; correct weights in config.yaml") from None
    except Exception as error:  # a file can be anything
        raise UserError(
            f"{file}: not read ({' '.join(str(error).split())[:120]}); only tensors are, as all else in a pickle can"
            " run code; save them with torch.save(network.state_dict(), ...) or as safetensors"
        ) from None
    tensors = _tensors(content)
    if not tensors:
        keys = f" of {first_few([str(key) for key in content])}" if isinstance(content, dict) else ""
        raise UserError(
            f"{file}: holds no tensors by name but a {type(content).__name__}{keys}; save the network's state_dict()"
        )
    return tensors, {}


def _tensors(content: Any) -> dict[str, Tensor]:
    if not isinstance(content, dict):
        return {}
    table = next((content[key] for key in _TABLES if isinstance(content.get(key), dict)), content)
    return {str(name): each for name, each in table.items() if isinstance(each, Tensor)}


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
