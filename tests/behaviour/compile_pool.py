"""Report, as JSON, how torch's compile workers start inside a training; run as a process."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from ruggedize.cli.watchdog import Watchdog
from ruggedize.core.lock import only_writer
from ruggedize.core.signals import Signals


def status() -> dict[str, Any]:
    """Describe a worker process: its signals and what it has open."""
    rows = dict(
        line.split(":\t")
        for line in Path("/proc/self/status").read_text().splitlines()
        if ":\t" in line
    )
    names = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:
            continue
    return {
        "blocked": int(rows["SigBlk"], 16),
        "terminates": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
        "open": names,
    }


def main(folder: Path) -> None:
    """Start the pool where a training would: locked folder, borrowed handlers, watchdog."""
    from torch._inductor.compile_worker.subproc_pool import SubprocPool

    from tests.behaviour import compile_pool

    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    with Watchdog("never shown"), only_writer(folder), Signals():
        pool = SubprocPool(2)
        sys.stdout.write(json.dumps(pool.submit(compile_pool.status).result(120)))
        pool.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
