"""Where data lie on this machine."""

import os
from pathlib import Path

from platformdirs import user_cache_path

VARIABLE = "RUGGEDIZE_DATA"


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder for data: `root`, else RUGGEDIZE_DATA, else the user's cache."""
    if root is not None:
        return Path(root).expanduser()
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else user_cache_path("ruggedize") / "data"
