"""Mistakes of the user, and names from outside written so that they can be printed."""

import os


class UserError(Exception):
    """A mistake of the user's: at most three lines, the last of which names the cure."""


def shown(path: str | os.PathLike[str]) -> str:
    """Write a path so that it can be printed on one line and stored, whatever bytes it holds."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
