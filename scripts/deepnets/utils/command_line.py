"""How a script ends: a user's mistake as plain lines and exit code 2, a defect as a traceback and 1."""

import errno
import signal
import sys
from collections.abc import Callable

from deepnets.utils.errors import UserError
from deepnets.utils.failures import is_out_of_memory
from deepnets.utils.logging import LOG

USER_ERROR_EXIT_CODE = 2

_FULL_OR_FORBIDDEN = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}


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
