"""The registry of architectures: one module of this folder per architecture, named as config.yaml names it.

Every module offers
    Options           the architecture's settings (deepnets.settings.Settings; every field has a default)
    MIN_IMAGE_SIZE    the smallest image side in pixels that it accepts
    build(num_classes, in_channels, options) -> torch.nn.Module
and imports torch inside its functions only, so that config.yaml is checked without loading torch.
"""

import importlib
import pkgutil
from types import ModuleType

from deepnets.errors import UserError, nearest


def available() -> list[str]:
    """Names of all architectures, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def architecture(name: str) -> ModuleType:
    """The module of one architecture.

    Raises:
        UserError: there is no such architecture; the message has the nearest name or all.
    """
    if name not in available():
        raise UserError(f"unknown architecture {name!r}; {nearest(name, available())}")
    return importlib.import_module(f"{__name__}.{name}")


def build(spec: dict, num_classes: int, in_channels: int):
    """Build the network of a model spec `{"architecture": ..., **options}`, freshly initialised from torch's RNG.

    Returns:
        torch.nn.Module taking float (N, in_channels, H, W), giving logits (N, num_classes).
    """
    options = {key: value for key, value in spec.items() if key != "architecture"}
    module = architecture(spec["architecture"])
    return module.build(num_classes, in_channels, module.Options(**options))
