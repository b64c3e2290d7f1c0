"""The names of the common corruptions, in the order of the paper. Does not import torch.

Source: Hendrycks & Dietterich 2019, "Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations".
"""

from collections.abc import Iterable

from ruggedize.core.errors import UserError, did_you_mean

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
)  # the 15 corruptions of the published benchmark
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")  # published as a validation set
ALL = BENCHMARK + EXTRA
SEVERITIES = (1, 2, 3, 4, 5)


def parsed_names(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list of corruptions, such as "fog,snow"."""
    names = tuple(name.strip() for name in text.split(","))
    try:
        check_known(names)
    except ValueError as error:
        raise UserError(str(error)) from None
    return names


def check_known(names: Iterable[str]) -> None:
    """Raise ValueError if one of these corruptions is not in the catalogue.

    Importing the catalogue takes a second, so it is only imported for names that are not published.
    """
    if further := [name for name in names if name not in ALL]:
        from ruggedize.corruptions.catalogue import CORRUPTIONS

        for name in further:
            if name not in CORRUPTIONS:
                raise ValueError(unknown(name, CORRUPTIONS))


def unknown(name: str, known: Iterable[str] = ALL) -> str:
    """Return the error message for an unknown corruption, with the closest name."""
    return f"unknown corruption {name}; {nearest(name, known)}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint: the closest of the known names, or all of them if none is close."""
    return did_you_mean(name, known := list(known)) or f"known: {', '.join(known)}"
