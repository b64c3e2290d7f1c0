"""Names under pictures: cut to their room, and legible whatever alphabet they are in."""

import unicodedata
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

FONTS = (  # of the machine, where Pillow's own font lacks a letter; none of them need be there
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
    "Arial.ttf",
    "msyh.ttc",
)
NOWHERE = "\U0010ffff"  # no font draws this one: it comes out as the box for what is missing
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


class Lettering(NamedTuple):
    """A text and the font that has all its letters."""

    text: str
    font: "FreeTypeFont"


def lettering(name: str, size: int, width: float) -> Lettering:
    """Return a name as it can be drawn within a width in pixels.

    Pillow's own font comes first, then what the machine has; letters that none of them has are
    written in ASCII.
    """
    own, *others = fonts_of(size)
    name = "".join(char if char.isprintable() else escaped(char) for char in composed(name))
    font = next((font for font in (own, *others) if has_all(font, name)), None)
    if font is None:
        name, font = "".join(char if has_all(own, char) else plain(char) for char in name), own
    return Lettering(shortened(name, font, width), font)


@cache
def fonts_of(size: int) -> list["FreeTypeFont"]:
    """Load Pillow's own font and those of the machine that are there."""
    from PIL import ImageFont

    found = [cast("FreeTypeFont", ImageFont.load_default(size))]
    for file in FONTS:
        with suppress(OSError):
            found.append(ImageFont.truetype(file, size))
    return found


def has_all(font: "FreeTypeFont", text: str) -> bool:
    """Return whether a font can draw all the letters of a text."""
    missing = drawn(font, NOWHERE)
    return all(drawn(font, char) != missing for char in set(text))


def drawn(font: "FreeTypeFont", char: str) -> bytes:
    """Draw one letter, to be compared."""
    from PIL import Image, ImageDraw

    side = round(2 * font.size)
    picture = Image.new("L", (side, side))
    ImageDraw.Draw(picture).text((0, 0), char, 255, font)
    return picture.tobytes()


def composed(name: str) -> str:
    """Compose letters with their accents: few fonts have accents alone."""
    return unicodedata.normalize("NFC", name)


def plain(char: str) -> str:
    """Write a letter in ASCII: without its accent, else by its number."""
    bare = unicodedata.normalize("NFKD", char).encode("ascii", "ignore").decode()
    return bare or escaped(char)


def escaped(char: str) -> str:
    """Write a letter by its number."""
    return char.encode("unicode_escape").decode()


def shortened(text: str, font: "FreeTypeFont", width: float) -> str:
    """Cut a text that is wider than there is room, and show that it goes on."""
    if font.getlength(text) <= width:
        return text
    lengths = range(len(text), 0, -1)
    parts = (text[:length].rstrip() + ELLIPSIS for length in lengths)
    return next((part for part in parts if font.getlength(part) <= width), ELLIPSIS)
