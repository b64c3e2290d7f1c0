"""Views that are cropped from the whole area of image files, each decoded once for all its views.

A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where both crops of the image keep twice the side
of the views; tests/reference/test_random_crop.py bounds the difference that this makes.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ruggedize.core.seeding import stream_key
from ruggedize.data import ImageBatch, ImageSet, Originals, Stored, read_picture, upright
from ruggedize.kernels.blocks import run_blocks
from ruggedize.kernels.pictures import Area, orientation_of, upright_size
from ruggedize.kernels.resample import Boxes, resample_pixels
from ruggedize.kernels.types import Index, Views
from ruggedize.views.noise_chain import apply_noise
from ruggedize.views.noise_options import CustomNoise
from ruggedize.views.options import members
from ruggedize.views.random_crop import Rule, fill_boxes, new_boxes, rule_of

if TYPE_CHECKING:
    from ruggedize.views.pairs import ViewMaker

View = Literal["clean", "noisy"]
VIEWS: tuple[View, ...] = ("clean", "noisy")
SMALLEST_SCALE = 2.0  # pixels of a decoded crop per pixel of its view
JPEG_SCALES = (8, 4, 2)


class Request(NamedTuple):
    """A view of every image of a batch."""

    maker: "ViewMaker"
    view: View
    epoch: int

    @property
    def key(self) -> "Key":
        """What identifies the request in this process; options need not be hashable."""
        maker = self.maker
        return id(maker.options), maker.seed, maker.seed_of_noise, self.view, self.epoch


Key = tuple[int, int, int, str, int]


class Crops(NamedTuple):
    """Both crops of each image by one maker in one epoch; all count for the JPEG's scale."""

    size: int
    rule: Rule
    streams: tuple[np.uint64, ...]
    boxes: tuple[Boxes, ...]
    views: tuple[np.ndarray | None, ...]  # None: not requested


@dataclass(frozen=True)
class ViewsOfFiles:
    """Makes the requested views of a batch of files."""

    requests: Sequence[Request]

    def __call__(self, originals: Originals, index: Index) -> list[Tensor]:
        """Return the views, one tensor per request."""
        return views_of(originals, index, self.requests)


def view_batches(
    image_set: ImageSet,
    positions: Sequence[np.ndarray],
    requests: Sequence[Sequence[Request]],
) -> Iterator[ImageBatch]:
    """Yield one batch per array of positions, for a `ViewMaker`.

    Where views are cropped from original files, a batch holds these with its requested views,
    which worker processes make ahead of time if the images are streamed. User-defined noise is
    not among them: its class may not be importable there.
    """
    asked = [request for of_batch in requests for request in of_batch]
    if image_set.originals is None or not any(r.maker.options.crops_originals for r in asked):
        yield from image_set.batches(positions)
        return
    ahead = [[each for each in of_batch if not has_custom_noise(each)] for of_batch in requests]
    if image_set.is_streamed and len(image_set):  # forked processes inherit the loaded kernels
        views_of(image_set.originals.select(torch.tensor([0])), image_set.index[:1], ahead[0])
    batches = image_set.original_batches(positions, [ViewsOfFiles(each) for each in ahead])
    for (batch, made), of_batch in zip(batches, ahead, strict=True):
        assert isinstance(batch.images, Originals)
        by_key = {request.key: views for request, views in zip(of_batch, made, strict=True)}
        yield replace(batch, images=replace(batch.images, made=by_key))


def has_custom_noise(request: Request) -> bool:
    """Return whether the view has noise that the user has defined."""
    noise = request.maker.options.noise if request.view == "noisy" else ()
    return any(isinstance(kind, CustomNoise) for link in noise for kind in members(link))


def requested_views(originals: Originals, index: Index, requests: Sequence[Request]) -> list[Views]:
    """Return the requested views; those that are made already are not made again."""
    if originals.asked is not None:
        originals.asked.extend(requests)
    missing = [request for request in requests if request.key not in originals.made]
    made = dict(originals.made)
    made |= zip((r.key for r in missing), views_of(originals, index, missing), strict=True)
    return [made[request.key] for request in requests]


def views_of(originals: Originals, index: Index, requests: Sequence[Request]) -> list[Views]:
    """Make the requested views; draws depend on seed, epoch and image index only."""
    if not requests:
        return []
    indices = np.ascontiguousarray(index, np.int64)
    crops, outputs = planned_crops(requests, len(indices))

    def cut_some(first: int, last: int) -> None:
        for place in range(first, last):
            cut_file(originals.files[place], place, indices, crops, originals.stored)

    run_blocks(cut_some, len(indices), smallest=1)
    views = [torch.from_numpy(outputs[request.key]) for request in requests]
    return [
        apply_noise(view, indices, maker.options.noise, maker.seed_of_noise, epoch, maker.partners)
        if kind == "noisy"
        else view
        for view, (maker, kind, epoch) in zip(views, requests, strict=True)
    ]


def planned_crops(requests: Sequence[Request], n: int) -> tuple[list[Crops], dict[Key, np.ndarray]]:
    """Return the crops of each maker and epoch, and the arrays for the views by request."""
    outputs: dict[Key, np.ndarray] = {}
    for request in requests:
        size = request.maker.input_size
        outputs[request.key] = np.empty((n, 3, size, size), np.uint8)
    crops: dict[tuple[int, int, int, int], Crops] = {}
    for maker, _, epoch in requests:
        of_views = [Request(maker, view, epoch) for view in VIEWS]
        crops[id(maker.options), maker.seed, maker.seed_of_noise, epoch] = Crops(
            maker.input_size,
            rule_of(maker.options),
            tuple(stream_key(maker.seed, maker.purpose(view), epoch) for view in VIEWS),
            tuple(new_boxes(n) for _ in VIEWS),
            tuple(outputs.get(request.key) for request in of_views),
        )
    return list(crops.values()), outputs


def cut_file(
    source: Path | bytes, place: int, indices: np.ndarray, crops: Sequence[Crops], stored: Stored
) -> None:
    """Write the views of one file, decoded once for each scale that its crops need."""
    waiting = list(crops)
    while waiting:
        waiting = read_picture(
            source,
            stored,
            lambda image, rest=waiting: cut_at_one_scale(image, place, indices, rest, stored),
        )


def cut_at_one_scale(
    image: Image.Image, place: int, indices: np.ndarray, crops: Sequence[Crops], stored: Stored
) -> list[Crops]:
    """Write the views that need the same scale as the first; return the other crops."""
    size = upright_size(image.size, orientation_of(image))
    scales = [drawn_scale(place, indices, size, some) for some in crops]
    least = image.width // scales[0], image.height // scales[0]
    same = [some for some, scale in zip(crops, scales, strict=True) if scale == scales[0]]
    upright(image, least, stored, lambda decoded, area: cut_views(decoded, area, place, same))
    return [some for some, scale in zip(crops, scales, strict=True) if scale != scales[0]]


def drawn_scale(place: int, indices: np.ndarray, size: tuple[int, int], crops: Crops) -> int:
    """Draw the boxes of one image and return by how much its JPEG may be reduced."""
    for stream, boxes in zip(crops.streams, crops.boxes, strict=True):
        fill_boxes(stream, indices, size, crops.rule, boxes, (place, place + 1))
    smallest = min(min(boxes.width[place], boxes.height[place]) for boxes in crops.boxes)
    scale = smallest / (SMALLEST_SCALE * crops.size)
    return next((reduced for reduced in JPEG_SCALES if reduced <= scale), 1)


def cut_views(decoded: Image.Image, area: Area, place: int, crops: Sequence[Crops]) -> None:
    """Cut the requested views out of a decoded image; boxes are those of the full size."""
    for some in crops:
        for boxes, views in zip(some.boxes, some.views, strict=True):
            if views is not None:
                cut_view(decoded, area, boxes, place, views[place])


def cut_view(decoded: Image.Image, area: Area, boxes: Boxes, place: int, out: np.ndarray) -> None:
    """Cut one view out of a decoded image."""
    scale = area.scale
    left, width = area.left + boxes.left[place] * scale, boxes.width[place] * scale
    top, height = area.top + boxes.top[place] * scale, boxes.height[place] * scale
    first_x, first_y = math.floor(left), math.floor(top)
    last_x, last_y = math.ceil(left + width), math.ceil(top + height)
    hull = first_x, first_y, min(last_x, decoded.width), min(last_y, decoded.height)
    pixels = np.asarray(decoded.crop(hull))
    box = left - first_x, top - first_y, width, height
    resample_pixels(pixels, out, box, boxes.flip[place], boxes.cubic[place])
