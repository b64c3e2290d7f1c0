"""What a network computes in while it is examined."""

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
    flags = (line for line in cpuinfo.read_text().splitlines() if line.startswith(("fl", "Feat")))
    return bool(BF16_FLAGS & set(next(flags, "").split()))
