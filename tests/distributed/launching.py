"""Start several processes by torch's launcher, by Accelerate's, or one by one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAUNCHERS = ("torch", "accelerate")


def launcher(kind: str, num_processes: int) -> list[str]:
    """Return the command that starts so many processes; a module and its arguments follow."""
    number = str(num_processes)
    if kind == "torch":
        command = ["torch.distributed.run", "--standalone", "--nproc_per_node", number]
    else:  # `accelerate launch`, without the other commands' imports
        alone = [] if num_processes == 1 else ["--multi_gpu", "--main_process_port", "0"]
        command = ["accelerate.commands.launch", *alone, "--num_processes", number]
    return [sys.executable, "-m", *command, "-m"]


def environment() -> dict[str, str]:
    """One thread a process, and no graphics card."""
    without_data = {k: v for k, v in os.environ.items() if k != "RUGGEDIZE_DATA"}
    return without_data | {"OMP_NUM_THREADS": "1", "COLUMNS": "120", "CUDA_VISIBLE_DEVICES": ""}


def launched(
    module: str, *arguments: str | Path, num_processes: int, kind: str = "torch", seconds: int = 300
) -> subprocess.CompletedProcess[str]:
    """Start a module in several processes and wait for them."""
    command = [*launcher(kind, num_processes), module, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=seconds
    )


def free_port() -> str:
    """Find a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def one_by_one(module: str, *arguments: str | Path, num_processes: int) -> list[subprocess.Popen]:
    """Start processes that find one another without a launcher that watches over them."""
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    world = {"WORLD_SIZE": str(num_processes), "LOCAL_WORLD_SIZE": str(num_processes)}
    return [
        subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env=environment() | meeting | world | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(num_processes)
    ]
