"""Colour operations on one image, bit for bit as in PIL: uint8 `[3, h, w]` in and out.

Every kernel writes to `out`, which must not overlap `source`. `table` (uint8 `[256]`), `grey`
(uint8 `[h, w]`) and `counts` (int32 `[4, 256]`) are work memory; kernels do not allocate any.
"""

import numpy as np

from ruggedize.kernels.kernel import kernel

HALF = np.float32(0.5)
THIRTEENTH = np.float32(1.0 / 13.0)


@kernel
def copy(source, out):
    """Copy all values."""
    values, targets = source.ravel(), out.ravel()
    for i in range(values.size):
        targets[i] = values[i]


@kernel
def fill_all(out, value):
    """Set every pixel to one value."""
    targets = out.ravel()
    for i in range(targets.size):
        targets[i] = np.uint8(value)


@kernel
def look_up(values, targets, table):
    """Replace every value of a flat array with its entry in a table."""
    for i in range(values.size):
        targets[i] = table[values[i]]


@kernel
def blend(degenerate, value, factor):
    """Interpolate or extrapolate from `degenerate` to `value` by a float32 factor.

    The result is clipped to 0..255 and truncated.
    Source: PIL, `Blend.c`, in single precision.
    """
    start = np.float32(degenerate)
    mixed = start + factor * (np.float32(value) - start)
    mixed = mixed if mixed > np.float32(0) else np.float32(0)
    return np.uint8(mixed if mixed < np.float32(255) else np.float32(255))


@kernel
def invert(source, out):
    """Invert every value: 255 - value."""
    values, targets = source.ravel(), out.ravel()
    for i in range(values.size):
        targets[i] = 255 - values[i]


@kernel
def posterize(source, out, num_bits):
    """Keep the `num_bits` (0-8) highest bits of every value."""
    mask = 256 - (1 << (8 - num_bits))
    values, targets = source.ravel(), out.ravel()
    for i in range(values.size):
        targets[i] = values[i] & mask


@kernel
def solarize(source, out, threshold, table):
    """Invert values at or above the threshold (0..256)."""
    for value in range(256):
        table[value] = value if value < threshold else 255 - value
    look_up(source.ravel(), out.ravel(), table)


@kernel
def solarize_add(source, out, addition, table):
    """Add `addition` to values below 128 and clip to 255.

    Source: TensorFlow's AutoAugment; PIL has no such operation.
    """
    for value in range(256):
        table[value] = min(255, value + addition) if value < 128 else value
    look_up(source.ravel(), out.ravel(), table)


@kernel
def blend_with(source, out, degenerate, factor):
    """Blend with a constant: 0 for brightness, the mean grey for contrast."""
    single = np.float32(factor)
    values, targets = source.ravel(), out.ravel()
    for i in range(values.size):
        targets[i] = blend(degenerate, values[i], single)


@kernel
def mean_grey(source, grey):
    """Return the rounded mean of the image's grey values."""
    fill_grey(source, grey)
    total = 0
    for value in grey.ravel():
        total += value
    return int(np.float64(total) / grey.size + 0.5)


@kernel
def area_as_grey(source):
    """Return the number of pixels / 256, the "mean grey" of TensorFlow's contrast in 2021.

    Source: TensorFlow model garden 2021, `augment.contrast`: because of a bug, it sums the counts
    of the histogram instead of counts times values. At 72 x 72 pixels it returns 20 for any image.
    """
    return min(255, source[0].size // 256)


@kernel
def color(source, out, factor, grey):
    """Blend with the grey image: factor 0 is grey, 1 the original, above 1 more saturated."""
    fill_grey(source, grey)
    single = np.float32(factor)
    greys = grey.ravel()
    for channel in range(3):
        values, targets = source[channel].ravel(), out[channel].ravel()
        for i in range(values.size):
            targets[i] = blend(greys[i], values[i], single)


@kernel
def fill_grey(source, grey):
    """Compute the ITU-R 601 luma in 16-bit fixed point, as PIL's `convert("L")` does."""
    red, green, blue = source[0].ravel(), source[1].ravel(), source[2].ravel()
    target = grey.ravel()
    for i in range(target.size):
        luma = (
            np.int32(red[i]) * np.int32(19595)
            + np.int32(green[i]) * np.int32(38470)
            + np.int32(blue[i]) * np.int32(7471)
        )
        target[i] = np.uint8((luma + np.int32(0x8000)) >> np.int32(16))


@kernel
def sharpness(source, out, factor):
    """Blend with the smoothed image; the outermost pixels are unchanged.

    Source: PIL, `ImageFilter.SMOOTH`: (1 1 1 / 1 5 1 / 1 1 1) / 13, rounded.
    """
    copy(source, out)
    single = np.float32(factor)
    for channel in range(3):
        for y in range(1, source.shape[1] - 1):
            rows = source[channel, y - 1], source[channel, y], source[channel, y + 1]
            sharpen_row(rows[0], rows[1], rows[2], out[channel, y], single)


@kernel
def sharpen_row(above, row, below, out, factor):
    """Blend the inner pixels of one row with their smoothed values."""
    for x in range(1, row.size - 1):
        total = np.int32(above[x - 1]) + np.int32(above[x]) + np.int32(above[x + 1])
        total += np.int32(below[x - 1]) + np.int32(below[x]) + np.int32(below[x + 1])
        total += np.int32(row[x - 1]) + np.int32(row[x + 1]) + 5 * np.int32(row[x])
        smooth = np.uint8(np.float32(np.int32(total)) * THIRTEENTH + HALF)
        out[x] = blend(smooth, row[x], factor)


@kernel
def auto_contrast(source, out, table):
    """Stretch the values of each channel to the full range 0..255."""
    for channel in range(3):
        values = source[channel].ravel()
        lowest, highest = np.uint8(255), np.uint8(0)
        for value in values:
            lowest, highest = min(lowest, value), max(highest, value)
        fill_stretch(table, lowest, highest)
        look_up(values, out[channel].ravel(), table)


@kernel
def fill_stretch(table, lowest, highest):
    """Fill a table that maps lowest..highest to 0..255, truncated; identity if they are equal."""
    if lowest == highest:
        lowest, highest = np.uint8(0), np.uint8(255)
    scale = 255.0 / (np.float64(highest) - np.float64(lowest))
    offset = -np.float64(lowest) * scale
    for value in range(256):
        table[value] = np.uint8(min(255.0, max(0.0, value * scale + offset)))


@kernel
def equalize(source, out, counts, table):
    """Equalise the histogram of each channel."""
    for channel in range(3):
        values = source[channel].ravel()
        count_values(values, counts)
        fill_equal(table, counts[0], values.size)
        look_up(values, out[channel].ravel(), table)


@kernel
def count_values(values, counts):
    """Compute the histogram in `counts[0]`; four partial histograms keep additions independent."""
    for value in range(256):
        counts[0, value] = counts[1, value] = counts[2, value] = counts[3, value] = 0
    whole = values.size - values.size % 4
    for i in range(0, whole, 4):
        counts[0, values[i]] += 1
        counts[1, values[i + 1]] += 1
        counts[2, values[i + 2]] += 1
        counts[3, values[i + 3]] += 1
    for i in range(whole, values.size):
        counts[0, values[i]] += 1
    for value in range(256):
        counts[0, value] += counts[1, value] + counts[2, value] + counts[3, value]


@kernel
def fill_equal(table, counts, num_values):
    """Fill a table that equalises a histogram; identity if its step would be zero.

    Source: PIL, `ImageOps.equalize`.
    """
    last = 255
    while last > 0 and counts[last] == 0:
        last -= 1
    step = (num_values - counts[last]) // 255
    total = step // 2
    for value in range(256):
        table[value] = min(255, total // step) if step > 0 else value
        total += counts[value]
