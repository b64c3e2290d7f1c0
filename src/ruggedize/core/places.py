"""Paths as users write them, and the user's cache folder."""

import os
from pathlib import Path

from platformdirs import user_cache_path

from ruggedize.core.errors import UserError


def user_path(path: str | os.PathLike[str]) -> Path:
    """Return a path with `~` and `~NAME` expanded to the home folders of this and another user.

    Raises:
        UserError: this user has no home folder, for example no entry in /etc/passwd.
    """
    text = os.fspath(path)
    expanded = os.path.expanduser(text)  # Path.expanduser raises for ~NAME
    if expanded.startswith("~") and text.split("/", 1)[0] == "~":
        raise UserError(f"{text}: this user has no home folder;\nset HOME, or use an absolute path")
    return Path(expanded)


def absolute_path(path: str | os.PathLike[str]) -> Path:
    """Return an absolute path with `~` expanded and `.` and `..` resolved."""
    return Path(os.path.abspath(user_path(path)))  # unlike Path.resolve, does not follow links


def is_there(path: Path) -> bool:
    """Return whether a path exists; False if it is invalid, for example too long."""
    return os.path.exists(path)  # Path.exists raises for invalid paths


def cache_folder() -> Path | None:
    """Return ruggedize's folder in the user's cache; None if the user has no home folder."""
    try:
        folder = user_cache_path("ruggedize")
    except RuntimeError:  # platformdirs: no home folder; older versions leave ~ unexpanded
        return None
    return folder if folder.is_absolute() else None


def folder_for(name: str, variable: str) -> Path:
    """Return the folder set in an environment variable, or else the one in the user's cache.

    Raises:
        UserError: the variable is not set and the user has no home folder.
    """
    if named := os.environ.get(variable):
        return absolute_path(named)
    folder = cache_folder()
    if folder is None:
        raise UserError(
            f"this user has no home folder, so there is no default folder for {name};\n"
            f"set one with {variable}=DIR"
        )
    return folder / name
