"""Load a network of the user's from a file next to config.yaml, and call it with num_classes and in_channels."""

import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from deepnets import models
from deepnets.models import _named, _resize
from deepnets.utils.errors import UserError


def build(
    network: _named.Network,
    num_classes: int,
    in_channels: int,
    options: _named.OwnOptions,
    _image_size: tuple[int, int] | None,
) -> nn.Module:
    """The network that the user's callable returns, for images of `in_channels` and logits of `num_classes`.

    Raises:
        UserError: the file has no such callable, or it has no such option.
    """
    file, name = _named.split(network.architecture)
    create = getattr(_load(file), name, None)
    if not callable(create):
        raise UserError(f"{file}: has no class or function {name}; correct architecture in config.yaml, or add it")
    given = options.model_extra or {}
    arguments = {"num_classes": num_classes, "in_channels": in_channels, **given}
    try:
        inspect.signature(create).bind(**arguments)
    except TypeError as error:
        raise UserError(
            f"{file}: {name} cannot be called with {', '.join(arguments)} ({error}); let it take them, or correct the"
            " options in config.yaml"
        ) from None
    made = create(**arguments)
    return _resize.inside(made, options.resize) if isinstance(made, nn.Module) else made


def _load(file: Path) -> ModuleType:
    """Run a file as a module, under a name that no package has; it may import what is in its folder."""
    folder = str(file.parent)
    models.own_folders.add(folder)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    name = f"own_network_{file.stem}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(file):
        return known
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # as an import does: dataclasses look it up
    try:
        with torch.device("cpu"):  # its tensors must have values, also where a network is built without
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
