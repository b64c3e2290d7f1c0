"""A sheet of pictures: clean and noisy views of the same images, side by side."""

from typing import TYPE_CHECKING

import numpy as np

from ruggedize.data import ImageSet
from ruggedize.kernels.spread import evenly_spread
from ruggedize.kernels.types import Images
from ruggedize.views.lettering import lettering, own_font
from ruggedize.views.pairs import ViewMaker

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 3  # the Keras example shows three by three
CELL = 144  # pixels a view is enlarged to, or the next larger multiple of its size
GAP = 6
MARGIN = 24
TITLE, LABEL = 34, 20  # heights of the lines of text
TITLE_FONT, LABEL_FONT = 20, 13
PAPER, INK, FAINT = "#ffffff", "#1a1a1a", "#5f6368"


def view_sheet(image_set: ImageSet, maker: ViewMaker, *, epoch: int = 0) -> "Image":
    """Draw nine images' clean views on the left and their noisy views on the right.

    The images are spread evenly over the set, since folders of images are sorted by class.

    The views are enlarged without smoothing, so that every pixel that the model sees shows.
    """
    shown = image_set.take(evenly_spread(len(image_set), SIDE * SIDE))
    clean, noisy = maker.pair(shown.images, shown.index, epoch)
    names = [image_set.classes[label] if label >= 0 else "" for label in shown.labels.tolist()]
    grids = [draw_grid("clean views", clean, names), draw_grid("noisy views", noisy, names)]
    return beside(grids)


def draw_grid(title: str, views: Images, names: list[str]) -> "Image":
    """Draw a titled grid of views, each with its class beneath it."""
    from PIL import Image, ImageDraw

    size = views.shape[2]
    cell = size * -(-CELL // size)
    width = SIDE * cell + (SIDE - 1) * GAP
    rows = -(-len(views) // SIDE)
    grid = Image.new("RGB", (width, TITLE + rows * (cell + LABEL + GAP)), PAPER)
    draw = ImageDraw.Draw(grid)
    draw.text((0, 0), title, INK, own_font(TITLE_FONT))
    for place, (view, name) in enumerate(zip(views, names, strict=True)):
        row, column = divmod(place, SIDE)
        left, top = column * (cell + GAP), TITLE + row * (cell + LABEL + GAP)
        picture = Image.fromarray(np.ascontiguousarray(view.permute(1, 2, 0).numpy()))
        grid.paste(picture.resize((cell, cell), Image.Resampling.NEAREST), (left, top))
        middle = (left + cell / 2, top + cell + 2)
        text = lettering(name, LABEL_FONT, cell)
        draw.text(middle, text, FAINT, own_font(LABEL_FONT), anchor="ma")
    return grid


def beside(grids: "list[Image]") -> "Image":
    """Arrange pictures of one size side by side on a sheet with margins."""
    from PIL import Image

    width, height = grids[0].size
    sheet = Image.new("RGB", (len(grids) * (width + 2 * MARGIN), height + 2 * MARGIN), PAPER)
    for place, grid in enumerate(grids):
        sheet.paste(grid, (MARGIN + place * (width + 2 * MARGIN), MARGIN))
    return sheet
