"""The start of a process that decodes images for another one."""

import os
import signal
import threading
import time

from deepnets.utils.waiting import PARENT_CHECK_SECONDS


def start_worker(parent: int) -> None:
    """Run at the lowest priority, ignore Ctrl-C, and exit when the main process ends, even by SIGKILL.

    Args:
        parent: the number of the main process, which has started this one.
    """
    os.nice(19)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os._exit(1)
