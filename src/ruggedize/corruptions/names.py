"""The names of the common corruptions, in the order of the paper; no torch, for the recipe.

Source: Hendrycks & Dietterich 2019, "Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations".
"""

import difflib
from typing import Literal

from ruggedize.runs import UserError

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


def parsed_names(text: str) -> tuple[str, ...]:
    """Read "fog" or "fog,frost"."""
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in ALL:
            raise UserError(unknown(name))
    return names


def reject_idle_frost(frost: Frost | None, corruptions: tuple[str, ...] | None) -> None:
    """Raise a UserError if `--frost` is given and frost is not among `corruptions` (None: all)."""
    if frost is not None and corruptions is not None and "frost" not in corruptions:
        raise UserError(f"--frost {frost} does nothing without the corruption frost; leave it out")


def unknown(name: str) -> str:
    """Say that a corruption does not exist, and which is nearest."""
    near = difflib.get_close_matches(name, ALL, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(ALL)}"
    return f"there is no corruption {name}; {hint}"
