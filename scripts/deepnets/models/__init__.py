"""The registry of architectures: one module of this folder per architecture, named as config.yaml names it.

Every module has
    Options           the architecture's options (a deepnets.utils.option_types.StrictModel; every field has a default)
    MIN_IMAGE_SIZE    the smallest height and width of an image in pixels that it accepts
    build(num_classes, in_channels, options) -> torch.nn.Module
and may have
    ABOUT             its name for readers, its look in figures and its cost (deepnets.models._about.About), assigned
                      in one statement; changing it retrains nothing, because it does not count as code.
It imports torch only inside its functions, so that config.yaml is checked without loading torch. The names of helper
modules start with an underscore.

A name like `timm/convnext_atto` or `my_models.py:SmallNet` stands for a network elsewhere (deepnets.models._named).
"""

import contextlib
import importlib
import importlib.util
import pkgutil
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from deepnets.models._about import About
from deepnets.models._readable import is_named_after, readable
from deepnets.utils.errors import UserError
from deepnets.utils.option_types import StrictModel
from deepnets.utils.text import nearest, one_line
from deepnets.utils.torch_errors import is_out_of_memory

# The modules of this folder that are of no network.
_PROJECT = (
    *("__init__", "_about", "_check", "_library", "_named", "_own_file", "_pretrained", "_published", "_readable"),
    *("_resize", "_sizes", "_small_stem", "_stem", "_weight_files"),
)
_OWN_MODULES = tuple(f"{name}.py" for name in _PROJECT)
own_folders: set[str] = set()  # of the users' files that were loaded
# The names that every model of config.yaml has next to its options.
_RESERVED = {"architecture", "freeze", "mean", "on", "spec", "std", "weights"}


def available() -> list[str]:
    """Names of all architectures, sorted, without helpers (_name) and files that Python cannot import."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in names if name.isidentifier() and not name.startswith("_"))


def named(name: str) -> Any:
    """The network (deepnets.models._named.Network) that is named by its place; None for that of a module here."""
    if not set("/:.") & set(name):
        return None
    return importlib.import_module(f"{__name__}._named").network(name)  # so, its code is not every network's code


def architecture(name: str) -> Any:
    """The module of one architecture, or the network that is named by its place and has the same attributes.

    Raises:
        UserError: there is no such architecture (the message has the nearest name or all names), its module cannot be
            imported, or it lacks something.
    """
    if (network := named(name)) is not None:
        return network
    if name not in available():
        raise UserError(f"unknown architecture {name!r}; {nearest(name, available())}")
    try:
        module = importlib.import_module(f"{__name__}.{name}")
        mistakes = list(_mistakes(module))
    except (Exception, SystemExit) as error:  # a user's module can fail in any way
        location = location_of(error) or file_of(name)
        raise UserError(f"{location}: {reason_of(error)}; fix it or move the file away") from None
    if mistakes:
        raise UserError("\n".join(f"{file_of(name)}: {mistake}; fix it or move the file away" for mistake in mistakes))
    return module


def module_of(name: str) -> str:
    """The module that builds an architecture, by its whole name."""
    network = named(name)
    return f"{__name__}.{name if network is None else network.module}"


def library_of(name: str) -> str | None:
    """The package that an architecture's network is from, torchvision or timm; None if it is in a file."""
    network = named(name)
    return None if network is None else network.library


def file_of(name: str) -> str:
    """Where a message sends the reader: the path of an architecture's module or file, a library's network's name."""
    if (network := named(name)) is not None:
        return network.place
    spec = importlib.util.find_spec(f"{__name__}.{name}")
    return str(spec and spec.origin)


def reason_of(error: BaseException) -> str:
    """The kind and the first line of an error of a network's own code."""
    return one_line(f"{type(error).__name__}: {error}".partition("\n")[0])[:300]


def location_of(error: BaseException) -> str | None:
    """The file and the line of a network's own code at which an error arose.

    None: it arose elsewhere, as this project's innermost line on the way to it is not in a module of a network.
    """
    if isinstance(error, SyntaxError) and error.filename and _is_of_network(error.filename):
        return f"{error.filename}:{error.lineno or 1}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_of_project(frame.filename)]
    if not frames or not _is_of_network(frames[-1].filename):
        return None
    return f"{frames[-1].filename}:{frames[-1].lineno}"


def _is_of_network(file: str) -> bool:
    folder = str(Path(file).parent)
    return folder in own_folders or (folder in __path__ and Path(file).name not in _OWN_MODULES)


def _is_of_project(file: str) -> bool:
    return _is_of_network(file) or Path(__file__).parents[1] in Path(file).parents


@contextlib.contextmanager
def own_errors() -> Iterator[None]:
    """Report an error that arises in a network's own code, with its file and line; other errors pass through.

    Raises:
        UserError: instead of the network's error.
    """
    try:
        yield
    except Exception as error:
        location = location_of(error)
        if location is None or isinstance(error, UserError) or is_out_of_memory(error):
            raise
        raise UserError(f"{location}: {reason_of(error)}; correct this line or what leads to it") from None


def _mistakes(module: ModuleType) -> Iterator[str]:
    options = getattr(module, "Options", None)
    if not (isinstance(options, type) and issubclass(options, StrictModel)):
        yield "has no class Options(StrictModel), with StrictModel from deepnets.utils.option_types"
    else:
        for name in sorted(_RESERVED & options.model_fields.keys()):
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
    if not isinstance(getattr(module, "ABOUT", About()), About):
        yield "ABOUT must be an About(...), with About from deepnets.models._about"


def about(name: str) -> About:
    """Return the ABOUT of an architecture's module; the defaults if no architecture has this name.

    Raises:
        UserError: the module is broken.
    """
    known = name in available() or named(name) is not None
    return getattr(architecture(name), "ABOUT", About()) if known else About()


def display_name(model: str, architecture: str | None = None) -> str:
    """The name of a model for readers: `convnext_atto` is ConvNeXt Atto, a user's own `my_net` stays my_net.

    Args:
        model: its name in config.yaml, or that of an architecture.
        architecture: of a model of config.yaml. If the name is not that of this network, or of its family, it stays as
            it is written: `convnext` with the architecture `resnet50` is no ConvNeXt.
    """
    if architecture is not None and not is_named_after(model, architecture):
        return model
    return about(model).display_name or readable(model) or model


def build(spec: dict, num_classes: int, in_channels: int, image_size: tuple[int, int] | None = None):
    """Build the network of a model spec `{"architecture": ..., **options}`; its weights are drawn from torch's RNG.

    Args:
        spec: as above; `freeze`, which the network does not know, may be among the options.
        num_classes: length of the logits.
        in_channels: of the images.
        image_size: height and width of the images in pixels, for libraries' networks that are built for one size.

    Returns:
        torch.nn.Module taking float (N, in_channels, H, W), giving logits (N, num_classes).

    Raises:
        UserError: the module's own code failed; the message has its file and line.
    """
    options = {key: value for key, value in spec.items() if key not in ("architecture", "freeze")}
    module = architecture(spec["architecture"])
    call = getattr(module, "call", "build(num_classes, in_channels, options)")
    try:
        arguments = (num_classes, in_channels, module.Options(**options))
        if (network := named(spec["architecture"])) is not None:
            builder = importlib.import_module(module_of(spec["architecture"]))
            return builder.build(network, *arguments, image_size)
        return module.build(*arguments)
    except (Exception, SystemExit) as error:  # a user's module can fail in any way
        if isinstance(error, UserError) or is_out_of_memory(error):
            raise
        location = location_of(error) or file_of(spec["architecture"])
        raise UserError(f"{location}: {reason_of(error)}; correct {call}") from None
