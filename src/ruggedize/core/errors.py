"""User errors, and paths made printable for messages."""

import os


class UserError(Exception):
    """A mistake of the user; the message has at most three lines, of which the last is the fix."""


def shown(path: str | bytes | os.PathLike[str]) -> str:
    """Return a path as printable text on one line; unprintable bytes are escaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
