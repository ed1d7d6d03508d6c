"""Start one training run in several processes of this machine, under torchrun, and wait for them."""

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import torch.distributed as dist

from deepnets.training.distributed import ProcessGroup
from deepnets.utils.errors import UserError

INTERRUPTED_EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: the same command may succeed later
LOST_EXIT_CODE = 69  # EX_UNAVAILABLE: another process has ended, for a reason of its own


def is_launched() -> bool:
    """Whether torchrun started this process, as one of several."""
    return dist.is_torchelastic_launched()


def process_group() -> ProcessGroup:
    """The processes as torchrun numbered them; they can communicate inside `distributed.connected`."""
    return ProcessGroup(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


def launch(world_size: int, command: Sequence[str], parent: int | None) -> None:
    """Run a Python script in `world_size` processes under torchrun, until all have ended without an error.

    Args:
        world_size: number of processes.
        command: the script and its arguments.
        parent: process id of the process that started this one; when it ends, the processes get a TERM. None: no such
            process.

    Raises:
        SystemExit: with the exit code of the process that failed first; that process has reported why.
        UserError: a process was killed; the message has its number and the signal.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    elastic = logging.getLogger("torch.distributed.elastic")  # it prints many lines; the error below is one line
    elastic.addHandler(logging.NullHandler())
    elastic.propagate = False
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")  # not the network
    if parent is not None:
        threading.Thread(target=_terminate_after, args=(parent,), daemon=True).start()
    # A fixed address instead of --standalone, which unpickles whatever is sent to its port.
    options = [f"--nproc-per-node={world_size}", "--master-addr=127.0.0.1", f"--master-port={_free_port()}"]
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # started by nohup, to outlive the terminal
        options += ["--signals-to-handle=SIGTERM,SIGINT,SIGQUIT"]
    torchrun = parse_args([*options, command[0]])
    # Not parsed by torchrun, which would read --log as an abbreviation of its own option, and $ as a variable.
    torchrun.training_script_args = [word.replace("$", "$$") for word in command[1:]]
    try:
        run(torchrun)
    except SignalException:
        sys.exit(INTERRUPTED_EXIT_CODE)
    except ChildFailedError as error:
        rank, failure = _cause(error.failures)
        if failure.exitcode > 0:
            sys.exit(failure.exitcode)
        reason = " (usually because memory ran out)" if failure.exitcode == -signal.SIGKILL else ""
        raise UserError(
            f"process {rank + 1} of {world_size} was ended by {failure.signal_name()}{reason}, and the others stopped;"
            " the next run continues from the last saved state."
        ) from None


def _cause(failures: dict) -> tuple[int, Any]:
    """Rank and torchrun's record of the failure that came first, to the second, and was not caused by another."""
    start = min(failure.timestamp for failure in failures.values())
    caused = (LOST_EXIT_CODE, -signal.SIGTERM)
    return min(failures.items(), key=lambda each: (each[1].timestamp > start + 1, each[1].exitcode in caused))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _terminate_after(parent: int) -> None:
    """Send this process a TERM once its parent has ended."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
