"""The names of the common corruptions, in the order of the paper; no torch, for the recipe.

Source: Hendrycks & Dietterich 2019, "Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations".
"""

import difflib
from collections.abc import Iterable

from ruggedize.core.errors import UserError

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


def parsed_names(text: str) -> tuple[str, ...]:
    """Parse "fog" or "fog,snow"."""
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in ALL:
            raise UserError(unknown(name))
    return names


def unknown(name: str, known: Iterable[str] = ALL) -> str:
    """Return the message that a corruption does not exist, with the nearest one."""
    return f"there is no corruption {name}; {nearest(name, known)}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint: the nearest of the corruptions that there are, or else all of them."""
    near = difflib.get_close_matches(name, known := list(known), 1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
