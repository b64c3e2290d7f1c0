"""Peers that need torchvision, beside a torch that lacks its compiled operators."""

from collections.abc import Iterator
from types import ModuleType

import pytest
import torch


def peer(module: str) -> Iterator[ModuleType]:
    """Import a peer; add the operators that torchvision lacks beside a CPU-only torch."""
    if torchvision_is_whole():
        yield pytest.importorskip(module)
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
    yield pytest.importorskip(module)
    library._destroy()


def torchvision_is_whole() -> bool:
    """Return whether torchvision needs no help: it defines its operators itself, or is missing."""
    try:
        import torchvision  # noqa: F401
    except ImportError:
        return True
    except RuntimeError:  # operator torchvision::nms does not exist
        return False
    return True
