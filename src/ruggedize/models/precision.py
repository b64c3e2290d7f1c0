"""What a network computes in: decided by the device, said in every log and assessment."""

from pathlib import Path
from typing import Literal

import torch

Precision = Literal["bf16", "fp32"]
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


def resolved_precision(asked: Literal["auto", "bf16", "fp32"], device: torch.device) -> Precision:
    """Decide `auto`: bfloat16 where the device multiplies it, else float32."""
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if device.type == "cpu" and processor_has_bf16() else "fp32"


def processor_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Tell whether the processor multiplies bfloat16 (AVX-512 BF16, AMX or Arm's)."""
    if not cpuinfo.exists():
        return False
    lines = cpuinfo.read_text().splitlines()
    flags = (line for line in lines if line.startswith(("flags", "Features")))
    return bool(BF16_FLAGS & set(next(flags, "").split()))


def autocast_for(precision: Precision, device: torch.device) -> torch.autocast:
    """Give the context that the network runs in."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
