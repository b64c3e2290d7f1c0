"""Interval widths and detectable differences for the number of images. Imports no torch."""

from typing import NamedTuple

from ruggedize.assess import Interval
from ruggedize.report.compare import SummaryRow
from ruggedize.report.intervals import Z

POWER = 0.841621  # the normal quantile of 80 % power
POINT = 0.01
SHARE_DIFFERING = (
    0.10  # assumed share of images on which two models differ, if only one was assessed
)


class Support(NamedTuple):
    """What one summary's number of images supports, as fractions."""

    title: str
    num_images: int
    half_width: float  # of the interval of the last model's accuracy
    images_for_a_point: int  # for a half width of one point
    detectable: float | None  # the smallest difference seen with 80 % power; None for one model


def supports(
    rows: list[SummaryRow], intervals: dict[str, dict[str, Interval]], sizes: dict[str, int]
) -> list[Support]:
    """Compute what each complete summary supports; `sizes` are the numbers of images."""
    found = []
    for row in rows:
        if row.coverage:
            continue
        interval = intervals[row.name]
        last = list(interval)[-1]
        half = (interval[last].high - interval[last].low) / 2
        difference = row.comparisons.get(last)
        reach = None if difference is None else (difference.high - difference.low) / 2
        found.append(
            Support(
                row.title,
                sizes[row.name],
                half,
                round_up(sizes[row.name] * (half / POINT) ** 2),
                None if reach is None else (Z + POWER) / Z * reach,
            )
        )
    return found


def detectable_beside(num_images: int) -> float:
    """Return the smallest difference seen with 80 % power if models differ on one image in ten.

    The standard error of a paired difference is at most sqrt(share of differing images / n).
    """
    return (Z + POWER) * (SHARE_DIFFERING / num_images) ** 0.5


def round_up(number: float) -> int:
    """Round a number of images up to two significant digits."""
    step = 10 ** max(0, len(str(int(number))) - 2)
    return -(-int(number + 1) // step) * step
