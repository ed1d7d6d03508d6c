"""The code that a result depends on: a script's import closure, and a digest of each file's code, not its text.

A stage runs again when its code changes, and only then. Its code is its script and the modules of this repository that
the script imports, directly or not. Only each file's syntax tree counts, so comments, docstrings and formatting retrain
nothing; nor does the text of an error that is raised, or a statement that only logs.

Reading costs about 20 ms per 1000 lines, once per file and process; a process that is given the digests of another one
parses only what has changed since.
"""

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deepnets.utils.errors import UserError

SCRIPTS = "scripts"  # where scripts find their modules, below the repository's root

# Modules that can change no result, and so make none stale: paths of files, texts of messages, lines of progress, times
# of waiting, plans of jobs, checks. A constant of any other module counts, as every module may import it.
IGNORED_MODULES = (
    "deepnets.data.download_errors",
    "deepnets.data.progress",
    "deepnets.data.quick_check",
    "deepnets.models._about",
    "deepnets.models._check",
    "deepnets.models._readable",
    "deepnets.models._sizes",
    "deepnets.planning",
    "deepnets.training.messages",
    "deepnets.training.progress",
    "deepnets.training.progress_file",
    "deepnets.training.tensorboard",
    "deepnets.utils.checksums",
    "deepnets.utils.command_line",
    "deepnets.utils.errors",
    "deepnets.utils.locks",
    "deepnets.utils.logging",
    "deepnets.utils.paths",
    "deepnets.utils.programs",
    "deepnets.utils.specs",
    "deepnets.utils.text",
    "deepnets.utils.waiting",
    "deepnets.utils.worker",
)
# The library's entry for users hands out names of modules that no job imports from there: its docstring alone counts.
ENTRY = (SCRIPTS, "deepnets", "__init__.py")
# A network's name, colour and cost.
IGNORED_ASSIGNMENTS = ("ABOUT",)

# Digests by the SHA-256 of a file's bytes: what this process has parsed, and what it was given.
_parsed: dict[str, str] = {}
_given: dict[str, str] = {}


class Source(NamedTuple):
    """A Python file in short: the modules that it imports (relative names with leading dots) and its digest."""

    imports: frozenset[str]
    digest: str


def import_closure(script: str | Path, root: str | Path, extra: Sequence[str] = ()) -> list[Path]:
    """Return the files of this repository that a script runs: itself and every module below scripts/ it can import.

    Imports inside functions count, and so do the `__init__.py` of the packages on the way. Modules that can change no
    result do not (IGNORED_MODULES).

    Args:
        script: the script, relative to `root`.
        root: the repository's root.
        extra: names of modules that are imported by a computed name ("deepnets.models.resnet50"), which are not in
            the syntax tree; their closures are added.

    Returns:
        Paths relative to `root`, sorted.

    Raises:
        UserError: one of the files is not valid Python; the message names it and the line.
        ModuleNotFoundError: a module of `extra` is not below scripts/.
    """
    root = Path(root)
    scripts = root / SCRIPTS
    start = [root / script, *(file for module in extra for file in _existing(scripts, module))]
    return sorted(path.relative_to(root) for path in _closure(start, [scripts]))


def own_digests(file: str, folder: Path, root: Path) -> dict[str, str]:
    """Return digests of a user's file and of the modules of its folder, and of this repository, that it imports.

    Args:
        file: path relative to `folder`, as in config.yaml.
        folder: of config.yaml; the paths of the user's files start there.
        root: the repository's root; the paths of its files start there.

    Raises:
        UserError: one of the files is not valid Python; the message names it and the line.
    """
    scripts = root / SCRIPTS
    found = _closure([folder / file], [scripts, (folder / file).parent])
    own = [path.relative_to(folder) for path in found if not path.is_relative_to(scripts)]
    return digests(own, folder) | digests(
        [path.relative_to(root) for path in found if path.is_relative_to(scripts)], root
    )


def _closure(start: Iterable[Path], folders: Sequence[Path]) -> set[Path]:
    """Return the files that importing some files runs, as far as they are in these folders; the last is searched first.

    A file is of the first folder that holds it.
    """
    found: set[Path] = set()
    waiting = list(start)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            folder = next(folder for folder in folders if path.is_relative_to(folder))
            package = ".".join(path.parent.relative_to(folder).parts)
            for name in read_source(path).imports:
                if name.startswith(".") and not package:  # a user's file is in no package; Python will refuse it
                    continue
                module = importlib.util.resolve_name(name, package)
                if not _is_ignored(module):
                    waiting += next(filter(None, (_module_files(each, module) for each in reversed(folders))), [])
    return found


def digests(paths: Iterable[str | Path], root: str | Path = ".") -> dict[str, str]:
    """Return a digest of each file: of its syntax tree if it is Python, else of its bytes.

    The same on every supported Python, unaffected by comments, docstrings and formatting.

    Args:
        paths: files, relative to `root`.
        root: the repository's root.

    Returns:
        16 hexadecimal digits by path as given, in POSIX spelling, sorted by path.

    Raises:
        UserError: a Python file is not valid Python; the message names it and the line.
    """
    return {path.as_posix(): _digest(Path(root) / path) for path in sorted(map(Path, paths))}


def parsed_digests() -> dict[str, str]:
    """Return the digests of the Python files that this process has parsed, by the SHA-256 of their bytes."""
    return dict(sorted(_parsed.items()))


def use_digests(found: Mapping[str, str]) -> None:
    """Use these digests, and do not parse the files that they are of.

    Args:
        found: `parsed_digests` of another process, with this module as it is now.
    """
    _given.update(found)


def read_source(path: Path) -> Source:
    """Return imports and digest of a Python file; read again only when its time or size has changed."""
    status = path.stat()
    return _read_source(path, status.st_mtime_ns, status.st_size)


@functools.cache
def _read_source(path: Path, _mtime_ns: int, _size: int) -> Source:
    content = path.read_bytes()
    try:
        tree = ast.parse(content)
    except SyntaxError as error:
        raise UserError(f"{path}:{error.lineno or 1}: not valid Python ({error.msg}); fix it.") from None
    if is_entry := path.parts[-3:] == ENTRY:
        tree.body = tree.body[:1]
    source = Source(frozenset(_imported_names(tree)), _short_hash(repr(_essence(tree)).encode()))
    if not is_entry:  # whose digest depends on its path, too
        _parsed[hashlib.sha256(content).hexdigest()] = source.digest
    return source


def _imported_names(tree: ast.AST) -> Iterator[str]:
    """Yield every name that an import statement in the tree may use as a module; many are only attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            yield origin
            separator = "" if origin.endswith(".") else "."
            yield from (f"{origin}{separator}{alias.name}" for alias in node.names if alias.name != "*")


def _module_files(scripts: Path, name: str) -> list[Path]:
    """Return the files below `scripts` that importing `name` runs: its packages' `__init__.py` and its own."""
    files = []
    path = scripts
    for word in name.split("."):
        path = path / word
        files += [file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()][:1]
    return files


def _existing(scripts: Path, name: str) -> list[Path]:
    files = _module_files(scripts, name)
    if len(files) != len(name.split(".")):
        raise ModuleNotFoundError(f"No module named {name!r} below {scripts}.")
    return files


def _digest(path: Path) -> str:
    if path.suffix != ".py":
        return _short_hash(path.read_bytes())
    if _given and path.parts[-3:] != ENTRY:
        given = _given.get(hashlib.sha256(path.read_bytes()).hexdigest())
    else:
        given = None
    return given or read_source(path).digest


def _short_hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _essence(node: Any) -> Any:
    """Return the part of a syntax tree that can change a result, as nested lists.

    Left out are positions, docstrings, `pass`, empty fields, log statements and texts of errors.

    ast.dump and ast.unparse are not used: their output for the same code differs between Python versions.
    """
    if isinstance(node, list):
        return [_essence(item) for item in node if not _is_inert(item)]
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        node = ast.Raise(_without_texts(node.exc), node.cause)
    if isinstance(node, ast.JoinedStr):  # Python 3.12.0 and 3.12.1 end some format specifications with an empty text
        node = ast.JoinedStr([part for part in node.values if not _is_empty_text(part)])
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if name not in ("ctx", "kind")]
        return [type(node).__name__, *((name, _essence(value)) for name, value in fields if value not in (None, []))]
    return repr(node)


def _is_ignored(module: str) -> bool:
    return any(module == ignored or module.startswith(f"{ignored}.") for ignored in IGNORED_MODULES)


def _is_inert(node: Any) -> bool:
    """Return whether a statement changes no result: a docstring, `pass`, `LOG.info(...)`, an ignored assignment."""
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return all(isinstance(target, ast.Name) and target.id in IGNORED_ASSIGNMENTS for target in targets)
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) or _is_logging(node.value)
    return isinstance(node, ast.Pass)


def _is_logging(call: ast.expr) -> bool:
    """Return whether an expression is a call of a method of LOG, as `LOG.info("...")`."""
    function = call.func if isinstance(call, ast.Call) else None
    return isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "LOG"


def _without_texts(call: ast.Call) -> ast.Call:
    """Return the call that makes an exception without its texts: what handles it asks for its class."""
    return ast.Call(call.func, [each for each in call.args if not _is_text(each)], call.keywords)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _is_empty_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value == ""
