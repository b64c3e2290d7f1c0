"""The names of the common corruptions, in the order of the paper; imports nothing heavy.

Source: Hendrycks & Dietterich 2019, "Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations".
"""

from typing import Literal

Frost = Literal["photographs", "procedural"]  # where the ice of the corruption frost comes from

BENCHMARK = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
)  # the 15 that headline claims are on
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")  # published for validation
ALL = BENCHMARK + EXTRA
SEVERITIES = (1, 2, 3, 4, 5)
