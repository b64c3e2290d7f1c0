"""What a network computes in; on the CPU the faster one, measured once per machine."""

import json
import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from platformdirs import user_cache_path
from torch import Tensor
from torch.nn import functional

from ruggedize.core.environment import processor
from ruggedize.core.files import write_atomically

Precision = Literal["bf16", "fp32"]
AskedPrecision = Literal["auto", "bf16", "fp32"]
GAIN = 1.1  # bfloat16 rounds more: it has to be faster by more than 10 %
CHANNELS, SIDE, IMAGES = 64, 16, 16  # of the convolutions that are timed
SECONDS, FEWEST_TIMES = 0.5, 3  # each precision is timed until both have passed
CACHE_FILE = "precision.json"

log = logging.getLogger(__name__)


class Timing(NamedTuple):
    """Seconds that a block of convolutions takes in each precision, forward and backward."""

    fp32: float
    bf16: float


def resolved_precision(asked: AskedPrecision, device: torch.device) -> Precision:
    """Resolve `auto`: bfloat16 on a GPU that has it in hardware, on a CPU where it is faster."""
    if asked != "auto":
        return asked
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if has_bf16 else "fp32"
    if device.type == "cpu":
        return processor_precision(torch.get_num_threads(), user_cache_path("ruggedize"))
    return "fp32"


@cache
def processor_precision(num_threads: int, folder: Path) -> Precision:
    """Return the faster precision of this processor, measured once and kept in a folder."""
    path = folder / CACHE_FILE
    key = f"{processor()}, torch {torch.__version__}, threads: {num_threads}"
    timing = kept_timing(path, key)
    origin = "read from" if timing else "measured now, kept in"
    if timing is None:
        timing = keep_timing(path, key, measured_timing())
    precision = faster_precision(timing)
    log.info(
        'precision "auto" is %s: a convolution block takes %.2f ms in float32, %.2f ms in bfloat16 '
        "(%s %s)",
        *(precision, 1e3 * timing.fp32, 1e3 * timing.bf16, origin, path),
    )
    return precision


def faster_precision(timing: Timing) -> Precision:
    """Choose bfloat16 only where it is faster by more than a tenth."""
    return "bf16" if timing.fp32 > GAIN * timing.bf16 else "fp32"


def kept_timing(path: Path, key: str) -> Timing | None:
    """Read a timing from the cache; None where it has none, or cannot be read."""
    found = kept_entries(path).get(key)
    if not isinstance(found, dict) or found.keys() != set(Timing._fields):
        return None
    seconds = [found[name] for name in Timing._fields]
    is_valid = all(isinstance(s, float) and math.isfinite(s) and s > 0 for s in seconds)
    return Timing(*seconds) if is_valid else None


def kept_entries(path: Path) -> dict[str, Any]:
    """Read the whole cache; a damaged or missing one is empty."""
    try:
        entries = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}


def keep_timing(path: Path, key: str, timing: Timing) -> Timing:
    """Write a timing to the cache and return it, or the one another process wrote meanwhile."""
    earlier = kept_timing(path, key)
    if earlier is not None:
        return earlier
    entries = kept_entries(path) | {key: timing._asdict()}
    with suppress(OSError):  # it is then measured anew the next time
        write_atomically(path, json.dumps(entries, indent=1).encode())
    return timing


@torch.inference_mode(False)
@torch.enable_grad()
def measured_timing() -> Timing:
    """Time a block of convolutions in both precisions by turns.

    The shortest time of each counts: whatever else runs on the machine only adds to it.
    """
    timed: dict[Precision, list[float]] = {"fp32": [], "bf16": []}
    run = convolution_block()
    for precision in timed:
        run(precision)  # allocates, and chooses the kernels
    started = time.monotonic()
    while len(timed["bf16"]) < FEWEST_TIMES or time.monotonic() - started < SECONDS:
        for precision, seconds in timed.items():
            before = time.perf_counter()
            run(precision)
            seconds.append(time.perf_counter() - before)
    return Timing(**{precision: min(seconds) for precision, seconds in timed.items()})


def convolution_block() -> Callable[[Precision], None]:
    """Build two 3x3 convolutions with batch norm, run forward and backward in a precision.

    The weights come from a generator of their own: torch's is left as it is.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(IMAGES, CHANNELS, SIDE, SIDE, generator=generator)
    weights = [0.05 * torch.randn(CHANNELS, CHANNELS, 3, 3, generator=generator) for _ in range(2)]
    kernels = [weight.contiguous(memory_format=torch.channels_last) for weight in weights]
    return partial(run_block, images.contiguous(memory_format=torch.channels_last), kernels)


def run_block(images: Tensor, kernels: list[Tensor], precision: Precision) -> None:
    """Run the block forward and backward."""
    kernels = [kernel.detach().requires_grad_() for kernel in kernels]
    values = images
    with autocast_for(precision, images.device):
        for kernel in kernels:
            values = functional.conv2d(values, kernel, padding=1)
            values = functional.relu(functional.batch_norm(values, None, None, training=True))
    values.float().square().mean().backward()


def autocast_for(precision: Precision, device: torch.device) -> torch.autocast:
    """Return the context that the network runs in."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
