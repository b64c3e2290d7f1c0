"""Available memory, and the number of processes that share it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

CPU_IS_FULL = "DefaultCPUAllocator: can't allocate memory"  # message of torch's RuntimeError


class Layout(NamedTuple):
    """Mount point and file names of one version of Linux control groups (cgroups)."""

    mount: str
    limit: str
    used: str
    reclaimable: str  # row of memory.stat that counts the page cache the kernel can free


VERSION_2 = Layout("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")
HYBRID = VERSION_2._replace(mount="sys/fs/cgroup/unified")
VERSION_1 = Layout(
    "sys/fs/cgroup/memory",
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    "total_inactive_file",
)


def processes_here() -> int:
    """Return the local world size: the number of this run's processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error reports that a GPU or the CPU is out of memory."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or CPU_IS_FULL in str(error)


def available_memory(root: Path = Path("/")) -> int | None:
    """Return the memory in bytes that this process can still allocate; None if unknown.

    On Linux, this is the smaller of the kernel's estimate and what the memory limits of the
    process's control group and its ancestors leave.
    """
    limits = [kernel_estimate(root / "proc/meminfo")]
    limits += [remaining_in(group, layout) for group, layout in control_groups(root)]
    return min((limit for limit in limits if limit is not None), default=None)


def kernel_estimate(meminfo: Path) -> int | None:
    """Return the kernel's estimate, `MemAvailable`, in bytes; None if it is not listed."""
    available = rows_of(meminfo, ":").get("MemAvailable", "")
    return int(available.split()[0]) * 1024 if available else None


def control_groups(root: Path) -> Iterator[tuple[Path, Layout]]:
    """Yield the process's control group and its ancestors, for each cgroup version.

    In a container, the path may be the host's and not exist below the mount point. Missing groups
    have no limit; the mount point itself is always included.
    """
    for line in text_of(root / "proc/self/cgroup").splitlines():
        _, _, group = line.partition(":")
        controllers, _, path = group.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for layout in (VERSION_1,) if controllers else (VERSION_2, HYBRID):
            mount = root / layout.mount
            for depth in range(len(parts), -1, -1):
                yield mount.joinpath(*parts[:depth]), layout


def remaining_in(group: Path, layout: Layout) -> int | None:
    """Return how many bytes are left below a control group's limit; None if it has no limit."""
    limit, used = (number_in(group / name) for name in (layout.limit, layout.used))
    if limit is None or used is None:
        return None
    reclaimable = rows_of(group / "memory.stat", " ").get(layout.reclaimable, "0")
    return max(0, limit - used + int(reclaimable))


def number_in(file: Path) -> int | None:
    """Read a number from a file; return None for other text, such as `max` (no limit)."""
    text = text_of(file).strip()
    return int(text) if text.isdigit() else None


def rows_of(file: Path, separator: str) -> dict[str, str]:
    """Read a two-column table; return an empty dict if the file is missing."""
    pairs = (line.split(separator, 1) for line in text_of(file).splitlines() if separator in line)
    return {name: value.strip() for name, value in pairs}


def text_of(file: Path) -> str:
    """Read a system file; return an empty string if it is missing or unreadable."""
    try:
        return file.read_text()
    except OSError:
        return ""
