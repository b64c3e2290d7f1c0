"""Clean and noisy views of the same images."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from ruggedize.core.seeding import stream_key
from ruggedize.data import Originals
from ruggedize.kernels.centre_crop import resized_middle
from ruggedize.kernels.types import Images, Labels, Views
from ruggedize.views.from_files import Request, View, requested_views
from ruggedize.views.geometry import (
    apply_geometry,
    geometry_numbers,
    num_geometries,
    num_offsets,
    placed,
    placements_of,
)
from ruggedize.views.label_mix import mixed_labels, mixing_kinds
from ruggedize.views.noise_chain import apply_noise
from ruggedize.views.options import ViewOptions
from ruggedize.views.partners import Partners
from ruggedize.views.random_crop import crop_randomly, rule_of


@dataclass(frozen=True)
class ViewMaker:
    """Maker of clean and noisy views; draws depend only on the seed, the epoch and image index.

    Args:
        options: how the views are made.
        image_size: side in pixels of the stored, square images.
        seed: seed of all random draws.
        partners: images that mixing kinds of noise need, from `choose_partners`.
        noise_seed: seed of the draws of the noise alone; default: `seed`.
    """

    options: ViewOptions
    image_size: int = field(kw_only=True)
    seed: int = field(kw_only=True)
    partners: Partners | None = field(default=None, kw_only=True)
    noise_seed: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        self.options.check_image_size(self.image_size)

    @property
    def input_size(self) -> int:
        """The side of the views in pixels."""
        return self.options.input_size(self.image_size)

    @property
    def seed_of_noise(self) -> int:
        """The seed of the draws of the noise."""
        return self.seed if self.noise_seed is None else self.noise_seed

    def with_other_noise(self, seed: int) -> "ViewMaker":
        """Return a maker of further noisy views, with draws of their own.

        With shared geometry, only the noise is drawn again: flip and crop are the clean views'.
        """
        if self.options.geometry == "shared":
            return replace(self, noise_seed=seed)
        return replace(self, seed=seed)

    def clean(self, images: Images | Originals, index: Int64[Tensor, " n"], epoch: int) -> Views:
        """Return the clean views: geometry only."""
        if isinstance(images, Originals):
            return self._of_files(images, index, epoch, "clean")[0]
        return self._geometry(images, self._indices(images, index), "clean", epoch)

    @property
    def num_clean_views(self) -> int:
        """The number of clean views that an image can have: flipped or not, at every offset."""
        return num_geometries(self.image_size, self.options)

    def clean_numbers(self, index: Int64[Tensor, " n"], epoch: int) -> Int64[Tensor, " n"]:
        """Return which of its clean views `clean` makes of each image, in 0..num_clean_views-1."""
        stream = stream_key(self.seed, "clean-geometry", epoch)
        indices = np.ascontiguousarray(index, np.int64)
        return torch.from_numpy(geometry_numbers(indices, stream, self.image_size, self.options))

    def numbered_clean(self, images: Images, number: int) -> Views:
        """Return clean view `number` of every image."""
        num = num_offsets(self.image_size, self.options)
        return placed(images, self.options, placements_of(number, len(images), num))

    def noisy(self, images: Images | Originals, index: Int64[Tensor, " n"], epoch: int) -> Views:
        """Return the noisy views: geometry, then the chain of noise."""
        if isinstance(images, Originals):
            return self._of_files(images, index, epoch, "noisy")[0]
        indices = self._indices(images, index)
        views = self._geometry(images, indices, "noisy", epoch)
        return self._with_noise(views, indices, epoch)

    def pair(
        self, images: Images | Originals, index: Int64[Tensor, " n"], epoch: int
    ) -> tuple[Views, Views]:
        """Return the clean and the noisy views, equal to the results of `clean` and `noisy`."""
        if isinstance(images, Originals):
            clean, noisy = self._of_files(images, index, epoch, "clean", "noisy")
            return clean, noisy
        clean = self.clean(images, index, epoch)
        if self.options.geometry == "independent":
            return clean, self.noisy(images, index, epoch)
        indices = self._indices(images, index)
        noisy = self._with_noise(clean, indices, epoch)
        return clean, noisy.clone() if noisy is clean else noisy

    def mixed_labels(
        self, labels: Labels, index: Int64[Tensor, " n"], epoch: int
    ) -> Float32[Tensor, "n k"] | None:
        """Return the share of each class in the noisy views; None if no noise mixes labels.

        Rows of unlabelled images (-1) are zero.
        """
        chain = self.options.noise
        if self.partners is None or not mixing_kinds(chain):
            return None
        indices = np.ascontiguousarray(index, np.int64)
        return torch.from_numpy(
            mixed_labels(labels.numpy(), indices, chain, self.seed_of_noise, epoch, self.partners)
        )

    def test(self, images: Images | Originals) -> Views:
        """Return the test views: the middle of the stored images, at the input size."""
        stored = images.stored_images() if isinstance(images, Originals) else images
        options = self.options
        return resized_middle(stored, self.input_size, options.crop_pct, options.test_filter)

    def _with_noise(self, views: Views, indices: np.ndarray, epoch: int) -> Views:
        chain = self.options.noise
        return apply_noise(views, indices, chain, self.seed_of_noise, epoch, self.partners)

    def purpose(self, view: View) -> str:
        """Return the name of the random stream of a view's geometry."""
        is_shared = self.options.geometry == "shared"
        return "clean-geometry" if view == "clean" or is_shared else "noisy-geometry"

    def _of_files(
        self, originals: Originals, index: Int64[Tensor, " n"], epoch: int, *views: View
    ) -> list[Views]:
        requests = [Request(self, view, epoch) for view in views]
        return requested_views(originals, index, requests)

    def _geometry(self, images: Images, indices: np.ndarray, view: View, epoch: int) -> Views:
        stream = stream_key(self.seed, self.purpose(view), epoch)
        if self.options.crops_originals:
            return crop_randomly(images, indices, stream, self.input_size, rule_of(self.options))
        return apply_geometry(images, indices, stream, self.options)

    def _indices(self, images: Images, index: Int64[Tensor, " n"]) -> np.ndarray:
        side = self.image_size
        if tuple(images.shape[2:]) != (side, side) or len(images) != len(index):
            raise ValueError(
                f"images must be [n, 3, {side}, {side}] with n indices, got "
                f"{tuple(images.shape)} with {len(index)};\n"
                "create the ViewMaker with the image_size of the stored images"
            )
        return np.ascontiguousarray(index, np.int64)
