"""Networks that config.yaml names by their place: `torchvision/<name>`, `timm/<name>` and `<file>.py:<name>`.

Nothing here imports a library of networks or a user's file: both load torch. Names and options are read from the source
text of what is installed, and so are never out of date; what only the network itself can tell is checked by `build`.
"""

import ast
import contextlib
import functools
import importlib.util
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from deepnets.models._about import About
from deepnets.models._readable import readable
from deepnets.utils import paths
from deepnets.utils.errors import UserError
from deepnets.utils.option_types import MAX_IMAGE_SIZE, PositiveInt, StrictModel, measured_in
from deepnets.utils.text import nearest

# Each kind as messages and the schema show it, and what names of it look like.
PATTERNS = {
    "torchvision/<name>": r"^torchvision/\w+$",
    "timm/<name>": r"^timm/\w+(\.\w+)?$",
    "<file>.py:<name>": r"^[^/:][^:]{0,199}\.py:[A-Za-z_]\w*$",
}
OWN = "<file>.py:<name>"
FAMILIES_WITH_SMALL_STEM = "resnet, resnext, wide_resnet, densenet, mobilenet, efficientnet, convnext and regnet"
HAS_SMALL_STEM = re.compile("res?next|resnet|densenet|mobilenet|efficientnet|convnext|regnet")
# Arguments that this project gives, and those with which a network would return something else than logits.
_GIVEN = {"num_classes", "in_channels"}
_GIVEN_TO_LIBRARIES = _GIVEN | {
    *("in_chans", "weights", "pretrained", "progress", "aux_logits", "init_weights", "transform_input"),
    *("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir", "checkpoint_path", "features_only", "out_indices"),
    *("scriptable", "exportable", "no_jit", "device", "dtype"),
}
_REGISTERED = re.compile(r"^@register_model\b.*\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)
_OF_WEIGHTS = ("weights", "mean", "std", "freeze")  # keys of a whole model
_NUMBER = re.compile(r"[-+]?(\d+|\d*\.\d+|\d+\.)([eE][-+]?\d+)?")


def kind(architecture: str) -> str | None:
    """The key of PATTERNS to which an architecture's name belongs, even if the rest of it is misspelt; else None."""
    library, slash, _ = architecture.partition("/")
    if slash and library in ("torchvision", "timm"):
        return f"{library}/<name>"
    return OWN if ".py" in architecture or ":" in architecture else None


def untagged(architecture: str) -> str:
    """The name of a network without timm's tag of its weights: timm/resnet18 for timm/resnet18.a1_in1k."""
    return architecture.partition(".")[0] if architecture.startswith("timm/") else architecture


# -- options -----------------------------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """A value of the network's own option: a number, text, true, false, null, or a list of these.

    Numbers and flags come as text from --config, and 1e-3 does from YAML 1.1.
    """
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = int(value) if value.lstrip("+-").isdigit() else float(value)
    if value in ("true", "false"):
        return value == "true"
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    if value is not None and not isinstance(value, bool | int | float | str):
        raise ValueError("must be a number, text, true, false or a list of these")
    return value


_Plain = Annotated[
    Any,
    AfterValidator(_plain),
    WithJsonSchema(
        {"type": ["number", "string", "boolean", "array", "null"], "description": "An option of the network itself."}
    ),
]


class OwnOptions(StrictModel, extra="allow"):
    """The options of a network in a file of the user's: resize, and the callable's own arguments."""

    __pydantic_extra__: dict[str, _Plain] = Field(init=False)  # pydantic's way to give them a type
    resize: Annotated[PositiveInt, Field(le=MAX_IMAGE_SIZE), measured_in("px")] | None = Field(
        None,
        description="Smaller images are enlarged to this side in pixels inside the network, for networks that take no"
        " small ones; null leaves them as they are.",
    )

    @model_validator(mode="after")
    def _options_exist(self) -> "OwnOptions":
        architecture = getattr(self, "architecture", None)  # None: of a table `on:`, which its model checks
        if architecture is not None:
            for options in (self, *getattr(self, "on", {}).values()):
                check_options(architecture, options.model_extra or {})
        return self


class LibraryOptions(OwnOptions):
    """The options of a network of a library: resize, stem, and the network's own arguments."""

    stem: Literal["small"] | None = Field(
        None,
        description="small: for small images, the first convolution becomes 3x3 with stride 1, and the next halving is"
        f" left out (families {FAMILIES_WITH_SMALL_STEM}); null: the library's own.",
    )


def check_options(architecture: str, options: dict[str, Any]) -> None:
    """Find options that the network cannot have, by its source text.

    Raises:
        ValueError: with the option, its value, and the nearest name.
    """
    given = _GIVEN if kind(architecture) == OWN else _GIVEN_TO_LIBRARIES
    words = _words_of(architecture) if options else None
    for name, value in options.items():
        if name in _OF_WEIGHTS:  # it came from a table `on:`
            raise ValueError(f"on: {name} is of the whole model (got {value!r}); write another model for this dataset")
        if name in given:
            hint = "write weights: default" if name == "pretrained" else "leave it out"
            raise ValueError(f"{name} is not an option (got {value!r}): the workflow sets it; {hint}")
        if words is not None and name not in words.parameters | words.texts:
            raise ValueError(no_option(architecture, name, value))


def no_option(architecture: str, name: str, value: Any) -> str:
    """The message for an option that a network does not have, with the nearest one that its source text has."""
    own = kind(architecture) == OWN
    words, project = _words_of(architecture), ("resize", "on", *_OF_WEIGHTS) + (() if own else ("stem",))
    known = {*(words.parameters if words else ())} - (_GIVEN if own else _GIVEN_TO_LIBRARIES) | {*project}
    return f"{architecture} has no option {name!r} (got {value!r}); {nearest(name, sorted(known))[:300]}"


# -- networks ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """A network that is named by its place, with what a module of this folder has."""

    architecture: str
    kind: str
    MIN_IMAGE_SIZE: ClassVar[int] = 1  # its own is found by `summarize`, which tries it

    @property
    def ABOUT(self) -> About:  # noqa: N802 - as in a module
        """Its name for readers; it declares no look and no cost."""
        name = re.split("[/:]", self.architecture)[-1]
        return About(display_name=readable(name) or name)

    @property
    def Options(self) -> type[OwnOptions]:  # noqa: N802 - as in a module
        """The class of its options."""
        return OwnOptions if self.kind == OWN else LibraryOptions

    @property
    def library(self) -> str | None:
        """The package that it is from; None if it is in a file of the user's."""
        return None if self.kind == OWN else self.kind.partition("/")[0]

    @property
    def place(self) -> str:
        """Where a message sends the reader: the path of a user's file; a library's network by its name."""
        try:
            return str(split(self.architecture)[0]) if self.kind == OWN else self.architecture
        except ValueError:  # the file is gone
            return self.architecture

    def own_file(self) -> tuple[str, Path] | None:
        """The path of a user's file as config.yaml has it, and the folder where that path starts; of a library: None.

        Raises:
            UserError: the file is gone.
        """
        if self.kind != OWN:
            return None
        written = self.architecture.rpartition(":")[0]
        try:
            return written, split(self.architecture)[0].parents[len(Path(written).parts) - 1]
        except ValueError as error:
            raise UserError(str(error)) from None

    @property
    def call(self) -> str:
        """What a message asks to correct, if building it fails."""
        name = self.architecture.rpartition(":")[2]
        return f"{name}(num_classes, in_channels, ...)" if self.kind == OWN else "its options in config.yaml"

    @property
    def module(self) -> str:
        """The module, of this folder, that builds it."""
        return "_own_file" if self.kind == OWN else "_library"


def network(architecture: str) -> Network | None:
    """The network that a name stands for, whether or not it exists; None if it is the name of a module."""
    found = kind(architecture)
    return None if found is None else Network(architecture, found)


def check_name(architecture: str) -> str:
    """Return the name of a network that exists.

    Raises:
        ValueError: there is no such network or file; the message has the nearest name.
    """
    if kind(architecture) == OWN:
        file, name = split(architecture)
        names = top_level_names(file)
        if name not in names:
            raise ValueError(f"{file} has no {name!r}; {nearest(name, names)}")
    else:
        library, _, name = untagged(architecture).partition("/")
        if name not in networks(library):
            raise ValueError(f"{library} has no network {name!r}; {nearest(name, networks(library))[:300]}")
        if tag := architecture.partition(".")[2]:
            tags = re.findall(rf"[\"']{name}\.(\w+)[\"']", networks(library)[name].read_text(encoding="utf-8"))
            if tag not in tags:
                raise ValueError(f"{library} has no weights {tag!r} of {name}; {nearest(tag, tags)[:300]}")
    return architecture


def in_libraries(name: str) -> list[str]:
    """What config.yaml calls the networks of libraries that have this name: torchvision/resnet18, timm/resnet18."""
    name, found = name.lower().replace("-", "_"), []
    for library in ("torchvision", "timm"):
        with contextlib.suppress(ValueError):  # it is not installed
            found += [f"{library}/{name}"] if name in networks(library) else []
    return found


@functools.cache
def networks(library: str) -> dict[str, Path]:
    """The classification networks of a library, and the file of each, from its installed source text.

    Importing it would take seconds, and a list made beforehand would be that of another version.

    Raises:
        ValueError: the library is not installed.
    """
    spec = importlib.util.find_spec(library)
    if spec is None or spec.origin is None:
        raise ValueError(f"{library} is not installed; run: make setup")
    files = sorted(Path(spec.origin).with_name("models").glob("*.py"))
    return {name: file for file in files for name in _REGISTERED.findall(file.read_text(encoding="utf-8"))}


# -- a file of the user's ----------------------------------------------------------------------------------------------


def split(architecture: str) -> tuple[Path, str]:
    """The file and the callable of `<file>.py:<name>`. The file is next to config.yaml: here, or in the repository.

    Raises:
        ValueError: there is no such file, or it is outside that folder, or part of this project.
    """
    written, _, name = architecture.rpartition(":")
    if ".." in Path(written).parts or Path(written).is_absolute() or Path(written).parts[:1] == ("scripts",):
        raise ValueError(f"{written}: must be in the folder of config.yaml or in one below it, other than scripts/")
    for folder in (Path.cwd(), paths.REPOSITORY):
        if (folder / written).is_file():
            return folder / written, name
    raise ValueError(f"no file {written} in {Path.cwd()}, where config.yaml is; correct the name or add the file")


@functools.cache
def _parse(file: Path, _mtime_ns: int) -> ast.Module:
    try:
        return ast.parse(file.read_bytes())
    except SyntaxError as error:
        raise ValueError(f"{file}:{error.lineno or 1}: not valid Python ({error.msg}); fix it") from None
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror}); correct that") from None


def parse(file: Path) -> ast.Module:
    """The syntax tree of a Python file; raises ValueError, with its line, if it is not valid Python."""
    return _parse(file, file.stat().st_mtime_ns)


def top_level_names(file: Path) -> list[str]:
    """Names that a file defines, imports or assigns at its top level, without those that start with _."""
    found = dict[str, None]()
    for node in _outside_functions(parse(file).body):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                found[name] = None
            case ast.ImportFrom(names=names) | ast.Import(names=names):
                found.update({(alias.asname or alias.name).partition(".")[0]: None for alias in names})
    return [name for name in found if not name.startswith("_")]


def _outside_functions(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    for node in nodes:
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _outside_functions(ast.iter_child_nodes(node))


# -- the words of a source text ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Words:
    parameters: frozenset[str]
    texts: frozenset[str] = frozenset()


def _words_of(architecture: str) -> _Words | None:
    """What could be options of a network; None: only building it shows that."""
    if kind(architecture) == OWN:
        file, name = split(architecture)
        return _parameters_of_callable(parse(file), name)
    library, _, name = untagged(architecture).partition("/")
    return _words_of_library(networks(library)[name])


def _parameters_of_callable(tree: ast.Module, name: str) -> _Words | None:
    node = next((node for node in tree.body if getattr(node, "name", None) == name), None)
    if isinstance(node, ast.ClassDef):
        node = next((each for each in node.body if getattr(each, "name", None) == "__init__"), None)
    if not isinstance(node, ast.FunctionDef) or node.args.kwarg:
        return None
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return _Words(frozenset(argument.arg for argument in arguments) - {"self"})


@functools.cache
def _words_of_library(file: Path) -> _Words:
    """Parameters, and words in texts, of a file of a library's networks and of those of its folder that it imports.

    More than the options of one network, as they pass through `**kwargs`; so no option that exists is refused.
    """
    parameters, texts, seen, waiting = set(), set(), set(), [file]
    while waiting:
        path = waiting.pop()
        if path in seen or not path.is_file():
            continue
        seen.add(path)
        for node in ast.walk(parse(path)):
            match node:
                case ast.arg(arg=name) if path == file:
                    parameters.add(name)
                case ast.arg(arg=name) | ast.Constant(value=str(name)):
                    texts.add(name)
                case ast.ImportFrom(module=str(module)):  # relative, or with the package's name
                    waiting.append(path.with_name(f"{module.rpartition('.')[2]}.py"))
    return _Words(
        frozenset(name for name in parameters if name not in ("self", "x") and name[0] != "_"), frozenset(texts)
    )
