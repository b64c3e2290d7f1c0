"""The data folder on this machine."""

import os
from pathlib import Path

from ruggedize.core.places import absolute_path, folder_for

VARIABLE = "RUGGEDIZE_DATA"


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """Return the data folder: `root`, else RUGGEDIZE_DATA, else a folder in the user's cache."""
    return folder_for("data", VARIABLE) if root is None else absolute_path(root)
