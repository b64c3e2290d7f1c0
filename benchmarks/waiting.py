"""How long PyTorch's threads should spin while they wait, alone and beside other work.

Each measurement has its own process, since libgomp reads GOMP_SPINCOUNT when it is loaded. The
other work is one process that computes without pause, like the compilation of kernels in a first
run.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.record import Content, Contestant, Pair, add_group, begun, interleaved
from benchmarks.turns import ROOT

DEFAULT = "libgomp's default"
COUNTS = {DEFAULT: None, "10,000": 10_000, "1,000": 1_000, "0": 0}
NETWORKS = {
    "resnet9, width 8, batch 64": ("resnet9", 8, 64),
    "airbench, width 32, batch 128": ("airbench", 32, 128),
}
SECONDS = 4.0  # of a measurement
WARMUP = 3  # steps


def measure(rounds: int) -> dict[str, Content]:
    """Time training steps with each spin count, alone and beside other work."""
    content = begun(rounds)
    for network in NETWORKS:
        for load, others in (("alone", 0), ("beside one busy process", 1)):
            contestants = {name: contestant(network, count) for name, count in COUNTS.items()}
            with busy(others):
                rates = interleaved(contestants, rounds)
            pairs: list[Pair] = [(name, DEFAULT, ()) for name in COUNTS if name != DEFAULT]
            add_group(content, f"{network}, {load}", rates, pairs)
    return {"waiting": content}


def contestant(network: str, count: int | None) -> Contestant:
    """Return a function that trains in a process of its own, and gives its images a second."""
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    if count is not None:
        environment["GOMP_SPINCOUNT"] = str(count)

    def rate() -> float:
        command = [sys.executable, "-m", "benchmarks.waiting", network]
        done = subprocess.run(
            command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, check=True
        )
        return float(done.stdout)

    return rate


@contextmanager
def busy(number: int) -> Iterator[None]:
    """Keep processes busy during the block."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def train(network: str) -> float:
    """Train a network on noise for a few seconds; return its images a second."""
    import torch

    from ruggedize.models import create_model
    from ruggedize.recipe import load_recipe

    name, width, batch_size = NETWORKS[network]
    options = load_recipe(
        "demo", (f"student.model={{name='{name}', width={width}}}",)
    ).student.model
    images = torch.randint(0, 256, (batch_size, 3, 32, 32), dtype=torch.uint8)
    model = create_model(options, tuple("0123456789"), 32, 32, 0, images)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    labels = torch.arange(batch_size) % 10
    steps, started = -WARMUP, time.perf_counter()
    while time.perf_counter() - started < SECONDS or steps < 1:
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimiser.step()
        steps += 1
        if steps == 0:
            started = time.perf_counter()
    return steps * batch_size / (time.perf_counter() - started)


if __name__ == "__main__":
    print(train(sys.argv[1]))
