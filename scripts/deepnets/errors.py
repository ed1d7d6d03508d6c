"""The one exception for what a user can mend, and how a script ends when it meets one."""

import difflib
import errno
import logging
import re
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

USER_ERROR_EXIT_CODE = 2
_MOST_PROBLEMS = 20  # lines of one message

_FULL_OR_FORBIDDEN = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}
_OUT_OF_MEMORY = re.compile("(cannot|can't) allocate memory|out of memory", re.IGNORECASE)

LOG = logging.getLogger("deepnets")


class UserError(Exception):
    """Something the user can mend: bad configuration, missing or damaged data, an impossible request.

    The message has one line per problem; each names the file, the key, the value and the way out.
    """


def nearest(name: object, known: Iterable[str]) -> str:
    """The way out for a wrong name: the known one that it resembles, or else all of them."""
    by_lower_case = {other.lower(): other for other in known}
    close = difflib.get_close_matches(str(name).lower(), by_lower_case, n=1)
    if close:
        return f"did you mean {by_lower_case[close[0]]!r}?"
    return f"valid: {one_line(', '.join(by_lower_case.values()))}" if by_lower_case else "none is defined"


def one_line(text: str) -> str:
    """A text with line breaks and all else that cannot be printed written as Python does, like \\n."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def shortened(problems: list[str]) -> str:
    """One message of many lines: the first of them, and how many more there are."""
    rest = len(problems) - _MOST_PROBLEMS
    return "\n".join(problems[:_MOST_PROBLEMS] + ([f"... and {rest} more."] if rest > 0 else []))


def log_to(path: str | Path | None) -> None:
    """Send LOG's lines to the terminal (stderr) and, if named, to the end of a file."""
    logging.raiseExceptions = False  # a log on a full disk is no reason for a page about it
    LOG.setLevel(logging.INFO)
    LOG.handlers = [logging.StreamHandler()]
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        LOG.addHandler(logging.FileHandler(path, mode="a", encoding="utf-8"))


def log_errors_of(process: str, path: str | Path | None) -> None:
    """Send LOG's errors alone, with the process's name, to the same places: it helps another, which speaks for both."""
    log_to(path)
    LOG.setLevel(logging.ERROR)
    for handler in LOG.handlers:
        handler.setFormatter(logging.Formatter(f"{process}: %(message)s"))


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, on the host or on a GPU; torch, which is not for import here, tells it in words only."""
    told = isinstance(error, RuntimeError | OSError) and _OUT_OF_MEMORY.search(str(error))
    return isinstance(error, MemoryError) or bool(told)


def is_failed_compilation(error: Exception) -> bool:
    """Whether torch.compile gave up: on the network, or for want of a C++ compiler. Known by where it is defined."""
    modules = [kind.__module__ for kind in type(error).__mro__]
    return any(module.startswith(("torch._dynamo.", "torch._inductor.")) for module in modules)


def run(main: Callable[[], None]) -> None:
    """Call a script's `main`; end what a user can mend as plain lines and exit code 2, a defect as traceback and 1."""
    try:
        main()
    except UserError as error:
        LOG.error("error: %s", error)
        sys.exit(USER_ERROR_EXIT_CODE)
    except KeyboardInterrupt:
        LOG.error("interrupted; run the same command again")
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        if is_out_of_memory(error):
            LOG.error("error: out of memory; run less side by side (--cores), then the same command again.")
            sys.exit(USER_ERROR_EXIT_CODE)
        if isinstance(error, OSError) and error.errno in _FULL_OR_FORBIDDEN:
            way_out = "free some space, or change its permissions, then run the same command again"
            LOG.error("error: %s: %s; %s.", error.filename or "a file", error.strerror, way_out)
            sys.exit(USER_ERROR_EXIT_CODE)
        LOG.exception("a defect of this program, not of your data or settings:")
        sys.exit(1)
