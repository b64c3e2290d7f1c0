"""How much memory there is, and with how many it is shared."""

import os
from pathlib import Path

import torch

CPU_IS_FULL = "DefaultCPUAllocator: can't allocate memory"  # a RuntimeError of torch's
CGROUP = Path("/sys/fs/cgroup")


def processes_here() -> int:
    """Count the processes of this training on this machine, as torch's launcher tells them."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether a GPU is full, or the CPU's memory is (under a limit; else the kernel kills)."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or CPU_IS_FULL in str(error)


def available_memory() -> int | None:
    """Give the bytes that this process may still take, or None where the system does not say.

    In a container its own limit counts (Linux control groups, version 2).
    """
    free = kernel_estimate(Path("/proc/meminfo"))
    limit, used = (number_in(CGROUP / name) for name in ("memory.max", "memory.current"))
    if free is None or limit is None or used is None:
        return free
    return min(free, max(0, limit - used + reclaimable(CGROUP / "memory.stat")))


def kernel_estimate(meminfo: Path) -> int | None:
    """Read `MemAvailable`, the kernel's own estimate."""
    if not meminfo.exists():
        return None
    rows = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    return int(rows["MemAvailable"].split()[0]) * 1024


def reclaimable(statistics: Path) -> int:
    """Read how much of what the group uses are files that the kernel can let go of."""
    rows = dict(line.split() for line in statistics.read_text().splitlines())
    return int(rows["inactive_file"])


def number_in(file: Path) -> int | None:
    """Read a file of the control group; `max` is no limit."""
    text = file.read_text().strip() if file.exists() else "max"
    return int(text) if text.isdigit() else None
