"""Numeric precision; on a CPU, the faster one is chosen by a measurement, once per machine."""

import json
import logging
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ruggedize.core.environment import processor
from ruggedize.core.errors import UserError
from ruggedize.core.files import write_atomically
from ruggedize.core.places import cache_folder
from ruggedize.core.reading import read_json

Precision = Literal["bf16", "fp32"]
RequestedPrecision = Literal["auto", "bf16", "fp32"]
GAIN = 1.1  # bfloat16 is less exact, so it is used only if it is more than 10 % faster
CHANNELS, SIDE, IMAGES = 64, 16, 16  # shape of the timed convolutions
MIN_SECONDS, MIN_REPEATS = 0.5, 3  # time for both precisions together, repeats of each
CACHE_FILE = "precision.json"

log = logging.getLogger(__name__)


class Timing(NamedTuple):
    """Seconds for the forward and backward pass of a convolution block in each precision."""

    fp32: float
    bf16: float


def resolved_precision(requested: RequestedPrecision, device: torch.device) -> Precision:
    """Resolve `auto` to bfloat16 on GPUs that support it and on CPUs where it is faster."""
    if requested != "auto":
        return requested
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if has_bf16 else "fp32"
    if device.type == "cpu":
        folder = cache_folder() or Path(os.devnull)  # nothing can be written below it
        return processor_precision(torch.get_num_threads(), folder)
    return "fp32"


@cache
def processor_precision(num_threads: int, folder: Path) -> Precision:
    """Return the faster precision on this processor, measured once and cached in a folder."""
    path = folder / CACHE_FILE
    key = f"{processor()}, torch {torch.__version__}, threads: {num_threads}"
    timing = cached_timing(path, key)
    origin = f"cached in {path}"
    if timing is None:
        timing = cache_timing(path, key, measured_timing())
        origin = f"measured now, written to {path}" if path.is_file() else "measured now"
    precision = faster_precision(timing)
    log.info(
        'precision "auto" is %s: a convolution block takes %.2f ms in float32, %.2f ms in bfloat16 '
        "(%s)",
        *(precision, 1e3 * timing.fp32, 1e3 * timing.bf16, origin),
    )
    return precision


def faster_precision(timing: Timing) -> Precision:
    """Return bfloat16 if it is more than 10 % faster than float32, else float32."""
    return "bf16" if timing.fp32 > GAIN * timing.bf16 else "fp32"


def cached_timing(path: Path, key: str) -> Timing | None:
    """Read a timing from the cache; return None if it is missing or invalid."""
    found = cached_entries(path).get(key)
    if not isinstance(found, dict) or found.keys() != set(Timing._fields):
        return None
    seconds = [found[name] for name in Timing._fields]
    is_valid = all(isinstance(s, float) and math.isfinite(s) and s > 0 for s in seconds)
    return Timing(*seconds) if is_valid else None


def cached_entries(path: Path) -> dict[str, Any]:
    """Read the whole cache; return an empty dict if it is missing or damaged."""
    try:
        entries = read_json(path)
    except (OSError, UserError):
        return {}
    return entries if isinstance(entries, dict) else {}


def cache_timing(path: Path, key: str, timing: Timing) -> Timing:
    """Cache and return a timing, unless another process has just cached one: return that one."""
    earlier = cached_timing(path, key)
    if earlier is not None:
        return earlier
    entries = cached_entries(path) | {key: timing._asdict()}
    with suppress(OSError):  # without a cache, it is measured again next time
        write_atomically(path, json.dumps(entries, indent=1).encode())
    return timing


@torch.inference_mode(False)
@torch.enable_grad()
def measured_timing() -> Timing:
    """Time a block of convolutions, alternating between the precisions.

    The minimum of each is used, because other load on the machine can only make it slower.
    """
    timed: dict[Precision, list[float]] = {"fp32": [], "bf16": []}
    run = convolution_block()
    for precision in timed:
        run(precision)  # warm-up: allocation and choice of kernels
    started = time.monotonic()
    while len(timed["bf16"]) < MIN_REPEATS or time.monotonic() - started < MIN_SECONDS:
        for precision, seconds in timed.items():
            before = time.perf_counter()
            run(precision)
            seconds.append(time.perf_counter() - before)
    return Timing(**{precision: min(seconds) for precision, seconds in timed.items()})


def convolution_block() -> Callable[[Precision], None]:
    """Build two 3x3 convolutions with batch norm and return a function that runs them.

    Weights are drawn from a separate generator, so that torch's global generator does not change.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(IMAGES, CHANNELS, SIDE, SIDE, generator=generator)
    weights = [0.05 * torch.randn(CHANNELS, CHANNELS, 3, 3, generator=generator) for _ in range(2)]
    kernels = [weight.contiguous(memory_format=torch.channels_last) for weight in weights]
    return partial(run_block, images.contiguous(memory_format=torch.channels_last), kernels)


def run_block(images: Tensor, kernels: list[Tensor], precision: Precision) -> None:
    """Run the block forward and backward in the given precision."""
    kernels = [kernel.detach().requires_grad_() for kernel in kernels]
    values = images
    with autocast_for(precision, images.device):
        for kernel in kernels:
            values = functional.conv2d(values, kernel, padding=1)
            values = functional.relu(functional.batch_norm(values, None, None, training=True))
    values.float().square().mean().backward()


def autocast_for(precision: Precision, device: torch.device) -> torch.autocast:
    """Return the autocast context for a precision; float32 disables it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
