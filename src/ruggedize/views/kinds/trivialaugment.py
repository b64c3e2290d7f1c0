"""TrivialAugment as a kind of noise: one operation per image, of any strength."""

import numpy as np

from ruggedize.views import operations as op
from ruggedize.views.augment import make_plan, run_plan
from ruggedize.views.noise_options import TrivialAugmentOptions
from ruggedize.views.operations import Operation

NUM_STRENGTHS = 31
FULL_DEGREES, FULL_SHEAR, FULL_PIXELS, FULL_FACTOR = 135.0, 0.99, 32.0, 0.99
SIGNED = {  # name: code and the level of the greatest strength; the sign is drawn
    "ShearX": (op.SHEAR_X, FULL_SHEAR),
    "ShearY": (op.SHEAR_Y, FULL_SHEAR),
    "TranslateX": (op.TRANSLATE_X, FULL_PIXELS),
    "TranslateY": (op.TRANSLATE_Y, FULL_PIXELS),
    "Rotate": (op.ROTATE, FULL_DEGREES),
}
ENHANCING = {
    "Brightness": op.BRIGHTNESS,
    "Color": op.COLOR,
    "Contrast": op.CONTRAST,
    "Sharpness": op.SHARPNESS,
}
WITHOUT_LEVEL = {
    "Identity": op.IDENTITY,
    "AutoContrast": op.AUTO_CONTRAST,
    "Equalize": op.EQUALIZE,
}


def apply(
    images: np.ndarray,
    out: np.ndarray,
    index: np.ndarray,
    stream: np.uint64,
    options: TrivialAugmentOptions,
) -> None:
    """Write the augmented images to `out`."""
    run_plan(PLAN, images, out, index, stream)


def overlaps(options: TrivialAugmentOptions) -> dict[str, tuple[str, ...]]:
    """Return the corruptions that each operation overlaps."""
    return {
        "trivialaugment Brightness": ("brightness",),
        "trivialaugment Color": ("saturate",),
        "trivialaugment Contrast": ("contrast",),
        "trivialaugment Sharpness": ("defocus_blur", "gaussian_blur"),
    }


def every_operation() -> tuple[Operation, ...]:
    """Return the fourteen operations at each of the 31 strengths, all of them equally likely.

    Source: Müller & Hutter 2021, "TrivialAugment", the wide augmentation space, as torchvision's
    `TrivialAugmentWide` computes it.
    """
    return tuple(
        operation for number in range(NUM_STRENGTHS) for operation in operations_at(number)
    )


def operations_at(number: int) -> tuple[Operation, ...]:
    """Return the fourteen operations at strength `number` of 0..30."""
    strength = number / (NUM_STRENGTHS - 1)
    signed = [(name, code, full * strength) for name, (code, full) in SIGNED.items()]
    moves = [
        (name, code, float(int(level)) if "Translate" in name else level)
        for name, code, level in signed
    ]
    return (
        *(Operation(name, code, 0.0, 0.0) for name, code in WITHOUT_LEVEL.items()),
        *(Operation(name, code, level, -level) for name, code, level in moves),
        *(
            Operation(name, code, 1 + FULL_FACTOR * strength, 1 - FULL_FACTOR * strength)
            for name, code in ENHANCING.items()
        ),
        Operation("Posterize", op.POSTERIZE, 8 - round(6 * strength), 8 - round(6 * strength)),
        Operation("Solarize", op.SOLARIZE, 255 * (1 - strength), 255 * (1 - strength)),
    )


PLAN = make_plan("torchvision", every_operation(), num_layers=1)
