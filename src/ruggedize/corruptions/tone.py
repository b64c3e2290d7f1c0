"""Brightness, contrast and saturation.

HSV value and saturation are changed without computing the hue: changing the value scales red, green
and blue equally; changing the saturation scales their distances from the value.
"""

from ruggedize.kernels.kernel import kernel
from ruggedize.kernels.truncation import truncated


def with_level(level: float, height: int, width: int) -> tuple[float]:
    """Prepare a corruption whose level is a single number."""
    return (float(level),)


@kernel
def brightness_block(images, out, addition):
    """Add to the HSV value; `addition` is a fraction of 255."""
    for i in range(len(images)):
        for y in range(images.shape[2]):
            for x in range(images.shape[3]):
                red, green, blue = images[i, 0, y, x], images[i, 1, y, x], images[i, 2, y, x]
                value = max(red, green, blue)
                lighter = min(value + 255.0 * addition, 255.0)
                if value == 0:
                    out[i, :, y, x] = truncated(lighter)
                    continue
                ratio = lighter / value
                out[i, 0, y, x] = truncated(red * ratio)
                out[i, 1, y, x] = truncated(green * ratio)
                out[i, 2, y, x] = truncated(blue * ratio)


@kernel
def contrast_block(images, out, factor):
    """Shrink every value's distance from its channel's mean."""
    for i in range(len(images)):
        for c in range(images.shape[1]):
            values, targets = images[i, c].ravel(), out[i, c].ravel()
            total = 0
            for value in values:
                total += value
            mean = total / len(values)
            for j in range(len(values)):
                targets[j] = truncated((values[j] - mean) * factor + mean)


def with_scale_and_shift(
    level: tuple[float, float], height: int, width: int
) -> tuple[float, float]:
    """Prepare the saturation; `level` is (scale, shift)."""
    scale, shift = level
    return float(scale), float(shift)


@kernel
def saturate_block(images, out, scale, shift):
    """Scale and shift the HSV saturation; grey has hue 0, so a shift turns it red."""
    for i in range(len(images)):
        for y in range(images.shape[2]):
            for x in range(images.shape[3]):
                red, green, blue = images[i, 0, y, x], images[i, 1, y, x], images[i, 2, y, x]
                value = float(max(red, green, blue))
                spread = value - min(red, green, blue)
                if spread == 0.0:
                    out[i, 0, y, x] = truncated(value)
                    out[i, 1:, y, x] = truncated(value * (1.0 - shift))
                    continue
                saturation = spread / value
                ratio = min(saturation * scale + shift, 1.0) / saturation
                out[i, 0, y, x] = truncated(value - (value - red) * ratio)
                out[i, 1, y, x] = truncated(value - (value - green) * ratio)
                out[i, 2, y, x] = truncated(value - (value - blue) * ratio)
