"""Processes that decode pictures: bounded in memory, never in the way of other work, and gone with the main process."""

import math
import os
import subprocess
import sys
import time

import psutil
import pytest

from deepnets.data.decoders import start_decoders
from deepnets.utils.errors import UserError


@pytest.fixture(scope="module")
def decoders():
    with start_decoders(300, 2) as decoders:
        yield decoders


def test_answers_come_in_order_and_few_blocks_are_read_ahead_of_a_slow_user(decoders):
    read, ahead = [], []

    def blocks():
        for number in range(60):
            read.append(number)
            yield number

    for used, answer in enumerate(decoders.map(math.sqrt, blocks())):
        assert answer == math.sqrt(used)
        time.sleep(0.01)  # all that were handed out are done by now
        ahead.append(len(read) - used)
    assert len(ahead) == 60
    assert max(ahead) <= 4 * 2


def test_processes_give_way_to_all_other_work(decoders):
    assert list(decoders.map(os.nice, [0] * 4)) == [19] * 4


@pytest.mark.parametrize(("pictures", "processes"), [(255, 2), (10_000, 1), (0, 2)])
def test_few_pictures_or_one_core_need_no_processes(pictures, processes):
    with start_decoders(pictures, processes) as decoders:
        assert decoders is None


def test_few_photos_are_worth_processes_for_their_bytes():
    with start_decoders(20, 2, lambda: 20 * 2**22) as decoders:
        assert decoders.processes == 2
    with start_decoders(1, 2, lambda: 2**30) as decoders:
        assert decoders is None


def test_files_of_many_pictures_are_not_looked_at():
    with start_decoders(256, 2, lambda: pytest.fail("the files were looked at")) as decoders:
        assert decoders.processes == 2


def test_a_killed_process_is_one_clear_line():
    with (
        pytest.raises(UserError, match=r"was killed, most likely because memory ran out; give fewer --threads"),
        start_decoders(300, 2) as decoders,
    ):
        list(decoders.map(os._exit, [9] * 4))


def test_an_error_ends_the_processes_at_once_whatever_they_do():
    before, own, start = set(psutil.Process().children()), [], time.monotonic()

    def interrupt(decoders):
        next(decoders.map(time.sleep, [0] + [600] * 9))
        own.extend(each for each in psutil.Process().children() if any("spawn_main" in word for word in each.cmdline()))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), start_decoders(300, 2) as decoders:
        interrupt(decoders)
    own = [each for each in own if each not in before]
    assert time.monotonic() - start < 60
    assert len(own) == 2
    assert not psutil.wait_procs(own, timeout=10)[1]


def test_a_killed_main_process_leaves_none_behind(root):
    code = (
        "import time\n"
        "from deepnets.data.decoders import start_decoders\n"
        "with start_decoders(300, 2) as decoders:\n"
        "    print(list(decoders.map(abs, [1, 2])), flush=True)\n"
        "    time.sleep(600)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(root / "scripts")}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "[1, 2]\n"
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    assert len(children) >= 2
    assert not psutil.wait_procs(children, timeout=10)[1]


def test_a_process_starts_without_what_only_the_main_one_needs(root):
    code = "import sys, deepnets.data.decoders; print(sys.modules.keys() & {'torch', 'pydantic', 'joblib', 'pandas'})"
    environment = {**os.environ, "PYTHONPATH": str(root / "scripts")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
