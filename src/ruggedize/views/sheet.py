"""View sheets: clean and noisy views of the same images, side by side in one picture."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ruggedize.core import files
from ruggedize.core.errors import UserError
from ruggedize.core.seeding import stream_key
from ruggedize.data import ImageSet, Originals
from ruggedize.kernels.spread import evenly_spread
from ruggedize.kernels.types import Images
from ruggedize.views.from_files import VIEWS, Request, view_batches
from ruggedize.views.lettering import built_in_font, lettering
from ruggedize.views.options import ViewOptions
from ruggedize.views.pairs import ViewMaker
from ruggedize.views.partners import choose_partners

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 3  # rows and columns, as in the Keras example
CELL = 144  # smallest side in pixels of an enlarged view; rounded up to a multiple of its size
GAP = 6
MARGIN = 24
TITLE, LABEL = 34, 20  # heights of the lines of text
TITLE_FONT, LABEL_FONT = 20, 13
PAPER, INK, FAINT = "#ffffff", "#1a1a1a", "#5f6368"


def view_sheet(image_set: ImageSet, maker: ViewMaker, *, epoch: int = 0) -> "Image":
    """Draw the clean views of nine images on the left, and their noisy views on the right.

    Views that are cropped from original files are followed by test views, which `data.fit` shapes.
    The images are evenly spread over the set, which is often sorted by class. Views are enlarged
    without smoothing, so that every pixel is visible.
    """
    chosen = evenly_spread(len(image_set), SIDE * SIDE)
    requests = [Request(maker, view, epoch) for view in VIEWS]
    (shown,) = view_batches(image_set, [np.asarray(chosen)], [requests])
    clean, noisy = maker.pair(shown.images, shown.index, epoch)
    names = [image_set.classes[label] if label >= 0 else "" for label in shown.labels.tolist()]
    grids = [draw_grid("clean views", clean, names), draw_grid("noisy views", noisy, names)]
    if isinstance(shown.images, Originals):
        title = f"test views, fit = {image_set.fit}"
        grids.append(draw_grid(title, maker.test(shown.images), names))
    return beside(grids)


def save_view_sheet(image_set: ImageSet, views: ViewOptions, seed: int, out: Path) -> None:
    """Write a PNG with clean and noisy views like those that the student is trained on."""
    if out.suffix.lower() != ".png":
        raise UserError(f"a view sheet must be a PNG file, got {out};\nname it {out.stem}.png")
    files.reject_unwritable_file(out)
    own = int(stream_key(seed, "sheet"))
    partners = choose_partners(image_set, views, own)
    maker = ViewMaker(views, image_size=image_set.image_size, seed=own, partners=partners)
    picture = io.BytesIO()
    view_sheet(image_set, maker).save(picture, "PNG")
    files.write_atomically(out, picture.getvalue())


def draw_grid(title: str, views: Images, names: list[str]) -> "Image":
    """Draw a titled grid of views with their class names."""
    from PIL import Image, ImageDraw

    size = views.shape[2]
    cell = size * -(-CELL // size)
    width = SIDE * cell + (SIDE - 1) * GAP
    rows = -(-len(views) // SIDE)
    grid = Image.new("RGB", (width, TITLE + rows * (cell + LABEL + GAP)), PAPER)
    draw = ImageDraw.Draw(grid)
    draw.text((0, 0), title, INK, built_in_font(TITLE_FONT))
    for position, (view, name) in enumerate(zip(views, names, strict=True)):
        row, column = divmod(position, SIDE)
        left, top = column * (cell + GAP), TITLE + row * (cell + LABEL + GAP)
        picture = Image.fromarray(np.ascontiguousarray(view.permute(1, 2, 0).numpy()))
        grid.paste(picture.resize((cell, cell), Image.Resampling.NEAREST), (left, top))
        middle = (left + cell / 2, top + cell + 2)
        text = lettering(name, LABEL_FONT, cell)
        draw.text(middle, text, FAINT, built_in_font(LABEL_FONT), anchor="ma")
    return grid


def beside(grids: "list[Image]") -> "Image":
    """Paste pictures of the same size side by side, with margins."""
    from PIL import Image

    width, height = grids[0].size
    sheet = Image.new("RGB", (len(grids) * (width + 2 * MARGIN), height + 2 * MARGIN), PAPER)
    for position, grid in enumerate(grids):
        sheet.paste(grid, (MARGIN + position * (width + 2 * MARGIN), MARGIN))
    return sheet
