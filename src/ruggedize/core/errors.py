"""User errors, and foreign text made printable."""

import os
from contextlib import suppress


class UserError(Exception):
    """A mistake of the user; the message has at most three lines, of which the last is the fix."""


def shown(text: str | bytes | os.PathLike[str]) -> str:
    """Return a path or other foreign text as printable text on one line.

    Bytes that are not UTF-8, control characters, line breaks, lone surrogates and marks that
    change the direction of text are escaped. Text that was escaped before does not change.
    """
    plain = os.fsdecode(text)
    if plain.isprintable():
        return plain
    with suppress(UnicodeEncodeError):  # a lone surrogate, which is in no file name
        plain = os.fsencode(plain).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in plain)


def shown_lines(text: str) -> str:
    """Return text of several lines as `shown` does, with its line breaks."""
    return "\n".join(map(shown, text.split("\n")))
