"""How much memory there is, and with how many it is shared."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

CPU_IS_FULL = "DefaultCPUAllocator: can't allocate memory"  # a RuntimeError of torch's


class Layout(NamedTuple):
    """Where one version of Linux' control groups is mounted, and what its files are called."""

    mount: str
    limit: str
    used: str
    reclaimable: str  # the row of memory.stat: file pages that the kernel can drop


VERSION_2 = Layout("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")
HYBRID = VERSION_2._replace(mount="sys/fs/cgroup/unified")
VERSION_1 = Layout(
    "sys/fs/cgroup/memory",
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    "total_inactive_file",
)


def processes_here() -> int:
    """Count the processes of this training on this machine, as torch's launcher tells them."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the GPU or, under a limit, the CPU is out of memory."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or CPU_IS_FULL in str(error)


def available_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes that this process may still take, or None where the system does not say.

    Under Linux the limits of control groups count, too: that of the process's own group and of
    every group above it, whichever leaves least.
    """
    rooms = [kernel_estimate(root / "proc/meminfo")]
    rooms += [room_in(group, layout) for group, layout in control_groups(root)]
    return min((room for room in rooms if room is not None), default=None)


def kernel_estimate(meminfo: Path) -> int | None:
    """Read `MemAvailable`, the kernel's own estimate."""
    available = rows_of(meminfo, ":").get("MemAvailable", "")
    return int(available.split()[0]) * 1024 if available else None


def control_groups(root: Path) -> Iterator[tuple[Path, Layout]]:
    """Yield the process's own control group and all above it, for each version that is mounted.

    In a container the path may be the host's, which its mount does not show: what is missing is
    skipped, and the mount itself is always among them.
    """
    for line in text_of(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for layout in (VERSION_1,) if controllers else (VERSION_2, HYBRID):
            mount = root / layout.mount
            for depth in range(len(parts), -1, -1):
                yield mount.joinpath(*parts[:depth]), layout


def room_in(group: Path, layout: Layout) -> int | None:
    """Return the bytes that a control group may still take, or None without a limit."""
    limit, used = (number_in(group / name) for name in (layout.limit, layout.used))
    if limit is None or used is None:
        return None
    reclaimable = rows_of(group / "memory.stat", " ").get(layout.reclaimable, "0")
    return max(0, limit - used + int(reclaimable))


def number_in(file: Path) -> int | None:
    """Read a number; None where there is none (`max`: no limit)."""
    text = text_of(file).strip()
    return int(text) if text.isdigit() else None


def rows_of(file: Path, separator: str) -> dict[str, str]:
    """Read a table of two columns; a file that is missing has no rows."""
    pairs = (line.split(separator, 1) for line in text_of(file).splitlines() if separator in line)
    return {name: value.strip() for name, value in pairs}


def text_of(file: Path) -> str:
    """Read a file of the system's; empty where it is missing or may not be read."""
    try:
        return file.read_text()
    except OSError:
        return ""
