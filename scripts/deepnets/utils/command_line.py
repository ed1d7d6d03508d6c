"""The start and the end of every script: its options, and the lines that it prints after an error."""

import argparse
import atexit
import errno
import gc
import os
import select
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from deepnets.utils.errors import UserError
from deepnets.utils.files import FULL_DISK
from deepnets.utils.logging import LOG
from deepnets.utils.machine import address_space_mb, name_user
from deepnets.utils.torch_errors import is_out_of_memory

USER_ERROR_EXIT_CODE = 2
INTERNAL_ERROR_EXIT_CODE = 1
# In a job's log: with the first one ends a job that the user can correct, with the second one starts a traceback.
TRY_AGAIN_LINE = "Then run the same command again."
INTERNAL_ERROR_LINE = "internal error, please report it:"

MAX_COUNT = 4096  # of threads, processes or GPUs: more than a machine has
_WRONG_PATH = {errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EEXIST}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}

_own_process = False  # whether the process is one script's alone, which `run` sets


def argument_parser(docstring: str | None, *, log: bool = True) -> argparse.ArgumentParser:
    """Return the parser that all scripts start from.

    Args:
        docstring: the script's own, `__doc__`; `--help` shows it as it is written.
        log: add the option `--log`, the file that `deepnets.utils.logging.log_to` takes.
    """
    parser = argparse.ArgumentParser(description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter)
    if log:
        parser.add_argument("--log", metavar="FILE", help="append all messages to this file too")
    return parser


def number(kind: type[int] | type[float], least: float, most: float = MAX_COUNT) -> Callable[[str], float]:
    """Return the `type` of an option that takes numbers from `least` to `most`; argparse refuses others in a line."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:  # also NaN
            what = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"must be {what} from {least:,g} to {most:,g} (got {text[:60]!r})")
        return value

    return read


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add --threads, for a script that works in one process."""
    parser.add_argument("--threads", type=number(int, 1), default=1, help="CPU threads (default: 1)")


def add_gpus(parser: argparse.ArgumentParser) -> None:
    """Add --gpus, for a script that uses one GPU at most."""
    parser.add_argument(
        "--gpus", type=number(int, 0), default=1, help="1: on a GPU; 0: on the CPU (default: 1, if there is one)"
    )


@contextmanager
def importing() -> Iterator[None]:
    """Keep the garbage collector from large libraries: while they are imported, and later.

    It would take a tenth of the start of a job with torch, and find hardly anything. In the process of one script, it
    leaves out their modules later, too; elsewhere that would keep the garbage of all earlier work.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if _own_process:
            gc.freeze()
        if was_enabled:
            gc.enable()


def run(
    main: Callable[[], None],
    *,
    continues: bool = True,
    if_out_of_memory: str = "run fewer jobs at a time (a smaller --cores)",
) -> None:
    """Call a script's `main` and end the process by how it went.

    Args:
        main: the script.
        continues: whether the same command does only what an interrupted one has not done.
        if_out_of_memory: what to do then.

    Exit codes: 2 after an error that the user can fix, reported in plain lines; 1 after any other exception, reported
    with its traceback, or without a line if nobody reads standard output any more; 130 after Ctrl-C. After success, the
    process ends here only if `main` is its own script's, and nobody has something left to do after it.
    """
    global _own_process
    name_user()
    _own_process = main.__module__ == "__main__" and not _is_interactive()
    try:
        main()
        _flush()
        if _own_process and not _is_watched():
            _end_at_once()
    except KeyboardInterrupt:
        LOG.error("interrupted; run the same command again to continue" if continues else "interrupted")
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            sys.exit(INTERNAL_ERROR_EXIT_CODE)
        message = _user_message(error, if_out_of_memory)
        if message is None:
            LOG.exception(INTERNAL_ERROR_LINE)
            sys.exit(INTERNAL_ERROR_EXIT_CODE)
        LOG.error("error: %s", message)
        LOG.warning(TRY_AGAIN_LINE)  # a warning: of several processes, only the first logs it
        sys.exit(USER_ERROR_EXIT_CODE)


def _end_at_once() -> None:
    """End the process with exit code 0 and leave its memory to the kernel: freeing torch's modules takes 0.6 s.

    Threads and what was registered for the end (such as the removal of temporary folders) have their turn, by the two
    calls with which Python begins its own end.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # the stubs lack it
    atexit._run_exitfuncs()
    _flush()
    os._exit(0)


def _is_interactive() -> bool:
    """Whether a person's session continues after the script, as IPython's, too."""
    return bool(sys.flags.interactive) or hasattr(sys, "ps1")


def _is_watched() -> bool:
    """Whether a profiler, a debugger or a coverage tool continues after the script."""
    monitoring = getattr(sys, "monitoring", None)  # since Python 3.12
    tools = [monitoring.get_tool(number) for number in range(6)] if monitoring else []
    return any(each is not None for each in (sys.getprofile(), sys.gettrace(), *tools))


def _flush() -> None:
    if sys.stdout is not None:  # as it is where it was closed before the start
        sys.stdout.flush()


def _nobody_reads() -> bool:
    """Whether the reader of standard output has ended, as `| head` does; then what is left goes nowhere."""
    if sys.stdout is None:
        return False
    output, poll = sys.stdout.fileno(), select.poll()
    poll.register(output, 0)
    if not any(events & select.POLLERR for _, events in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True


def _user_message(error: Exception, if_out_of_memory: str) -> str | None:
    """Return the problem and what to do; None if the user cannot fix it."""
    if isinstance(error, UserError):
        return str(error)
    if is_out_of_memory(error):
        limit = address_space_mb()
        or_raise = f", or raise the limit of {limit} MB (ulimit -v)" if limit is not None else ""
        return f"out of memory; {if_out_of_memory}{or_raise}."
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        # The project's own files have names (`error_names`); what a library writes without one is temporary.
        where = error.filename or f"a temporary file, in {tempfile.gettempdir()} or /dev/shm"
        return f"{where}: {error.strerror}; free some disk space."
    if isinstance(error, OSError) and error.errno in _WRONG_PATH and error.filename is not None:
        return f"{error.filename}: {error.strerror}; give another path, or remove what is there."
    if isinstance(error, OSError) and error.errno in _FORBIDDEN:
        return f"{error.filename or 'a file'}: {error.strerror}; change its permissions."
    return None
