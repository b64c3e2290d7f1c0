"""The error for user mistakes, its hints, and the escaping of untrusted text."""

import difflib
import os
from collections.abc import Iterable
from contextlib import suppress


class UserError(Exception):
    """A user's mistake. The message has at most three lines; the last one is the fix."""


def shown(text: str | bytes | os.PathLike[str]) -> str:
    """Return a path or other untrusted text as a single printable line.

    Bytes that are not UTF-8, control characters, line breaks, lone surrogates and marks that
    change the text direction are escaped. Escaped text is returned unchanged.
    """
    plain = os.fsdecode(text)
    if plain.isprintable():
        return plain
    with suppress(UnicodeEncodeError):  # a lone surrogate that no file name can contain
        plain = os.fsencode(plain).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in plain)


def shown_lines(text: str) -> str:
    """Escape text as `shown` does, but keep its line breaks."""
    return "\n".join(map(shown, text.split("\n")))


def did_you_mean(name: str, known: Iterable[str], *, prefix: str = "", cutoff: float = 0.6) -> str:
    """Return a hint with the closest of the known names, or an empty string if none is close."""
    near = difflib.get_close_matches(name, [*known], 1, cutoff)
    return f"did you mean {prefix}{near[0]}?" if near else ""
