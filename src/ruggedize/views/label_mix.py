"""The labels of views that a chain of noise mixes with labelled images."""

from collections.abc import Sequence

import numpy as np

from ruggedize.views.kinds.one_of import choices
from ruggedize.views.noise_chain import link_stream, member_stream, module_of
from ruggedize.views.noise_options import SingleNoise
from ruggedize.views.options import NoiseOptions, OneOfOptions, members
from ruggedize.views.partners import Partners

Part = tuple[np.ndarray, np.uint64, SingleNoise]  # rows, stream, kind


def mixing_kinds(chain: Sequence[NoiseOptions]) -> tuple[str, ...]:
    """Return the kinds of a chain that mix labels."""
    noises = (noise for link in chain for noise in members(link))
    return tuple(noise.kind for noise in noises if noise.mixes == "images and labels")


def mixed_labels(
    labels: np.ndarray,
    index: np.ndarray,
    chain: Sequence[NoiseOptions],
    seed: int,
    epoch: int,
    partners: Partners,
) -> np.ndarray:
    """Return the share of each class in the label of each noisy view: float32 `[n, k]`.

    Rows of unlabelled images are zero. The draws are those of `apply_noise`, repeated.
    """
    one_hot = np.eye(partners.num_classes)
    targets = one_hot[labels] * (labels >= 0)[:, None]
    for place, link in enumerate(chain):
        for rows, stream, noise in parts_of(link, index, link_stream(place, link, seed, epoch)):
            if noise.mixes != "images and labels":
                continue
            kind, side = module_of(noise), partners.images.shape[2]
            shares = kind.partner_shares(index[rows], stream, noise, side)[:, None]
            others = partners.drawn(stream, index[rows], kind.PARTNER)
            mixed = (1 - shares) * targets[rows] + shares * one_hot[partners.labels.numpy()[others]]
            targets[rows] = mixed * (labels[rows] >= 0)[:, None]
    return targets.astype(np.float32)


def parts_of(link: NoiseOptions, index: np.ndarray, stream: np.uint64) -> list[Part]:
    """Return which images get which kind of noise from a link, with the stream of its draws."""
    if not isinstance(link, OneOfOptions):
        return [(np.arange(len(index)), stream, link)]
    chosen = choices(index, stream, link)
    return [
        (np.flatnonzero(chosen == number), member_stream(stream, link, number), member)
        for number, member in enumerate(link.one_of)
    ]
