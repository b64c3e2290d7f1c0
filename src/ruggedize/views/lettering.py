"""Names under pictures in Pillow's own font, cut to their room."""

import unicodedata
from functools import cache
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

NOWHERE = "\U0010ffff"  # no font draws this one: it comes out as the box for what is missing
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


@cache
def own_font(size: int) -> "FreeTypeFont":
    """Load Pillow's own font, which is the same on every machine."""
    from PIL import ImageFont

    return cast("FreeTypeFont", ImageFont.load_default(size))


def lettering(name: str, size: int, width: float) -> str:
    """Return a name as `own_font` can draw it within a width in pixels.

    A letter that the font lacks is written without its accent, or else by its number.
    """
    font = own_font(size)
    composed = unicodedata.normalize("NFC", name)
    text = "".join(char if has(font, char) else plain(char) for char in composed)
    if font.getlength(text) <= width:
        return text
    parts = (text[:length].rstrip() + ELLIPSIS for length in range(len(text), 0, -1))
    return next((part for part in parts if font.getlength(part) <= width), ELLIPSIS)


def has(font: "FreeTypeFont", char: str) -> bool:
    """Return whether a font can draw a letter."""
    return char.isprintable() and drawn(font, char) != drawn(font, NOWHERE)


def drawn(font: "FreeTypeFont", char: str) -> bytes:
    """Draw one letter, to be compared."""
    from PIL import Image, ImageDraw

    side = round(2 * font.size)
    picture = Image.new("L", (side, side))
    ImageDraw.Draw(picture).text((0, 0), char, 255, font)
    return picture.tobytes()


def plain(char: str) -> str:
    """Write a letter in ASCII: without its accent, else by its number."""
    bare = unicodedata.normalize("NFKD", char).encode("ascii", "ignore").decode()
    return bare if bare.isprintable() and bare else char.encode("unicode_escape").decode()
