"""Read and fill the templates of workflow/templates."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from deepnets.reporting.markdown import escape
from deepnets.utils.errors import UserError


def render_markdown(template: Path, context: dict[str, Any]) -> str:
    """Fill a template of Markdown; all text in `context` that is not Markdown is escaped.

    Raises:
        UserError: the template is missing.
    """
    return _compiled(read_template(template)).render(context)


@cache  # one is filled for each experiment
def _compiled(source: str) -> Template:
    environment = Environment(
        undefined=StrictUndefined, finalize=escape, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(source)


def read_template(file: Path) -> str:
    """Read a template.

    Raises:
        UserError: it is missing.
    """
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{file}: the file is missing; restore it with: git checkout {file}") from None
