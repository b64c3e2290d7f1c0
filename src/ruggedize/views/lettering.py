"""Captions in Pillow's built-in font, shortened to fit."""

import unicodedata
from functools import cache
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

MISSING = "\U0010ffff"  # no font has it, so it is drawn as the placeholder for missing characters
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


@cache
def built_in_font(size: int) -> "FreeTypeFont":
    """Load Pillow's built-in font, which is the same on all machines."""
    from PIL import ImageFont

    return cast("FreeTypeFont", ImageFont.load_default(size))


def lettering(name: str, size: int, width: float) -> str:
    """Return a name such that the built-in font can draw it within `width` pixels.

    Characters that the font lacks lose their accent or are replaced by their code point.
    """
    font = built_in_font(size)
    composed = unicodedata.normalize("NFC", name)
    text = "".join(char if has(font, char) else plain(char) for char in composed)
    if font.getlength(text) <= width:
        return text
    shortened = (text[:length].rstrip() + ELLIPSIS for length in range(len(text), 0, -1))
    return next((short for short in shortened if font.getlength(short) <= width), ELLIPSIS)


def has(font: "FreeTypeFont", char: str) -> bool:
    """Return whether a font can draw a character."""
    return char.isprintable() and drawn(font, char) != drawn(font, MISSING)


def drawn(font: "FreeTypeFont", char: str) -> bytes:
    """Return the pixels of a drawn character, for comparison."""
    from PIL import Image, ImageDraw

    side = round(2 * font.size)
    picture = Image.new("L", (side, side))
    ImageDraw.Draw(picture).text((0, 0), char, 255, font)
    return picture.tobytes()


def plain(char: str) -> str:
    """Return a character without its accent, or else its code point, in ASCII."""
    bare = unicodedata.normalize("NFKD", char).encode("ascii", "ignore").decode()
    return bare if bare.isprintable() and bare else char.encode("unicode_escape").decode()
