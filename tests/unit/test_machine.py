"""The cores, memory and GPUs that a process may use."""

import os

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


@pytest.mark.parametrize("content", [None, "", "4:memory:/x\n"])
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
