"""What the machine offers: precision, memory layout, and the processes that share the work."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from accelerate import Accelerator
from torch import Tensor


def resolve_precision(
    asked: Literal["auto", "bf16", "fp32"], device: torch.device
) -> Literal["bf16", "fp32"]:
    """Decide `auto`: bfloat16 where the device computes in it, else float32."""
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if device.type == "cpu" and processor_has_bf16() else "fp32"


def processor_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Tell whether the processor multiplies bfloat16 (AVX-512 BF16, AMX or Arm's)."""
    if not cpuinfo.exists():
        return False
    for line in cpuinfo.read_text().splitlines():
        if line.startswith(("flags", "Features")):
            return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(line.split()))
    return False


def autocast_for(precision: Literal["bf16", "fp32"], device: torch.device) -> torch.autocast:
    """Give the context that the network runs in."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def sum_over_processes(accelerator: Accelerator) -> Callable[[Tensor], Tensor]:
    """Give the reduction that makes every process know the sum."""
    if accelerator.num_processes == 1:
        return lambda value: value
    return lambda value: accelerator.reduce(value, reduction="sum")  # pyright: ignore
