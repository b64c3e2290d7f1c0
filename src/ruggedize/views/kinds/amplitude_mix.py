"""Amplitude mix: the amplitude spectrum of the image is replaced by that of another image."""

import numpy as np

from ruggedize.kernels.blocks import run_blocks
from ruggedize.kernels.draws import uniforms
from ruggedize.views.noise_options import AmplitudeMixOptions
from ruggedize.views.partners import Partners

APPLIED, PARTNER = 0, 1  # counters
CHUNK = 16  # images per Fourier transform; fixed, so that rounding does not depend on the batch
SMALLEST = np.float32(1e-20)  # in place of an amplitude of 0


def apply(
    images: np.ndarray,
    out: np.ndarray,
    index: np.ndarray,
    stream: np.uint64,
    options: AmplitudeMixOptions,
    partners: Partners,
) -> None:
    """Write the images to `out`, some of them with the amplitudes of another."""
    applied = uniforms(stream, index, APPLIED) < options.probability
    chosen = partners.drawn(stream, index, PARTNER)
    amplitudes = partners.amplitudes

    def block(start: int, stop: int) -> None:
        for first in range(start, stop, CHUNK):
            rows = slice(first, min(first + CHUNK, stop))
            mixed = recombined(images[rows], amplitudes[chosen[rows]])
            out[rows] = np.where(applied[rows, None, None, None], mixed, images[rows])

    run_blocks(block, len(images))


def overlaps(options: AmplitudeMixOptions) -> dict[str, tuple[str, ...]]:
    """Return the corruptions that the noise overlaps.

    The amplitude at frequency 0 is the mean of the image; the others determine its contrast.
    """
    return {"amplitude_mix": ("brightness", "contrast")}


def recombined(images: np.ndarray, amplitudes: np.ndarray) -> np.ndarray:
    """Return up to `CHUNK` images with these amplitudes, uint8.

    Source: Chen et al. 2021, "Amplitude-phase recombination", APR-P.
    Deviations from the published script: the other image comes from a fixed pool instead of the
    same batch, whether an image is mixed is drawn for each image instead of for each batch, every
    channel has a spectrum of its own instead of one over all channels, and values are clipped.
    """
    n, _, height, width = images.shape
    chunk = np.zeros((CHUNK, *images.shape[1:]), np.float32)
    chunk[:n] = images
    spectra = np.fft.rfft2(chunk)[:n]
    spectra[spectra == 0] = SMALLEST  # of phase 0
    filled = np.zeros((CHUNK, *spectra.shape[1:]), np.complex64)
    filled[:n] = spectra * (amplitudes / np.abs(spectra))
    mixed = np.fft.irfft2(filled, s=(height, width))[:n]
    return np.rint(mixed.clip(0, 255)).astype(np.uint8)
