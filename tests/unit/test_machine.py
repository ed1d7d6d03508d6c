"""The cores, memory and GPUs that a process may use."""

import getpass
import os
import subprocess
import sys
import threading
import time

import pytest

from deepnets.utils import machine

GB = 10**9


@pytest.fixture
def group(tmp_path, monkeypatch):
    """Put this process into a control group with these limits, from the outermost in: `group("max", "3000000000")`."""

    def put(*limits: str) -> None:
        folder = tmp_path
        for depth, limit in enumerate(limits):
            folder = folder / f"level{depth}"
            folder.mkdir()
            (folder / "memory.max").write_text(limit + "\n")
        (tmp_path / "cgroup").write_text(f"1:cpu:/\n0::/{folder.relative_to(tmp_path)}\n")
        monkeypatch.setattr(machine, "CGROUP", tmp_path / "cgroup")
        monkeypatch.setattr(machine, "CGROUPS", tmp_path)
        monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 8 * GB // 4096}.__getitem__)

    return put


@pytest.mark.parametrize(
    ("limits", "usable"), [([], 8000), (["max"], 8000), ([f"{3 * GB}", "max"], 3000), (["max", f"{2 * GB}"], 2000)]
)
def test_memory_is_that_of_the_machine_or_of_the_tightest_control_group(group, limits, usable):
    group(*limits)
    assert machine.usable_memory_mb() == usable


@pytest.fixture
def old_group(group, tmp_path):
    """Put this process into control groups of version 1: `old_group("memory", {"": {...}, "docker/1": {...}})`."""

    def put(controllers: str, files: dict[str, dict[str, str]], path: str = "/docker/1") -> None:
        group()
        (tmp_path / "cgroup").write_text(f"5:{controllers}:{path}\n1:name=systemd:/x\n0::/\n")
        for folder, contents in files.items():
            (tmp_path / controllers / folder).mkdir(parents=True, exist_ok=True)
            for name, content in contents.items():
                (tmp_path / controllers / folder / name).write_text(content + "\n")

    return put


UNLIMITED = "9223372036854771712"


@pytest.mark.parametrize(
    ("files", "usable"),
    [
        ({"": {"memory.limit_in_bytes": UNLIMITED}}, 8000),
        ({"": {"memory.limit_in_bytes": UNLIMITED}, "docker/1": {"memory.limit_in_bytes": f"{3 * GB}"}}, 3000),
        ({"": {"memory.limit_in_bytes": f"{2 * GB}"}}, 2000),  # in a container, whose own group is the root
    ],
)
def test_memory_limits_of_control_groups_of_version_1_are_seen(old_group, files, usable):
    old_group("memory", files)
    assert machine.usable_memory_mb() == usable


def test_an_address_space_limit_is_a_limit_of_memory(group, monkeypatch):
    group()
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _which: (4 * GB, machine.resource.RLIM_INFINITY))
    assert machine.usable_memory_mb() == 4000


def quota(quota: int, period: int = 100_000) -> dict[str, str]:
    return {"cpu.cfs_quota_us": f"{quota}", "cpu.cfs_period_us": f"{period}"}


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"": quota(-1)}, 8),
        ({"": quota(-1), "docker/1": quota(200_000)}, 2),
        ({"": quota(250_000)}, 3),
        ({"": quota(10_000)}, 1),
        ({"": quota(3_200_000)}, 8),
        ({"": quota(100_000, 0)}, 8),
    ],
)
@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct"])
def test_processor_quotas_of_control_groups_of_version_1_are_seen(old_group, monkeypatch, controllers, files, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    old_group(controllers, files)
    assert machine.usable_cores() == cores


@pytest.mark.parametrize(
    ("content", "cores"), [("max 100000", 8), ("150000 100000", 2), ("50000 100000", 1), ("", 8), ("x y", 8)]
)
def test_processor_quotas_of_control_groups_of_version_2_are_seen(group, tmp_path, monkeypatch, content, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    group("max")
    (tmp_path / "level0/cpu.max").write_text(content + "\n")
    assert machine.usable_cores() == cores


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_a_user_whom_the_system_does_not_know_is_named_by_number(monkeypatch, error):
    def unknown(_number):
        raise error("getpwuid(): uid not found: 12345")

    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    machine.name_user()
    assert getpass.getuser() == "12345"


def test_a_user_with_a_name_keeps_it(monkeypatch):
    monkeypatch.setenv("USER", "me")
    monkeypatch.delenv("LOGNAME", raising=False)
    machine.name_user()
    assert os.environ["USER"] == "me"


@pytest.mark.parametrize("content", [None, "", "4:memory:/x\n", "nonsense\n"])
def test_without_control_groups_it_is_that_of_the_machine(group, tmp_path, content):
    group()
    (tmp_path / "cgroup").unlink() if content is None else (tmp_path / "cgroup").write_text(content)
    assert machine.usable_memory_mb() == 8000


@pytest.mark.parametrize(
    ("named", "visible"),
    [
        ("0,1", ["0", "1"]),
        (" 3, 2 ", ["3", "2"]),
        ("GPU-1a2b,MIG-3c/4/5", ["GPU-1a2b", "MIG-3c/4/5"]),
        ("0,0", ["0"]),
        # What CUDA takes for the end of the list.
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0,1,-1,2", ["0", "1"]),
    ],
)
def test_visible_gpus_are_those_in_cuda_visible_devices(monkeypatch, named, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert machine.visible_gpus() == visible


@pytest.mark.parametrize("count", [0, 1, 3])
def test_without_cuda_visible_devices_all_installed_gpus_are_visible(fake_gpus, tmp_path, count):
    environment, uuids = fake_gpus(tmp_path, count)
    os.environ.update(environment)
    assert machine.visible_gpus() == machine.installed_gpus() == uuids


def test_machine_without_nvidia_smi_has_no_gpus(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.visible_gpus() == []


def test_slices_of_a_gpu_are_not_counted_as_gpus(monkeypatch):
    listed = "GPU 0: A100 (UUID: GPU-a)\n  MIG 1g.10gb Device 0: (UUID: MIG-b)"
    monkeypatch.setattr(machine, "output_of", lambda *_command: listed)
    assert machine.installed_gpus() == ["GPU-a"]


@pytest.mark.parametrize("command", [("no-such-program",), ("false",), ("printf", "\\377")])
def test_command_that_is_missing_or_fails_has_no_output(command):
    assert machine.output_of(*command) is None


def test_processor_time_is_that_of_all_threads_and_of_children_that_have_ended():
    def work() -> None:
        until = time.thread_time() + 0.2
        while time.thread_time() < until:
            pass

    before = machine.cpu_seconds()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    between = machine.cpu_seconds()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.4: pass"], check=True)
    assert between - before >= 0.2
    assert machine.cpu_seconds() - between >= 0.4
