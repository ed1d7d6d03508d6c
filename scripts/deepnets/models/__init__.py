"""The registry of architectures: one module of this folder per architecture, named as config.yaml names it.

Every module offers
    Options           the architecture's settings (deepnets.settings.StrictModel; every field has a default)
    MIN_IMAGE_SIZE    the smallest image side in pixels that it accepts
    build(num_classes, in_channels, options) -> torch.nn.Module
and imports torch inside its functions only, so that config.yaml is checked without loading torch.
"""

import importlib
import importlib.util
import pkgutil
import traceback
from collections.abc import Iterator
from types import ModuleType

from pydantic import ValidationError

from deepnets.utils.errors import UserError
from deepnets.utils.option_types import StrictModel
from deepnets.utils.text import nearest, one_line

_TAKEN = {"architecture", "on", "spec"}  # what every model of config.yaml has, whatever its options


def available() -> list[str]:
    """Names of all architectures, sorted; helpers (_name) and files that Python cannot import are none."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in names if name.isidentifier() and not name.startswith("_"))


def architecture(name: str) -> ModuleType:
    """The module of one architecture.

    Raises:
        UserError: there is no such architecture (the message has the nearest name or all), its module cannot be
            imported, or lacks something.
    """
    if name not in available():
        raise UserError(f"unknown architecture {name!r}; {nearest(name, available())}")
    file = importlib.util.find_spec(f"{__name__}.{name}").origin
    try:
        module = importlib.import_module(f"{__name__}.{name}")
        mistakes = list(_mistakes(module))
    except (Exception, SystemExit) as error:  # people's own modules fail in any way
        said = one_line(f"{type(error).__name__}: {error}".partition("\n")[0])
        raise UserError(f"{_place(error, file)}: {said}; mend it or move the file away") from None
    if mistakes:
        raise UserError("\n".join(f"{file}: {mistake}; mend it or move the file away" for mistake in mistakes))
    return module


def _place(error: BaseException, file: str) -> str:
    """Where a module's own text made its import fail: file and line."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno or 1}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{file}:{lines[-1]}" if lines else file


def _mistakes(module: ModuleType) -> Iterator[str]:
    options = getattr(module, "Options", None)
    if not (isinstance(options, type) and issubclass(options, StrictModel)):
        yield "has no class Options(StrictModel), with StrictModel from deepnets.settings"
    else:
        for name in sorted(_TAKEN & options.model_fields.keys()):
            yield f"Options.{name} is a name that every model uses; give it another"
        try:
            options()
        except ValidationError as error:
            for detail in error.errors():
                yield f"Options.{'.'.join(map(str, detail['loc']))} has no valid default ({one_line(detail['msg'])})"
    least = getattr(module, "MIN_IMAGE_SIZE", None)
    if type(least) is not int or least < 1:
        yield f"MIN_IMAGE_SIZE must be a whole number of pixels above 0 (got {least!r:.60})"
    if not callable(getattr(module, "build", None)):
        yield "has no function build(num_classes, in_channels, options)"


def build(spec: dict, num_classes: int, in_channels: int):
    """Build the network of a model spec `{"architecture": ..., **options}`, freshly initialised from torch's RNG.

    Returns:
        torch.nn.Module taking float (N, in_channels, H, W), giving logits (N, num_classes).
    """
    options = {key: value for key, value in spec.items() if key != "architecture"}
    module = architecture(spec["architecture"])
    return module.build(num_classes, in_channels, module.Options(**options))
