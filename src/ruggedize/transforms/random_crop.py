"""Random-resized crops of tensors and Pillow images."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ruggedize.core.seeding import stream_key
from ruggedize.kernels.blocks import run_blocks
from ruggedize.kernels.inputs import as_images, whole_number
from ruggedize.kernels.pictures import upright_copy
from ruggedize.kernels.resample import resample_pixels
from ruggedize.kernels.types import Views
from ruggedize.transforms.arguments import checked
from ruggedize.transforms.draws import Indices, drawn_seed, indices_of
from ruggedize.transforms.pictures import in_batch
from ruggedize.views import ViewOptions, fill_boxes, new_boxes, rule_of

NAMES = {"crop": "size", "crop_scale": "scale", "crop_ratio": "ratio"}  # by option of a recipe


class RandomResizedCrop(nn.Module):
    """A crop of random area, aspect ratio and position, resized with antialiasing.

    Args:
        size: side of the crops in pixels.
        scale: smallest and largest area, as fractions of the image's.
        ratio: smallest and largest ratio of width to height.
        interpolation: "bilinear", "bicubic" or "random", one of the two for each image.

    Source: torchvision, `RandomResizedCrop`; timm, `RandomResizedCropAndInterpolation`.
    """

    def __init__(
        self,
        size: int,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: str = "bilinear",
    ) -> None:
        super().__init__()
        self.size = whole_number(size, "size", 224)
        options = {"crop_scale": scale, "crop_ratio": ratio, "interpolation": interpolation}
        chosen = {"crop_mode": "random-resized", "crop": self.size, "flip": False, **options}
        self.options = checked(ViewOptions, chosen, NAMES)
        self(torch.zeros(3, 4, 4, dtype=torch.uint8), seed=0, index=0)  # see noise.load_kernels

    def forward(
        self,
        images: Tensor | np.ndarray | Image.Image | Sequence[Image.Image | Tensor | np.ndarray],
        *,
        seed: int | None = None,
        epoch: int = 0,
        index: Indices | None = None,
    ) -> Tensor | np.ndarray | Image.Image:
        """Return crops of a batch, of one image, or of a list of images of any sizes.

        Args:
            images: uint8 RGB `[n, 3, h, w]` or `[3, h, w]`, a tensor on the CPU or an array; a
                Pillow image; or a list of images, which becomes one batch.
            seed: seed of the draws, given together with `index`; without both, the draws come
                from torch's generator.
            epoch: number of the epoch; each epoch has its own draws.
            index: index of each image in its data set.
        """
        stream = stream_key(drawn_seed(seed, epoch, index), "random-resized-crop", epoch)
        if isinstance(images, Image.Image):
            crop = self._crops([images], index, stream)[0]
            return Image.fromarray(np.ascontiguousarray(crop.permute(1, 2, 0).numpy()))
        if isinstance(images, Tensor | np.ndarray):
            crops = in_batch(images, lambda batch: self._crops(batch, index, stream))
            return crops if isinstance(images, Tensor) else crops.numpy()
        return self._crops(images, index, stream)

    def _crops(
        self,
        images: Sequence[Image.Image | Tensor | np.ndarray] | Tensor,
        index: Indices | None,
        stream: np.uint64,
    ) -> Views:
        """Return the crops of images of any sizes, computed in several threads."""
        n, rule = len(images), rule_of(self.options)
        indices = indices_of(index, n)
        out, boxes = np.empty((n, 3, self.size, self.size), np.uint8), new_boxes(n)

        def crop(start: int, stop: int) -> None:
            for place in range(start, stop):
                pixels = pixels_of(images[place])
                size = pixels.shape[1], pixels.shape[0]
                fill_boxes(stream, indices, size, rule, boxes, (place, place + 1))
                box = tuple(float(side[place]) for side in boxes[:4])
                cut_out(pixels, out[place], box, boxes.cubic[place])

        run_blocks(crop, n, smallest=1)
        return torch.from_numpy(out)

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        options = self.options
        return (
            f"{self.size}, scale={options.crop_scale}, ratio={options.crop_ratio}, "
            f"interpolation={options.interpolation!r}"
        )


def pixels_of(image: Image.Image | Tensor | np.ndarray) -> np.ndarray:
    """Return the pixels of one image, uint8 `[h, w, 3]`; those of a tensor are not copied."""
    if isinstance(image, Image.Image):
        return np.asarray(upright_copy(image))
    batch = image[None] if isinstance(image, np.ndarray) else image.as_subclass(Tensor)[None]
    return as_images(batch)[0].permute(1, 2, 0).numpy()


def cut_out(pixels: np.ndarray, out: np.ndarray, box: tuple[float, ...], cubic: np.bool_) -> None:
    """Resize a box of whole pixels (left, top, width, height) into `out`, `[3, s, s]`."""
    left, top, width, height = (int(side) for side in box)
    cut = np.ascontiguousarray(pixels[top : top + height, left : left + width])
    cut.flags.writeable = False  # as Pillow's pixels are: one compiled kernel for both
    resample_pixels(cut, out, (0.0, 0.0, *box[2:]), False, bool(cubic))
