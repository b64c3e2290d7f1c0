"""Compilation of the corruptions' kernels ahead of their use, in processes of their own.

Numba compiles one kernel at a time in a process. While the first model trains, other processes
compile what the assessment will use, and leave it in the cache on disk.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import llvmlite.binding
import torch

from ruggedize.core.errors import UserError
from ruggedize.corruptions.corrupting import corrupt
from ruggedize.corruptions.corruption import Preset
from ruggedize.corruptions.names import ALL, SEVERITIES
from ruggedize.corruptions.suites import GeneratedSuite, Suite
from ruggedize.kernels.kernel import is_private, kernel_folder

CORES_PER_PROCESS = 2  # the others train
MOST_PROCESSES = 4
Options = Mapping[str, Mapping[str, str]]


@contextmanager
def compiling_ahead(suite: Suite | None) -> Iterator[None]:
    """Compile the kernels of all published corruptions during the block, unless they are cached.

    The processes are waited for at the end of the block, or killed if it fails. They only fill the
    cache: a kernel that they have not compiled is compiled when it is used. Nothing is done for a
    suite that is not generated.
    """
    generated = suite if isinstance(suite, GeneratedSuite) else None
    done = marker(generated.preset) if generated else None
    if generated is None or done is None or done.exists():
        yield
        return
    processes = started(generated)
    try:
        yield
    except BaseException:
        for process in processes:
            process.kill()
        raise
    finally:
        codes = [process.wait() for process in processes]
        if codes and not any(codes):
            with suppress(OSError):
                done.touch()


def marker(preset: Preset) -> Path | None:
    """Return the file that exists once all kernels are cached; None if none are compiled ahead.

    Within the folder, Numba keeps the kernels of each version of Python and processor apart.
    """
    folder, num_cores = kernel_folder(), os.cpu_count() or 1
    if folder is None or num_cores < CORES_PER_PROCESS or not is_private(folder):
        return None
    parts = (sys.version, llvmlite.binding.get_host_cpu_name(), preset)
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()
    return folder / f"corruptions-{digest}.compiled"


def started(suite: GeneratedSuite) -> list[subprocess.Popen[bytes]]:
    """Start the processes, each with its share of the corruptions."""
    number = min(MOST_PROCESSES, (os.cpu_count() or 1) // CORES_PER_PROCESS)
    options = {name: dict(chosen) for name, chosen in suite.options.items()}
    rest = (suite.preset, min(suite.clean.shape[2:]), options)
    shares = [json.dumps([ALL[place::number], *rest]) for place in range(number)]
    none = subprocess.DEVNULL
    commands = [[sys.executable, "-P", "-m", __name__, share] for share in shares]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            processes.append(subprocess.Popen(command, stdin=none, stdout=none, stderr=none))
    except OSError:  # too many processes, or too little memory
        for process in processes:
            process.kill()
            process.wait()
        return []
    return processes


def compile_kernels(names: Sequence[str], preset: Preset, side: int, options: Options) -> None:
    """Compile the kernels of these corruptions by using each at every severity."""
    image = torch.zeros(1, 3, side, side, dtype=torch.uint8)
    for name in names:
        for severity in SEVERITIES:
            try:
                corrupt(image, name, severity, preset=preset, options=options.get(name))
            except UserError:  # a file is missing, which only matters if the corruption is used
                break


if __name__ == "__main__":
    compile_kernels(*json.loads(sys.argv[1]))
