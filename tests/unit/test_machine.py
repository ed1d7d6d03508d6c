"""What the machine has, and what of it a process may use."""

import pytest

from deepnets import machine

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
