"""The options of scripts about a whole study: which study and which values, as Snakemake has them, and where it is."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepnets.planning.job_files import load_working_config
from deepnets.utils.errors import UserError

if TYPE_CHECKING:
    from deepnets.config.schema import Config


def add_config_options(parser: argparse.ArgumentParser, *, study: bool = True) -> None:
    """Add --config and --configfile, by all names that Snakemake has for them; also --study and --root, if `study`."""
    parser.add_argument(
        *("--config", "-C"), nargs="+", default=[], metavar="KEY=VALUE", help="values of config.yaml for this call"
    )
    parser.add_argument(
        *("--configfile", "--configfiles"), nargs="+", default=[], metavar="FILE", help="files with such values"
    )
    parser.set_defaults(study=None)
    if study:
        parser.add_argument("--study", help="a study of config.yaml (default: the one that it names)")
        parser.add_argument(
            "--root",
            type=Path,
            default=Path(),
            metavar="FOLDER",
            help="holds data/, results/ and logs/ (default: this folder)",
        )


def load_config_of(args: argparse.Namespace) -> "Config":
    """Read config.yaml with the values of the options that `add_config_options` has added.

    Raises:
        UserError: a mistake in an option, a file or config.yaml.
    """
    command_line = {"study": args.study} if args.study else {}
    if not (args.config or args.configfile):
        return load_working_config(command_line, "--study")
    from snakemake.cli import parse_config  # these take a second to load
    from snakemake.common.configfile import load_configfile
    from snakemake.exceptions import WorkflowError
    from snakemake.utils import update_config

    values: dict[str, Any] = {}
    try:
        for file in args.configfile:
            update_config(values, load_configfile(file))
        command_line = {**parse_config(args.config), **command_line}
    except (WorkflowError, ValueError, OSError) as error:  # ValueError: also of the encoding
        raise UserError(f"--configfile or --config: {error}; write --config study=paper") from None
    update_config(values, command_line)
    sources = [*args.configfile, *(["--config"] if args.config else []), *(["--study"] if args.study else [])]
    return load_working_config(values, " or ".join(sources), command_line)


def snakemake_options(args: argparse.Namespace) -> str:
    """Return the same study and values as options of Snakemake, each after a space; "" where none is given."""
    files = ["--configfile", *args.configfile] if args.configfile else []
    values = [*args.config, *([f"study={args.study}"] if args.study else [])]
    words = [*files, *(["--config", *values] if values else [])]
    return "".join(f" {shlex.quote(word)}" for word in words)
