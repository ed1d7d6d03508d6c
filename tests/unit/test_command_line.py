"""How a script ends: plain lines for what the user can fix, a traceback for an internal error."""

import errno
import gc
import os
import resource
import subprocess
import sys
from typing import Any

import pytest
import torch

from deepnets.evaluation.predict_options import IF_OUT_OF_MEMORY
from deepnets.utils import machine
from deepnets.utils.command_line import argument_parser, importing, number, run
from deepnets.utils.errors import UserError
from deepnets.utils.files import write_text
from deepnets.utils.logging import LOG, log_to

RUN_AGAIN = "Then run the same command again."


def end(error: BaseException, **options: Any) -> object:
    """The exit code of a script whose `main` raises this error."""

    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as end:
        run(main, **options)
    return end.value.code


def test_user_error_is_its_own_words_and_exit_code_2(caplog):
    assert end(UserError("a.json: damaged; delete it.")) == 2
    assert caplog.messages == ["error: a.json: damaged; delete it.", RUN_AGAIN]


def test_many_problems_end_with_the_advice_once(caplog):
    end(UserError("config.yaml: study: missing\nconfig.yaml: models: missing"))
    assert caplog.text.count(RUN_AGAIN) == 1
    assert caplog.messages[-1] == RUN_AGAIN


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some disk space"),
        (errno.EFBIG, "free some disk space"),
        (errno.EACCES, "change its permissions"),
        (errno.EROFS, "change its permissions"),
    ],
)
def test_full_disk_and_forbidden_folder_are_a_line_that_names_the_file(caplog, number, advice):
    assert end(OSError(number, "cannot", "results/x.csv")) == 2
    assert caplog.messages == [f"error: results/x.csv: cannot; {advice}.", RUN_AGAIN]
    assert caplog.records[0].exc_info is None


def test_disk_that_is_full_in_the_middle_of_a_write_is_a_line_that_names_the_file(caplog, tmp_path, monkeypatch):
    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")  # from `write`, which knows no name

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(OSError, match="No space left") as error:
        write_text(tmp_path / "report.md", "words")
    assert list(tmp_path.iterdir()) == []
    end(error.value)
    assert caplog.messages[0] == f"error: {tmp_path}/report.md: No space left on device; free some disk space."


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 7.11 PiB for an array"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000 bytes."),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    ],
)
def test_out_of_memory_is_a_line_that_says_what_to_do(caplog, error):
    assert end(error) == 2
    assert caplog.messages == ["error: out of memory; run fewer jobs at a time (a smaller --cores).", RUN_AGAIN]
    assert caplog.records[0].exc_info is None


def test_a_script_that_runs_no_jobs_has_advice_of_its_own_for_memory(caplog):
    end(MemoryError(), continues=False, if_out_of_memory=IF_OUT_OF_MEMORY)
    assert caplog.messages[0] == (
        "error: out of memory; give fewer --threads, or refuse large pictures with --max-megapixels."
    )


def test_a_limit_of_the_address_space_is_named(caplog, monkeypatch):
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _which: (2 * 10**9, 4 * 10**9))
    end(MemoryError())
    assert "(a smaller --cores), or raise the limit of 2000 MB (ulimit -v)." in caplog.messages[0]


@pytest.mark.slow
@pytest.mark.parametrize("script", ["train", "evaluate", "robustness", "export", "summarize"])
def test_torch_that_does_not_fit_into_memory_is_a_line(root, script):
    done = subprocess.run(
        [sys.executable, str(root / f"scripts/{script}.py"), "digits/resnet50/quick/seed0"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (10**9, 10**9)),
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "error: out of memory; run fewer jobs at a time" in done.stderr


def test_torchs_own_words_are_recognised_as_out_of_memory(caplog):
    with pytest.raises(RuntimeError) as refusal:
        torch.empty(10**15)
    assert end(refusal.value) == 2


def test_interrupted_script_ends_as_the_shell_expects(caplog):
    assert end(KeyboardInterrupt()) == 130
    assert caplog.messages == ["interrupted; run the same command again to continue"]
    caplog.clear()
    assert end(KeyboardInterrupt(), continues=False) == 130
    assert caplog.messages == ["interrupted"]


def test_internal_error_keeps_its_traceback_and_exit_code_1(caplog):
    assert end(KeyError("oops")) == 1
    assert caplog.messages == ["internal error, please report it:"]
    assert caplog.records[0].exc_info[0] is KeyError


def test_help_of_a_script_is_its_docstring_as_it_is_written(capsys):
    with pytest.raises(SystemExit):
        argument_parser("Draw it.\n\n    python draw.py --log FILE").parse_args(["--help"])
    assert "Draw it.\n\n    python draw.py --log FILE\n" in capsys.readouterr().out


def test_every_job_has_a_log_and_a_tool_may_have_none():
    assert argument_parser("A job.").parse_args(["--log", "a.log"]).log == "a.log"
    with pytest.raises(SystemExit):
        argument_parser("A tool.", log=False).parse_args(["--log", "a.log"])


def test_names_that_cannot_be_printed_are_escaped_in_an_error():
    assert (
        str(UserError("a\x1f\u202eb\udcff.png: damaged\nc: missing"))
        == "a\\x1f\\u202eb\\udcff.png: damaged\nc: missing"
    )


@pytest.mark.parametrize("text", ["0", "-3", "4097", "nan", "1.5", "", "9" * 5000, "two"])
def test_a_number_that_makes_no_sense_is_refused_in_a_line(text, capsys):
    parser = argument_parser("A job.")
    parser.add_argument("--threads", type=number(int, 1))
    with pytest.raises(SystemExit) as end:
        parser.parse_args([f"--threads={text}"])
    assert end.value.code == 2
    assert "argument --threads: must be a whole number from 1 to 4,096 (got " in capsys.readouterr().err


@pytest.mark.parametrize("place", ["folder", "file/below", "x" * 300])
def test_a_log_that_cannot_be_written_there_is_a_line(tmp_path, place, caplog, monkeypatch):
    monkeypatch.setattr(LOG, "handlers", [])
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as end:
        run(lambda: log_to(tmp_path / place))
    assert end.value.code == 2
    assert caplog.messages[0].startswith(f"error: {tmp_path}/{place.split('/')[0]}")


@pytest.mark.parametrize("lines", [1, 100_000])
def test_when_nobody_reads_any_more_a_script_ends_without_a_line(lines):
    code = f"from deepnets.utils.command_line import run; run(lambda: [print(n) for n in range({lines})])"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 1)


@pytest.mark.parametrize("closed", ["", " >&-"])
def test_a_broken_pipe_to_another_process_is_an_internal_error(closed):
    code = "from deepnets.utils.command_line import run\ndef main(): raise BrokenPipeError\nrun(main)"
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1"{closed}', sys.executable, code], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr.count("internal error, please report it:")) == (1, 1)
    assert done.stderr.splitlines()[-1] == "BrokenPipeError"


def test_a_script_whose_standard_output_is_closed_ends_as_any_other():
    code = "from deepnets.utils.command_line import run; run(lambda: print('words'))"
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" >&-', sys.executable, code], stderr=subprocess.PIPE, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_garbage_is_not_looked_for_during_imports_but_after_them():
    frozen = gc.get_freeze_count()  # by Python 3.12 at its start
    with importing():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), importing():
        raise ImportError
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen  # what is frozen is never freed: in a process of many jobs, gigabytes
    gc.disable()
    with importing():
        pass
    assert not gc.isenabled()
    gc.enable()


IMPORT = """
import gc
from deepnets.utils.command_line import importing, run
def main():
    frozen = gc.get_freeze_count()
    with importing():
        import json
    print(gc.get_freeze_count() > frozen, gc.isenabled())
run(main)
"""


def test_in_the_process_of_a_script_modules_are_left_out_of_later_collections():
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True)
    assert done.stdout == "True True\n"


AT_THE_END = """
import atexit, sys, threading, time
from deepnets.utils.command_line import run
class Held:
    def __del__(self): print("freed")
held = Held()
def work(): time.sleep(0.2); print("thread")
def main():
    atexit.register(print, "registered")
    threading.Thread(target=work).start()
    print("main")
"""


def test_a_script_that_has_succeeded_waits_and_cleans_up_but_frees_no_memory():
    done = subprocess.run([sys.executable, "-c", f"{AT_THE_END}run(main)"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["main", "thread", "registered"], "")


@pytest.mark.parametrize(
    ("options", "goes_on"),
    [(["-m", "cProfile"], "function calls"), (["-m", "trace", "--count", "-C", "."], "went on"), (["-i"], "went on")],
)
def test_a_profiler_a_debugger_and_a_person_have_their_turn_after_a_script(tmp_path, root, options, goes_on):
    (tmp_path / "script.py").write_text(f"{AT_THE_END}atexit.register(print, 'went on')\nrun(main)\nprint('returned')")
    done = subprocess.run(
        [sys.executable, *options, str(tmp_path / "script.py")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root / "scripts")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, "returned" in done.stdout, goes_on in done.stdout) == (0, True, True)


def test_a_function_of_another_program_returns_to_it():
    code = f"{AT_THE_END}run(time.tzset)\nprint('went on')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, ["went", "on", "freed"])
