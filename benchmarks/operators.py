"""Names that torchvision, timm and kornia ask a torch without torchvision's operators for."""

from functools import cache

import torch


@cache
def name_missing_operators() -> torch.library.Library:
    """Make torchvision importable beside a torch that lacks its compiled operators."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor d, Tensor s, float t) -> Tensor")
    return library  # a definition lives as long as its library: kept by the cache
