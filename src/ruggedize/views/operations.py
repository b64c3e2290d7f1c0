"""Table of RandAugment's operations for each of the semantics. Imports neither torch nor numba.

To add an operation, add its code, a row in the table, and a branch in `views.layers`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

IDENTITY = 0
AUTO_CONTRAST = 1
EQUALIZE = 2
INVERT = 3
POSTERIZE = 4
SOLARIZE = 5
SOLARIZE_ADD = 6
COLOR = 7
CONTRAST = 8
CONTRAST_ABOUT_AREA = 9
BRIGHTNESS = 10
SHARPNESS = 11
CUTOUT = 12
ROTATE = 13
SHEAR_X = 14
SHEAR_Y = 15
TRANSLATE_X = 16
TRANSLATE_Y = 17

NEAREST = 0
BILINEAR = 1
BICUBIC = 2
BILINEAR_OR_BICUBIC = 3  # drawn anew for every operation

BLACK = 0
GREY = 128
MIRROR = -1  # d c b a | a b c d; must equal `kernels.affine.MIRROR`

CORNER = 0.0
CENTRE_OF_FIRST_PIXEL = 0.5


class Setting(NamedTuple):
    """The values that the level of an operation is computed from."""

    strength: float  # magnitude / scale, 0..1
    sign: int  # +1 or -1, with equal probability
    height: int
    width: int


Level = Callable[[Setting], float]  # degrees, pixels, bits, a threshold or a factor


class Semantics(NamedTuple):
    """Settings shared by all operations of one implementation of RandAugment."""

    scale: int  # the largest magnitude
    probability: float  # probability that a drawn operation is applied
    fill: int
    interpolation: int
    shear_origin: float  # row or column that shearing keeps in place, in pixels from the corner


class Row(NamedTuple):
    """One operation and its level in each of the semantics; None where it does not exist."""

    name: str
    code: int
    tf_2021: Level | None
    tf: Level | None
    torchvision: Level | None
    timm: Level | None
    timm_inc1: Level | None


def plain(_: Setting) -> float:
    """Return 0, for operations without a level."""
    return 0.0


def factor(setting: Setting) -> float:
    """Return a factor from 0.1 to 1.9; magnitude 5 of 10 changes nothing, and more enhances."""
    return setting.strength * 1.8 + 0.1


def two_sided(setting: Setting) -> float:
    """Return a factor above or below 1, depending on the sign; magnitude 0 changes nothing."""
    return max(0.1, 1.0 + setting.sign * (setting.strength * 0.9))


def signed(full: float) -> Level:
    """Return a level proportional to the strength, with the drawn sign."""
    return lambda setting: setting.sign * (setting.strength * full)


def widths(full: float) -> Level:
    """Return a signed shift in pixels; `full` is a fraction of the image's width."""
    return lambda setting: setting.sign * (setting.strength * full) * setting.width


def heights(full: float) -> Level:
    """Return a signed shift in pixels; `full` is a fraction of the image's height."""
    return lambda setting: setting.sign * (setting.strength * full) * setting.height


def sides(full: float) -> Level:
    """Return a length in pixels; `full` is a fraction of the image's shorter side."""
    return lambda setting: setting.strength * full * min(setting.height, setting.width)


def rising(full: float) -> Level:
    """Return a level that grows from 0 to `full`."""
    return lambda setting: setting.strength * full


def whole(level: Level) -> Level:
    """Truncate a level towards zero."""
    return lambda setting: math.trunc(level(setting))


def falling(full: int) -> Level:
    """Return an integer level that falls from `full` to 0."""
    return lambda setting: full - math.trunc(setting.strength * full)


degrees = signed(30.0)
shear = signed(0.3)
pixels = signed(100.0)
x_share, x_whole = widths(0.45), whole(widths(150 / 331))
y_share, y_whole = heights(0.45), whole(heights(150 / 331))
bits, bits_inc = whole(rising(4)), falling(4)
limit, limit_inc = whole(rising(256)), falling(256)
addition = whole(rising(110))
half_side, half_40 = whole(sides(0.16 / 0.9)), whole(rising(40))


def bits_of_8(setting: Setting) -> float:
    """Return the number of bits, which falls from 8 to 4, rounded."""
    return round(8 - setting.strength * 4)


def limit_255(setting: Setting) -> float:
    """Return the threshold, which falls from 255 to 0, unrounded."""
    return 255.0 * (1.0 - setting.strength)


SEMANTICS = {
    "tf-2021": Semantics(10, 1.0, MIRROR, NEAREST, CENTRE_OF_FIRST_PIXEL),
    "tf": Semantics(10, 1.0, GREY, NEAREST, CORNER),
    "torchvision": Semantics(30, 1.0, BLACK, NEAREST, CORNER),
    "timm": Semantics(10, 0.5, GREY, BILINEAR_OR_BICUBIC, CORNER),
    "timm-inc1": Semantics(10, 0.5, GREY, BILINEAR_OR_BICUBIC, CORNER),
}

# fmt: off
TABLE = (
    #   name            code            tf-2021    tf          torchvision timm       timm-inc1
    Row("Identity",     IDENTITY,       plain,     plain,      plain,      None,      None),
    Row("AutoContrast", AUTO_CONTRAST,  plain,     plain,      plain,      plain,     plain),
    Row("Equalize",     EQUALIZE,       plain,     plain,      plain,      plain,     plain),
    Row("Invert",       INVERT,         plain,     plain,      None,       plain,     plain),
    Row("Rotate",       ROTATE,         degrees,   degrees,    degrees,    degrees,   degrees),
    Row("Posterize",    POSTERIZE,      bits,      bits,       bits_of_8,  bits,      bits_inc),
    Row("Solarize",     SOLARIZE,       limit,     limit,      limit_255,  limit,     limit_inc),
    Row("SolarizeAdd",  SOLARIZE_ADD,   addition,  addition,   None,       addition,  addition),
    Row("Color",        COLOR,          factor,    factor,     two_sided,  factor,    two_sided),
    Row("Contrast",     CONTRAST,       None,      factor,     two_sided,  factor,    two_sided),
    Row("Contrast", CONTRAST_ABOUT_AREA, factor, None, None, None, None),
    Row("Brightness",   BRIGHTNESS,     factor,    factor,     two_sided,  factor,    two_sided),
    Row("Sharpness",    SHARPNESS,      factor,    factor,     two_sided,  factor,    two_sided),
    Row("ShearX",       SHEAR_X,        shear,     shear,      shear,      shear,     shear),
    Row("ShearY",       SHEAR_Y,        shear,     shear,      shear,      shear,     shear),
    Row("TranslateX",   TRANSLATE_X,    pixels,    x_share,    x_whole,    x_share,   x_share),
    Row("TranslateY",   TRANSLATE_Y,    pixels,    y_share,    y_whole,    y_share,   y_share),
    Row("Cutout",       CUTOUT,         half_40,   half_side,  None,       None,      None),
)
# fmt: on


class Operation(NamedTuple):
    """One operation at given semantics, magnitude and image size."""

    name: str
    code: int
    level: float  # for the sign +
    opposite: float  # for the sign -


def operations(semantics: str, magnitude: float, height: int, width: int) -> tuple[Operation, ...]:
    """Return the operations at given semantics, magnitude and image size."""
    scale = check(semantics, magnitude)
    column = semantics.replace("-", "_")
    plus = Setting(magnitude / scale, 1, height, width)
    minus = plus._replace(sign=-1)
    rows = [(row, getattr(row, column)) for row in TABLE]
    return tuple(
        Operation(row.name, row.code, float(level(plus)), float(level(minus)))
        for row, level in rows
        if level is not None
    )


def check(semantics: str, magnitude: float) -> int:
    """Return the largest magnitude of the semantics; raise ValueError for invalid arguments."""
    if semantics not in SEMANTICS:
        raise ValueError(
            f"semantics must be one of {', '.join(SEMANTICS)}, got {semantics!r};\nuse 'tf'"
        )
    scale = SEMANTICS[semantics].scale
    if not 0 <= magnitude <= scale:
        raise ValueError(
            f"magnitude must be in 0..{scale} with semantics {semantics!r}, got {magnitude};\n"
            "the usual value is 9"
        )
    return scale
