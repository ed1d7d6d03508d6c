"""The one exception for what a user can mend, and how a script ends when it meets one."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

USER_ERROR_EXIT_CODE = 2

LOG = logging.getLogger("deepnets")


class UserError(Exception):
    """Something the user can mend: bad configuration, missing or damaged data, an impossible request.

    The message has one line per problem; each names the file, the key, the value and the way out.
    """


def log_to(path: str | Path) -> None:
    """Send LOG's lines to the terminal (stderr) and to the end of a file, so that a resumed job's log goes on."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    LOG.setLevel(logging.INFO)
    LOG.handlers = [logging.StreamHandler(), logging.FileHandler(path, mode="a", encoding="utf-8")]


def run(main: Callable[[], None]) -> None:
    """Call a script's `main`; end a UserError as plain lines and exit code 2, a defect with its traceback and 1."""
    try:
        main()
    except UserError as error:
        LOG.error("error: %s", error)
        sys.exit(USER_ERROR_EXIT_CODE)
    except Exception:
        LOG.exception("a defect of this program, not of your data or settings:")
        sys.exit(1)
