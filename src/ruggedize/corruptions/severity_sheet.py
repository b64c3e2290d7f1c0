"""Contact sheets that show one image under every corruption at every severity."""

import textwrap
from typing import TYPE_CHECKING

from jaxtyping import UInt8
from torch import Tensor

from ruggedize.corruptions.names import SEVERITIES
from ruggedize.corruptions.suites import LENGTHS, Suite, chosen_names

if TYPE_CHECKING:
    from PIL.Image import Image

CELL = 96  # pixels; small images are enlarged by the smallest integer that reaches this size
LARGEST_CELL = 224  # pixels; larger images are reduced to this size
GAP = 4
MARGIN = 24
# The sizes below are for cells of CELL pixels and grow with the cells.
TITLE = 26  # height of the row of severities
NAMES = 150  # width of the column of names
FONT = 14
LETTER = 0.5  # mean width of a letter, as a fraction of the font size
PAPER, INK, FAINT = "#ffffff", "#1a1a1a", "#5f6368"


def corruption_sheet(
    suite: Suite,
    clean: UInt8[Tensor, "3 h w"],
    position: int,
    corruptions: tuple[str, ...] | None = None,
) -> "Image":
    """Draw one row per corruption (default: all): the clean image, then severities 1 to 5.

    `clean` is the test image at `position`. Small images are enlarged without smoothing. If the
    suite has a note on how its lengths suit images of this size, it is printed below.
    """
    from PIL import Image, ImageDraw, ImageFont

    names, size = chosen_names(suite, corruptions), cell_size(clean)
    steps, scale = (size[0] + GAP, size[1] + GAP), max(1.0, size[1] / CELL)
    title_height, names_width = round(TITLE * scale), round(NAMES * scale)
    left, top = MARGIN + names_width, MARGIN + title_height
    width = left + (1 + len(SEVERITIES)) * steps[0] + MARGIN
    lines, bottom = note_lines(suite, width, scale), top + len(names) * steps[1]
    height = bottom + MARGIN + len(lines) * title_height
    sheet = Image.new("RGB", (width, height), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT * scale)
    for number, line in enumerate(lines):
        draw.text((MARGIN, bottom + MARGIN // 2 + number * title_height), line, FAINT, font)
    draw.text((MARGIN, MARGIN), "severity", FAINT, font)
    for column, title in enumerate(("clean", *map(str, SEVERITIES))):
        middle = left + column * steps[0] + size[0] / 2
        draw.text((middle, MARGIN), title, FAINT, font, anchor="ma")
    for row, name in enumerate(names):
        middle = top + row * steps[1] + size[1] / 2
        draw.text((MARGIN, middle), name.replace("_", " "), INK, font, anchor="lm")
        cells = (suite.images(name, s, position, position + 1)[0] for s in SEVERITIES)
        for column, image in enumerate((clean, *cells)):
            corner = left + column * steps[0], top + row * steps[1]
            sheet.paste(picture_of(image, size), corner)
    return sheet


def note_lines(suite: Suite, width: int, scale: float) -> list[str]:
    """Return a suite's note on its lengths, wrapped to the width of the sheet; empty if none."""
    facts = suite.describe()
    if LENGTHS not in facts:
        return []
    note = f"preset {facts['preset']}, images of {facts['size']}: lengths {facts[LENGTHS]}"
    return textwrap.wrap(note, max(20, int((width - 2 * MARGIN) / (LETTER * FONT * scale))))


def cell_size(image: UInt8[Tensor, "3 h w"]) -> tuple[int, int]:
    """Return the width and height of an image on the sheet."""
    height, width = image.shape[1:]
    side = max(height, width)
    times = LARGEST_CELL / side if side > LARGEST_CELL else -(-CELL // side)
    return max(1, round(times * width)), max(1, round(times * height))


def picture_of(image: UInt8[Tensor, "3 h w"], size: tuple[int, int]) -> "Image":
    """Convert a tensor to a PIL image of this width and height."""
    from PIL import Image

    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    is_larger = size[0] >= picture.width
    return picture.resize(size, Image.Resampling.NEAREST if is_larger else Image.Resampling.BOX)
