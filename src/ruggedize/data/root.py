"""The folder of the data on this machine."""

import os
from pathlib import Path

from platformdirs import user_cache_path

VARIABLE = "RUGGEDIZE_DATA"


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """Return the data folder: `root`, else RUGGEDIZE_DATA, else a folder in the user's cache."""
    if root is not None:
        return Path(root).expanduser()
    from_environment = os.environ.get(VARIABLE)
    if from_environment:
        return Path(from_environment).expanduser()
    return user_cache_path("ruggedize") / "data"
