"""Make timm importable if torchvision was built for another torch; put it on PYTHONPATH.

torchvision describes operators of its compiled library when it is imported, and fails where that
library does not fit the installed torch. Those operators are declared here first, without code:
no classifier uses them. Where the library fits, nothing is done.
"""

import contextlib
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
declared = []  # libraries: what they declare goes when they do


class BeforeTorchvision:
    """Declares the operators when torchvision is about to be imported."""

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Leave it to the other finders to find anything."""
        if name == "torchvision" and cls in sys.meta_path:
            sys.meta_path.remove(cls)
            declare_operators()
        return None


def declare_operators() -> None:
    """Declare the operators unless torchvision's own library can be loaded."""
    import torch

    spec = PathFinder.find_spec("torchvision")
    folders = spec.submodule_search_locations if spec else None
    for library in Path(folders[0]).glob("_C*.so") if folders else ():
        with contextlib.suppress(OSError):
            torch.ops.load_library(str(library))
            return
    library = torch.library.Library("torchvision", "DEF")
    for operator in OPERATORS:
        library.define(operator)
    declared.append(library)


sys.meta_path.insert(0, BeforeTorchvision)
