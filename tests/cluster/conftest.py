"""Start a SLURM on loopback, with all its files in one folder, and run studies through it."""

import contextlib
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from string import Template
from typing import NoReturn

import pytest
from filelock import FileLock, Timeout

HERE = Path(__file__).parent
SITE = Path("/etc/slurm")  # jobs read slurm.conf there, whatever SLURM_CONF says
NEEDED = ("munged", "munge", "slurmctld", "slurmd", "sbatch", "setpriv")
NEEDED_FOR_ACCOUNTING = ("slurmdbd", "sacctmgr", "mariadbd", "mariadb-install-db")
NO_ACCOUNTING = "AccountingStorageType=accounting_storage/none"
ACCOUNTING = """AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$slurmdbd_port
AccountingStoragePass=$folder/munge.socket
AccountingStorageTRES=gres/gpu"""


def wait_until(happened: Callable[[], object], what: str, seconds: float = 240) -> None:
    """Poll until something has happened; fail if it does not."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.2)


class Slurm:
    """One node's SLURM: `with Slurm() as slurm: slurm("squeue")`."""

    def __init__(self, accounting: bool = False):
        self.accounting = accounting
        self.ends = contextlib.ExitStack()  # the cleanup, in reverse order, also after an error
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short: a socket's path has 107 characters at most

    def __call__(self, *command: str) -> str:
        """Call one of SLURM's commands and return its output."""
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()

    def __enter__(self) -> "Slurm":
        with self.ends:
            self.ends.callback(shutil.rmtree, self.folder)
            self.ends.callback(self._unlink)
            self._configure()
            self._start_munge()
            if self.accounting:
                self._start_accounting()
            self._start("slurmctld", "-D", ready=["scontrol", "ping"])
            self._start("slurmd", "-D", ready=["sh", "-c", "sinfo --noheader --format=%t | grep --quiet '^idle$'"])
            self.ends.callback(self._empty_queue)
            self.ends = self.ends.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.ends.close()

    def _empty_queue(self) -> None:
        self("scancel", "--user", "root")
        wait_until(lambda: not self("squeue", "--noheader"), "an empty queue", 60)

    def _unlink(self) -> None:
        for link in SITE.glob("*.conf"):
            if link.is_symlink() and link.readlink().parent == self.folder:
                link.unlink()

    def _configure(self) -> None:
        """Write the configuration, and link to it from where SLURM looks for it."""
        daemons = ("slurmctld", "slurmd", "slurmdbd", "mariadb")
        words = dict(zip((f"{daemon}_port" for daemon in daemons), free_ports(len(daemons)), strict=True))
        words |= {"folder": self.folder, "host": socket.gethostname().partition(".")[0]}
        words["accounting"] = Template(ACCOUNTING if self.accounting else NO_ACCOUNTING).substitute(words)
        self.words = words
        self.folder.chmod(0o755)
        for name in ("spool", "state"):
            (self.folder / name).mkdir()
        for gpu in ("gpu0", "gpu1"):
            os.mknod(self.folder / gpu, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        for template in HERE.glob("*.conf"):
            file = self.folder / template.name
            file.touch(0o600 if template.name == "slurmdbd.conf" else 0o644)
            file.write_text(Template(template.read_text()).substitute(words))
            (SITE / template.name).unlink(missing_ok=True)
            (SITE / template.name).symlink_to(file)

    def _start_munge(self) -> None:
        key, munge_socket = self.folder / "munge.key", self.folder / "munge.socket"
        key.touch(0o400)
        key.write_bytes(os.urandom(1024))
        options = {"key-file": key, "socket": munge_socket, "pid-file": self.folder / "munged.pid"}
        options |= {"log-file": self.folder / "munged.log", "seed-file": self.folder / "munged.seed"}
        arguments = [f"--{option}={value}" for option, value in options.items()]
        ready = ["munge", "--no-input", f"--socket={munge_socket}"]
        self._start("munged", "--foreground", "--force", *arguments, ready=ready)

    def _start_accounting(self) -> None:
        data, mysql_socket = self.folder / "mariadb", self.folder / "mariadb.socket"
        options = ["--no-defaults", "--user=root", f"--datadir={data}"]
        self("mariadb-install-db", *options, "--skip-test-db", "--auth-root-authentication-method=normal")
        options += [f"--socket={mysql_socket}", f"--port={self.words['mariadb_port']}", "--bind-address=127.0.0.1"]
        options += ["--skip-log-bin", "--innodb-lock-wait-timeout=900"]  # slurmdbd requires the second
        client = [f"--socket={mysql_socket}"]
        self._start("mariadbd", *options, ready=["mariadb-admin", "--no-defaults", *client, "ping"])
        for host in ("127.0.0.1", "localhost"):
            user = f"'slurm'@'{host}'"
            grant = f"CREATE USER {user} IDENTIFIED BY 'slurm'; GRANT ALL ON slurm_acct_db.* TO {user}"
            self("mariadb", "--no-defaults", *client, "--execute", grant)
        self._start("slurmdbd", "-D", ready=["sacctmgr", "--noheader", "show", "cluster"])
        self("sacctmgr", "--immediate", "add", "cluster", "test")

    def _start(self, *command: str, ready: list[str]) -> None:
        """Start a daemon that ends with this process, and wait until the command `ready` reports that it is up."""
        log = self.folder / f"{command[0]}.output"
        with open(log, "w") as output:
            daemon = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *command], stdout=output, stderr=output)
        self.ends.callback(end, daemon)

        def is_up() -> bool:
            assert daemon.poll() is None, f"{command[0]} has ended: {log.read_text()[-2000:]}"
            return subprocess.run(ready, capture_output=True, timeout=60).returncode == 0

        wait_until(is_up, f"{command[0]} up", 60)


def end(daemon: subprocess.Popen) -> None:
    """End a daemon; kill it after a minute."""
    daemon.terminate()
    try:
        daemon.wait(timeout=60)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="session", autouse=True)
def needs_slurm(skip: Callable[[str], NoReturn]) -> Iterator[None]:
    """Skip these tests where SLURM cannot be started, before anything is built; one test run at a time uses SLURM."""
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        skip(f"needs {', '.join(missing)}: as root on Debian, `make test-cluster` installs them")
    if os.geteuid() != 0:
        skip("needs to be root: SLURM's daemons start jobs for others")
    for configuration in (SITE / template.name for template in HERE.glob("*.conf")):
        left_by_us = configuration.is_symlink() and configuration.readlink().match(f"{tempfile.gettempdir()}/slurm-*/*")
        if os.path.lexists(configuration) and not left_by_us:
            skip(f"this machine has its own SLURM: {configuration}")
    SITE.mkdir(exist_ok=True)
    try:
        with FileLock(Path(tempfile.gettempdir(), "deepnets-test-slurm.lock"), blocking=False):
            yield
    except Timeout:
        skip(f"another test run on this machine has its SLURM in {SITE}")


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    """Start a SLURM without accounting."""
    with Slurm() as running:
        yield running


@pytest.fixture(scope="module")
def slurm_with_accounting(skip: Callable[[str], NoReturn]) -> Iterator[Slurm]:
    """Start a SLURM that keeps its jobs in a database."""
    missing = [program for program in NEEDED_FOR_ACCOUNTING if shutil.which(program) is None]
    if missing:
        skip(f"needs {', '.join(missing)}: as root on Debian, `make test-cluster` installs them")
    with Slurm(accounting=True) as running:
        yield running


# -- studies -----------------------------------------------------------------------------------------------------------

# `long`: 50 epochs of 1.8 s, with all that a saved state holds: averaged weights, batch norm, random augmentation.
# The search: with this weight decay, a learning rate of 100 makes the weights 1,000 times as large at each step.
RECIPES = """searches:
  rates: {dataset: shapes, model: small, recipe: short, values: {lr: [0.01, 100], weight_decay: [10]}, trials: 2}
recipes:
  long: {epochs: 50, batch_size: 8, lr: 0.02, weight_averaging: ema,
    augment: {rotation: 5, random_erasing: 0.3, mixup: 0.2}}
  short: {epochs: 4, batch_size: 8}
"""
ON_ONE_MACHINE = ("--cores", "2", "--resources", "gpu=0")  # on CPUs, like the jobs that are compared with it
# The documented command, except that it checks jobs after two seconds.
ON_SLURM = ("--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "2")
ONE_THREAD = ("--set-threads", "train=1", "evaluate=1")


class Run:
    """A run of Snakemake in a study's folder, up to a target; methods on the trainer are about the target's trainer.

    With `search`, the script runs Snakemake, up to the end of this search.
    """

    def __init__(
        self,
        slurm: Slurm,
        folder: Path,
        target: str,
        *arguments: str,
        local: bool = False,
        search: str | None = None,
        **environ: str,
    ):
        self.slurm, self.folder, self.terminal = slurm, folder, folder / "terminal.log"
        self.result = (folder / target).parent
        self.log = folder / "logs" / self.result.relative_to(folder / "results") / "train.log"
        program = ["-m", "snakemake", target] if search is None else ["scripts/search.py", search]
        profile = ON_ONE_MACHINE if local else ON_SLURM
        self.command = [sys.executable, *program, *arguments, *profile, *ONE_THREAD]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # shell lines find `python` there
        self.environ = {**os.environ, "PATH": path, **environ}
        self.start()

    def start(self, *arguments: str) -> None:
        """Start Snakemake, the first time or after a kill."""
        with open(self.terminal, "a") as terminal:
            self.process = subprocess.Popen(
                [*self.command, *arguments], cwd=self.folder, env=self.environ, stdout=terminal, stderr=terminal
            )

    def kill(self) -> None:
        """Kill Snakemake alone: its jobs continue."""
        self.process.kill()
        self.process.wait()

    def finish(self) -> "Run":
        """Wait until Snakemake has ended, and assert that it has succeeded."""
        assert self.process.wait(timeout=900) == 0, self.said()
        return self

    def said(self) -> str:
        """Return what Snakemake has printed."""
        return self.terminal.read_text()

    def status(self) -> str:
        """Return what `make status` prints of the experiment."""
        study = "studies={first: [{datasets: [shapes], models: [slow], recipe: long}]}"
        command = [sys.executable, "scripts/status.py", "--study", "first", "--config", study]
        done = subprocess.run(command, cwd=self.folder, env=self.environ, capture_output=True, text=True, check=True)
        return done.stdout

    def trainer_said(self) -> str:
        """Return the log of the last trainer; Snakemake empties it for each."""
        return self.log.read_text() if self.log.exists() else ""

    def epochs(self, said: str | None = None) -> list[int]:
        """Return the finished epochs in this log (default: the log of the last trainer)."""
        return [int(number) for number in re.findall(r"epoch (\d+)/", self.trainer_said() if said is None else said)]

    def jobs_said(self) -> list[str]:
        """Return the log of each training job in order, without the jobs that Snakemake saw succeed."""
        logs = (self.folder / ".snakemake/slurm_logs/rule_train").glob("*/*.log")
        return [log.read_text() for log in sorted(logs, key=lambda log: int(log.stem))]

    def wait_for_epoch(self, number: int) -> None:
        """Wait until this epoch is done."""
        self.wait_until(lambda: number in self.epochs(), f"epoch {number}")

    def wait_until(self, happened: Callable[[], object], what: str) -> None:
        """Wait until something has happened while Snakemake runs."""

        def has_happened() -> object:
            assert self.process.poll() is None, self.said()
            return happened()

        wait_until(has_happened, what)

    def job(self, rule: str, state: str, show: str = "%A") -> str:
        """Return SLURM's number of a rule's job in this state, or another field of squeue; empty without such a job."""
        listed = self.slurm("squeue", "--noheader", f"--states={state}", f"--format=%Z|%k|{show}").splitlines()
        return next((line.split("|")[2] for line in listed if line.startswith(f"{self.folder}|rule_{rule}_")), "")


@pytest.fixture(scope="session")
def run_study() -> type[Run]:
    """Start Snakemake in a study's folder: `run_study(slurm, folder, target, local=False, search=None) -> Run`.

    local: no SLURM; search: the name of a search that runs Snakemake.
    """
    return Run


@pytest.fixture(scope="session")
def slow_study(root: Path, new_study, snakemake, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Make a study of a slow network, with prepared images and nothing trained: `slow_study() -> folder`."""
    prepared = new_study(tmp_path_factory.mktemp("prepared") / "study")
    shutil.copy2(root / "tests/cluster/slow_cnn.py", prepared / "scripts/deepnets/models")
    config = prepared / "config.yaml"
    text = config.read_text().replace("models:\n", "models:\n  slow: {architecture: slow_cnn}\n", 1)
    config.write_text(text.replace("recipes:\n", RECIPES, 1))
    done = snakemake(prepared, "data/shapes/dataset.json", "results/shapes/slow/summary.json")
    assert done.returncode == 0, done.stdout
    return lambda: shutil.copytree(prepared, tmp_path_factory.mktemp("slow") / "study", symlinks=True)


@pytest.fixture(scope="session")
def short_demo(checkout, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Make a clone whose demo trains each network for one epoch, with nothing built: `short_demo() -> folder`."""

    def make() -> Path:
        folder = checkout(tmp_path_factory.mktemp("demo") / "study")
        config = folder / "config.yaml"
        config.write_text(re.sub(r"epochs: \d+", "epochs: 1", config.read_text()))
        return folder

    return make
