"""JPEG compression and decompression without the entropy coding, which is lossless.

Colour transform, 4:2:0 chroma subsampling, integer 8 x 8 cosine transform, quantisation and their
inverses, bit for bit as in libjpeg-turbo with PIL's defaults.
Source: ITU-T T.81 (the standard, with the tables of annex K) and JFIF 1.02 (the colours); rounding
as in libjpeg's accurate integer transform and triangle upsampling.
"""

import numpy as np

from ruggedize.kernels.kernel import kernel

LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
CHROMA = np.full((8, 8), 99)
CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]

# Row u is the cosine of frequency u, scaled by sqrt(8) * 2^13: the matrix form of libjpeg's fast
# algorithm (Loeffler, Ligtenberg & Moschytz 1989) with its 13-bit constants and rounding.
COSINES = np.array(
    [
        [8192, 8192, 8192, 8192, 8192, 8192, 8192, 8192],
        [11363, 9633, 6437, 2260, -2260, -6437, -9633, -11363],
        [10703, 4433, -4433, -10703, -10703, -4433, 4433, 10703],
        [9633, -2259, -11362, -6436, 6436, 11362, 2259, -9633],
        [8192, -8192, -8192, 8192, 8192, -8192, -8192, 8192],
        [6437, -11362, 2261, 9633, -9633, -2261, 11362, -6437],
        [4433, -10704, 10704, -4433, -4433, 10704, -10704, 4433],
        [2260, -6436, 9633, -11363, 11363, -9633, 6436, -2260],
    ],
    np.int32,
)
COSINES_DOWN = np.ascontiguousarray(COSINES.T)
FIRST_PASS = 11  # bits dropped after the first pass, which keeps 2 of 13 fractional bits
FORWARD = 15  # bits dropped after the second pass: coefficients stay scaled by 8 (see `quantise`)
INVERSE = 18  # bits dropped after the second pass of the inverse transform


def quantisation(table: np.ndarray, quality: int) -> np.ndarray:
    """Scale a table of annex K to a quality in 1..100, as libjpeg does: int32 `[8, 8]`."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((table * percent + 50) // 100, 1, 255).astype(np.int32)


@kernel
def through_jpeg(images, out, luma_steps, chroma_steps):
    """Compress and decompress a block of images: uint8 `[n, 3, h, w]`."""
    height, width = images.shape[2:]
    full_height, full_width = (height + 15) // 16 * 16, (width + 15) // 16 * 16
    planes = np.empty((3, full_height, full_width), np.uint8)
    chroma = np.empty((2, full_height // 2, full_width // 2), np.uint8)
    side = max(full_height, full_width)
    work = np.empty((2, side, side), np.int32)
    for i in range(len(images)):
        separate_colours(images[i], planes)
        for c in range(3):
            if c > 0:
                halve(planes[c], height, chroma[c - 1])
            plane = chroma[c - 1] if c > 0 else planes[0]
            steps = chroma_steps if c > 0 else luma_steps
            quantise_plane(plane, steps, work[0], work[1])
            if c > 0:
                double(plane, height, width, work[0, 0], planes[c])
        join_colours(planes, out[i])


@kernel
def separate_colours(source, planes):
    """Convert RGB to a luma and two chroma planes, padded by repeating the last pixel."""
    height, width = source.shape[1:]
    shift = (128 << 16) + 32767
    for y in range(planes.shape[1]):
        row = min(y, height - 1)
        for x in range(width):
            red, green = np.int32(source[0, row, x]), np.int32(source[1, row, x])
            blue = np.int32(source[2, row, x])
            planes[0, y, x] = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
            planes[1, y, x] = (shift - 11059 * red - 21709 * green + 32768 * blue) >> 16
            planes[2, y, x] = (shift + 32768 * red - 27439 * green - 5329 * blue) >> 16
        for x in range(width, planes.shape[2]):
            for c in range(3):
                planes[c, y, x] = planes[c, y, x - 1]


@kernel
def halve(plane, height, out):
    """Average 2 x 2 pixels; the rounding offset alternates between 1/4 and 1/2 along a row.

    The padding rows below the image repeat the last row of averages.
    """
    for y in range(out.shape[0]):
        top = 2 * min(y, (height - 1) // 2)
        for x in range(out.shape[1]):
            total = np.int32(plane[top, 2 * x]) + plane[top, 2 * x + 1]
            total += np.int32(plane[top + 1, 2 * x]) + plane[top + 1, 2 * x + 1]
            out[y, x] = (total + 1 + x % 2) >> 2


@kernel
def quantise_plane(plane, steps, source, target):
    """Transform, quantise and transform back each 8 x 8 block of a plane, in place.

    Transforms run vertically on all blocks of a strip; the plane is transposed for the horizontal
    pass. `source` and `target` (int32, square) are work memory.
    """
    height, width = plane.shape
    for y in range(height):
        for x in range(width):
            source[x, y] = np.int32(plane[y, x]) - 128
    transform_both_ways(COSINES, source, width, height, FORWARD, target)
    quantise(target, height, width, steps)
    transform_both_ways(COSINES_DOWN, target, height, width, INVERSE, source)
    for y in range(height):
        for x in range(width):
            plane[y, x] = min(max(source[x, y] + 128, 0), 255)


@kernel
def transform_both_ways(matrix, source, height, width, bits, target):
    """Multiply by a matrix vertically, transpose, and multiply vertically again.

    The result in `target` is transposed; `source` is overwritten.
    """
    for is_second in range(2):
        rows, columns = (width, height) if is_second else (height, width)
        transform(matrix, source, rows, columns, bits if is_second else FIRST_PASS, target)
        if not is_second:
            transpose(target, rows, columns, source)


@kernel
def transform(matrix, source, height, width, bits, target):
    """Multiply each group of 8 rows by a matrix `[8, 8]` and drop `bits` bits, rounding halves up.

    The arithmetic is 32-bit, as in libjpeg; this also allows vectorisation.
    """
    half = np.int32(1 << (bits - 1))
    for y in range(height):
        top, i = y // 8 * 8, y % 8
        for x in range(width):
            total = half
            for k in range(8):
                total = np.int32(total + np.int32(matrix[i, k] * source[top + k, x]))
            target[y, x] = total >> bits


@kernel
def transpose(source, height, width, target):
    """Transpose a plane."""
    for y in range(height):
        for x in range(width):
            target[x, y] = source[y, x]


@kernel
def quantise(coefficients, height, width, steps):
    """Round coefficients, which are scaled by 8, to multiples of their steps; remove the scale.

    Halves are rounded away from zero.
    """
    for y in range(height):
        for left in range(0, width, 8):
            for x in range(8):
                step, value = steps[y % 8, x], coefficients[y, left + x]
                size = np.int32(abs(value) / (8.0 * step) + 0.5) * step
                coefficients[y, left + x] = size if value >= 0 else -size


@kernel
def double(chroma, height, width, line, out):
    """Upsample a chroma plane by 2: the four nearest pixels weigh 9, 3, 3 and 1 sixteenths.

    At the border, the pixel itself replaces a missing neighbour.
    """
    low_height, low_width = (height + 1) // 2, (width + 1) // 2
    for y in range(height):
        near = chroma[y // 2]
        far = chroma[min(max(y // 2 + (1 if y % 2 else -1), 0), low_height - 1)]
        for x in range(low_width):
            line[x + 1] = 3 * np.int32(near[x]) + far[x]
        line[0], line[low_width + 1] = line[1], line[low_width]
        for x in range(low_width):
            out[y, 2 * x] = (3 * line[x + 1] + line[x] + 8) >> 4
            out[y, 2 * x + 1] = (3 * line[x + 1] + line[x + 2] + 7) >> 4


@kernel
def join_colours(planes, out):
    """Convert luma and chroma to RGB."""
    for y in range(out.shape[1]):
        for x in range(out.shape[2]):
            luma = np.int32(planes[0, y, x])
            blueness, redness = np.int32(planes[1, y, x]) - 128, np.int32(planes[2, y, x]) - 128
            red = luma + ((91881 * redness + 32768) >> 16)
            green = luma + ((-22554 * blueness - 46802 * redness + 32768) >> 16)
            blue = luma + ((116130 * blueness + 32768) >> 16)
            out[0, y, x] = min(max(red, 0), 255)
            out[1, y, x] = min(max(green, 0), 255)
            out[2, y, x] = min(max(blue, 0), 255)
