"""Read JSON files whose content must have a form, and refuse other content by key and value."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from deepnets.utils.errors import UserError
from deepnets.utils.files import read_json

Content = TypeVar("Content", bound=BaseModel)


def read_checked(path: str | Path, content: type[Content]) -> Content:
    """Read a JSON file and check its content.

    Raises:
        UserError: missing, not JSON, or not this content; the message names file, key, value and remedy.
    """
    return check_content(path, read_json(path), content)


def check_content(path: str | Path, found: Any, content: type[Content]) -> Content:
    """Check what a JSON file has.

    Raises:
        UserError: it is not this content; the message names file, key, value and remedy.
    """
    try:
        return content.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        problem = f"{key}: {first['msg']}" if key else first["msg"]
        if key and first["type"] != "missing":  # else the value is all that the key should be in
            problem += f", got {first['input']!r:.60}"
        raise UserError(f"{path}: damaged ({problem}); delete it.") from None
