"""How a script knows its job: from the file that the workflow wrote for it, or by its name from config.yaml."""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Mapping
from importlib.abc import MetaPathFinder
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from deepnets.planning import code_digest, found_values
from deepnets.planning.code_digest import SCRIPTS, digests, parsed_digests, use_digests
from deepnets.planning.job import name_form, parse_name
from deepnets.utils import paths
from deepnets.utils.command_line import argument_parser
from deepnets.utils.errors import UserError
from deepnets.utils.files import canonical_json, sha256_file, sha256_text, write_text

if TYPE_CHECKING:
    from deepnets.config.schema import Config


_PLANNED_NAME = re.compile(r"[a-z_]+-([0-9a-f]{16})\.json")  # of `job_file`


def job_file(stage: str, fingerprint: str) -> str:
    """Return the path of a job's file; another fingerprint is another file."""
    return f"{paths.JOBS}/{stage}-{_digest(fingerprint)}.json"


def _digest(fingerprint: str) -> str:
    return sha256_text(fingerprint)[:16]


def write_job_file(path: str | Path, fingerprint: str) -> None:
    """Write what a job depends on, where it is not there already: the file's name holds the hash of its content."""
    if not Path(path).exists():
        write_text(path, fingerprint)


def write_code_digests() -> None:
    """Write the digests of the code that was parsed to plan the jobs, which then parse only what changed since."""
    write_text(f"{paths.JOBS}/{_code_digests_file()}", canonical_json(parsed_digests()))


def _read_code_digests(folder: Path) -> dict[str, str]:
    """Read them; without them, and where they are damaged, the job parses all its code."""
    try:
        found = json.loads((folder / _code_digests_file()).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _code_digests_file() -> str:
    """Return the name of their file, with the hash of the module that makes them: another version makes others."""
    return f"code-{sha256_file(code_digest.__file__)[:16]}.json"


def job_parser(docstring: str | None, stage: str) -> argparse.ArgumentParser:
    """Return the parser of a stage's script: the job's name, its file, and the folder of data/ and results/."""
    parser = argument_parser(docstring)
    parser.add_argument("name", metavar="NAME", help=f"the job: {name_form(stage)}")
    parser.add_argument(
        "--job",
        type=Path,
        metavar="FILE",
        help="what the job depends on, written by the workflow (default: config.yaml)",
    )
    parser.add_argument(
        "--root", type=Path, default=Path(), metavar="FOLDER", help="holds data/ and results/ (default: this folder)"
    )
    return parser


def load_job(stage: str, args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, str]]:
    """Read what a job depends on, from `args.job` or, where that is left out, from config.yaml.

    Only a real run writes the files, and the next one removes them. For the line of a planned or an earlier job,
    config.yaml serves as well, as long as it still gives the same job.

    Returns:
        the decoded fingerprint, {"code": ..., "spec": ..., ...}, of a network with what only the images show; and the
        job's wildcards, from its name.

    Raises:
        UserError: the name or the configuration is wrong, or the file is of another configuration or other code than
            this process has loaded.
    """
    wildcards = parse_name(stage, args.name)
    if args.job is not None and args.job.exists():
        job = _read_job(args.job)
        use_digests(_read_code_digests(args.job.parent))
        check_code(job)
        return _with_found(stage, job, wildcards, args.root), wildcards
    fingerprint = _fingerprint_of_config(stage, wildcards, args.root)
    if args.job is not None and Path(job_file(stage, fingerprint)).name != args.job.name:
        raise UserError(
            f"{args.job}: the file is missing, and config.yaml or the code has changed since this job was planned;"
            " start Snakemake again, or leave out --job"
        )
    return _with_found(stage, json.loads(fingerprint), wildcards, args.root), wildcards


def _with_found(stage: str, job: dict[str, Any], wildcards: dict[str, str], root: Path) -> dict[str, Any]:
    """Add what only the prepared images show, and check what depends on it."""
    if stage in ("summarize", "latency"):
        return {**job, "spec": found_values.complete(job["spec"], root, wildcards["dataset"])}
    if stage == "train":
        found_values.check_recipe(job["spec"], root, wildcards["dataset"])
    return job


def _read_job(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        job = json.loads(text)
    except ValueError as error:
        raise UserError(f"{file}: damaged, not JSON ({error}); start Snakemake again") from None
    planned = _PLANNED_NAME.fullmatch(file.name)
    if (planned and planned[1] != _digest(text)) or not isinstance(job, dict):
        raise UserError(f"{file}: damaged, not what the workflow wrote; start Snakemake again")
    return job


def check_code(job: Mapping[str, Any]) -> None:
    """Compare a job's files with those that it was planned with: now and, those not loaded yet, when they are imported.

    Its result is recorded as that of the planned code, even if a file is edited while a study runs, and changed back.

    Raises:
        UserError: a file is not what it was when the job was planned; importing it later raises the same.
    """
    code, files = job.get("code", {}), job.get("files", {})
    try:
        now = {name: sha256_file(paths.REPOSITORY / name) for name in files} | _digests_now(code)
    except FileNotFoundError as error:
        raise _edited(error.filename) from None
    for name, planned in {**files, **code}.items():
        if now[name] != planned:
            raise _edited(name)
    sys.meta_path.insert(0, _PlannedModules(code))


def _digests_now(code: Iterable[str]) -> dict[str, str]:
    """Digests of the repository's files, and of those of a user's network, which are next to config.yaml."""
    found = dict[str, str]()
    for name in code:
        own = not name.startswith(f"{SCRIPTS}/") and Path(name).is_file()
        found |= digests([name], Path.cwd() if own else paths.REPOSITORY)
    return found


class _PlannedModules(MetaPathFinder):
    """Finds no module, and refuses one whose file was edited since its job was planned."""

    def __init__(self, code: Mapping[str, str]):
        self.files = {_module_name(name): name for name in code if name.startswith(f"{SCRIPTS}/")}
        self.code = code

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        name = self.files.get(fullname)
        if name is not None and digests([name], paths.REPOSITORY)[name] != self.code[name]:
            raise _edited(name)


def _module_name(file: str) -> str:
    return ".".join(PurePosixPath(file).relative_to(SCRIPTS).with_suffix("").parts).removesuffix(".__init__")


def _edited(name: str) -> UserError:
    return UserError(f"{name}: edited since this job was planned; start Snakemake again")


def _fingerprint_of_config(stage: str, wildcards: dict[str, str], root: Path) -> str:
    from deepnets.planning.jobs import Jobs  # these take a third of a second, which the workflow's jobs save

    return Jobs(load_working_config(), paths.REPOSITORY, root).fingerprint(stage, wildcards)


def load_working_config(
    overrides: dict[str, Any] | None = None,
    overrides_from: str = "--config",
    command_line: dict[str, Any] | None = None,
) -> "Config":
    """Read the working directory's config.yaml; if it does not exist, the repository's.

    Arguments as of `deepnets.config.loader.load_config`.

    Raises:
        UserError: with all mistakes in it, a line each.
    """
    from deepnets.config.loader import load_config

    own = Path("config.yaml")
    return load_config(
        own if own.exists() else paths.REPOSITORY / "config.yaml", overrides, overrides_from, command_line
    )
