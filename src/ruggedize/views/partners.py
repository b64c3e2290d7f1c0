"""The images that mixing kinds of noise combine others with: a fixed pool, kept in memory."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ruggedize.core.errors import UserError
from ruggedize.core.seeding import generator
from ruggedize.data import ImageSet
from ruggedize.kernels.types import Images, Labels
from ruggedize.kernels.warp import resize
from ruggedize.views.options import ViewOptions, members

NUM_PARTNERS = 1024
MIXING = ("amplitude_mix",)  # kinds that need partners


@dataclass(frozen=True, eq=False)
class Partners:
    """Labelled images of the views' size."""

    images: Images
    labels: Labels

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def amplitudes(self) -> np.ndarray:
        """The amplitude spectrum of each channel: float32 `[m, 3, h, w // 2 + 1]`."""
        return np.abs(np.fft.rfft2(self.images.numpy().astype(np.float32)))


def choose_partners(images: ImageSet, views: ViewOptions, seed: int) -> Partners | None:
    """Return a pool of up to 1,024 labelled images, as test views; None if no noise mixes images.

    Raises:
        UserError: no image has a label.
    """
    if not any(noise.kind in MIXING for link in views.noise for noise in members(link)):
        return None
    labelled = np.flatnonzero(images.labels.numpy() >= 0)
    if not len(labelled):
        raise UserError(
            "views.noise mixes images with labelled ones, but no image has a label;\n"
            f"remove {' and '.join(MIXING)}, or add labels"
        )
    number = min(NUM_PARTNERS, len(labelled))
    chosen = generator(seed, "partners").choice(labelled, number, replace=False)
    batch = images.take(np.sort(chosen))
    return Partners(resize(batch.images, views.input_size(images.image_size)), batch.labels)
