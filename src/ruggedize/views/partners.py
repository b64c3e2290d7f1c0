"""Partners: a fixed pool of images in memory that some kinds of noise mix into the views."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import betaincinv

from ruggedize.core.errors import UserError
from ruggedize.core.seeding import generator
from ruggedize.data import ImageSet
from ruggedize.kernels.centre_crop import resized_middle
from ruggedize.kernels.draws import uniforms
from ruggedize.kernels.types import Images, Labels
from ruggedize.views.options import ViewOptions, members

NUM_PARTNERS = 1024


@dataclass(frozen=True, eq=False)
class Partners:
    """Labelled images of the views' size."""

    images: Images
    labels: Labels
    num_classes: int

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def amplitudes(self) -> np.ndarray:
        """The amplitude spectrum of each channel: float32 `[m, 3, h, w // 2 + 1]`."""
        return np.abs(np.fft.rfft2(self.images.numpy().astype(np.float32)))

    def drawn(self, stream: np.uint64, index: np.ndarray, counter: int) -> np.ndarray:
        """Return the position of each image's partner: int64 `[n]`."""
        return (uniforms(stream, index, counter) * len(self)).astype(np.int64)


def choose_partners(images: ImageSet, views: ViewOptions, seed: int) -> Partners | None:
    """Return a pool of up to 1,024 labelled images, as test views; None if no noise mixes images.

    Raises:
        UserError: no image has a label.
    """
    noises = [noise for link in views.noise for noise in members(link)]
    mixing = [noise.kind for noise in noises if noise.mixes != "nothing"]
    if not mixing:
        return None
    labelled = np.flatnonzero(images.labels.numpy() >= 0)
    if not len(labelled):
        raise UserError(
            "views.noise mixes images with labelled ones, but no image has a label;\n"
            f"remove {', '.join(dict.fromkeys(mixing))} from it, or add labels"
        )
    number = min(NUM_PARTNERS, len(labelled))
    chosen = generator(seed, "partners").choice(labelled, number, replace=False)
    batch = images.take(np.sort(chosen))
    size = views.input_size(images.image_size)
    pool = resized_middle(batch.stored, size, views.crop_pct, views.test_filter)
    return Partners(pool, batch.labels, len(images.classes))


def symmetric_beta(uniform: np.ndarray, alpha: float) -> np.ndarray:
    """Convert uniform draws to draws from Beta(alpha, alpha), by inverting its distribution."""
    return uniform if alpha == 1 else betaincinv(alpha, alpha, uniform)
