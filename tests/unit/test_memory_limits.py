"""The available memory is the minimum over the process's nested control groups."""

from pathlib import Path

import pytest

from ruggedize.core.memory import available_memory

MIB = 1 << 20
VERSIONS = {
    2: ("0::{}", "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    1: (
        "9:cpu,memory:{}",
        "sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
}
NO_LIMIT = {2: "max", 1: str((1 << 63) - 4096)}
Group = tuple[int | None, int, int]  # limit, used, reclaimable in MiB


def machine(root: Path, version: int, path: str, groups: dict[str, Group]) -> Path:
    """Fake a machine with 8,000 MiB available and a process in a control group."""
    line, mount, limit_name, used_name, reclaimable_name = VERSIONS[version]
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable:  {8_000 * 1024} kB\n")
    (root / "proc/self/cgroup").write_text(f"12:pids:/elsewhere\n{line.format(path)}\n")
    for name, (limit, used, reclaimable) in groups.items():
        place = root / mount / name
        place.mkdir(parents=True, exist_ok=True)
        text = NO_LIMIT[version] if limit is None else str(limit * MIB)
        (place / limit_name).write_text(f"{text}\n")
        (place / used_name).write_text(f"{used * MIB}\n")
        (place / "memory.stat").write_text(f"anon 5\n{reclaimable_name} {reclaimable * MIB}\n")
    return root


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("inner", "outer", "expected"),
    [
        ((500, 200, 50), (900, 300, 0), 350),  # the own group is the tightest
        ((None, 200, 50), (900, 300, 0), 600),  # the limit is that of the group above
        ((500, 200, 50), (250, 240, 0), 10),
        ((100, 200, 0), (900, 300, 0), 0),  # over its limit
        ((None, 200, 50), (None, 300, 0), 8_000),
        ((9_500, 200, 0), (9_900, 300, 0), 8_000),  # the machine has less than the limits
    ],
)
def test_the_smallest_limit_of_nested_groups_applies(
    tmp_path: Path, version: int, inner: Group, outer: Group, expected: int
) -> None:
    groups = {"jobs/mine": inner, "jobs": outer, "jobs/other": (1, 0, 0)}
    root = machine(tmp_path, version, "/jobs/mine", groups)
    assert available_memory(root) == expected * MIB


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", ["/", "/docker/0a1b", "/../../system.slice"])
def test_a_container_uses_the_limits_in_its_mount(tmp_path: Path, version: int, path: str) -> None:
    assert available_memory(machine(tmp_path, version, path, {"": (700, 100, 0)})) == 600 * MIB


def test_a_group_without_all_its_files_is_skipped(tmp_path: Path) -> None:
    groups: dict[str, Group] = {"a/b": (100, 50, 0), "a": (600, 100, 100)}
    root = machine(tmp_path, 2, "/a/b", groups)
    assert available_memory(root) == 50 * MIB
    (root / "sys/fs/cgroup/a/memory.stat").unlink()
    (root / "sys/fs/cgroup/a/b/memory.current").unlink()
    assert available_memory(root) == 500 * MIB


def test_a_system_without_memory_information_is_not_an_error(tmp_path: Path) -> None:
    assert available_memory(tmp_path) is None
    root = machine(tmp_path, 2, "/a", {})
    (root / "proc/self/cgroup").unlink()
    assert available_memory(root) == 8_000 * MIB
