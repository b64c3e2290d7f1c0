"""Paths as users write them, and the folders that belong to the user."""

import os
from pathlib import Path

from platformdirs import user_cache_path

from ruggedize.core.errors import UserError


def user_path(path: str | os.PathLike[str]) -> Path:
    """Return a path with `~` expanded to the home folder, and `~NAME` to that of a user.

    Raises:
        UserError: there is no home folder, as for a user without an entry in /etc/passwd.
    """
    text = os.fspath(path)
    expanded = os.path.expanduser(text)  # Path.expanduser raises for ~NAME
    if expanded.startswith("~") and text.split("/", 1)[0] == "~":
        raise UserError(f"{text}: this user has no home folder;\nset HOME, or give the whole path")
    return Path(expanded)


def absolute_path(path: str | os.PathLike[str]) -> Path:
    """Return a path with `~` expanded, from the root, without `.` and `..` where it can be."""
    return Path(os.path.abspath(user_path(path)))  # keeps links, as users named them


def is_there(path: Path) -> bool:
    """Return whether a path exists; False for one that is too long or no path at all."""
    return os.path.exists(path)  # Path.exists raises for these


def cache_folder() -> Path | None:
    """Return ruggedize's folder in the user's cache; None for a user without a home folder."""
    try:
        folder = user_cache_path("ruggedize")
    except RuntimeError:  # platformdirs: no home folder; older versions leave ~ as it is
        return None
    return folder if folder.is_absolute() else None


def folder_for(name: str, variable: str) -> Path:
    """Return the folder that an environment variable names, else one in the user's cache.

    Raises:
        UserError: the variable is not set, and the user has no home folder.
    """
    if named := os.environ.get(variable):
        return absolute_path(named)
    folder = cache_folder()
    if folder is None:
        raise UserError(
            f"this user has no home folder, so there is no place for {name};\n"
            f"set one with {variable}=DIR"
        )
    return folder / name
