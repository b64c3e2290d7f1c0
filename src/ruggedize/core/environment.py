"""Machine and package versions, recorded with every result."""

import hashlib
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
ENVIRONMENT_PACKAGES = (
    "ruggedize",
    "torch",
    "numpy",
    "numba",
    "accelerate",
    "safetensors",
    "pillow",
    "timm",
)


def environment() -> dict[str, Any]:
    """Return the machine and package versions as a JSON-serialisable dict."""
    import torch

    accelerators = range(torch.cuda.device_count())
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(number) for number in accelerators],
        "packages": {name: version(name) for name in ENVIRONMENT_PACKAGES},
        "source": source_digest(),
    }


def source_digest() -> str:
    """Return a digest of this package's source code, to identify unreleased versions."""
    digest = hashlib.sha256()
    for file in sorted(PACKAGE.rglob("*.py")):
        digest.update(f"{file.relative_to(PACKAGE)}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def version(package: str) -> str | None:
    """Return the version of a package, or None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """Return the name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
