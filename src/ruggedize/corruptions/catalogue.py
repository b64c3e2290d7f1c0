"""The table of corruptions: what each is, its levels, and how its kernel is called."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ruggedize.corruptions import (
    blur,
    color,
    digital,
    elastic,
    fog,
    frost,
    glass,
    noise,
    snow,
    spatter,
    zoom,
)
from ruggedize.images import jpeg

Level = float | tuple[float, ...]


@dataclass(frozen=True)
class Corruption:
    """A corruption: what it is and how its kernel is called.

    `kernel(images, out, *prepare(level, height, width))` works on a block of images, uint8
    `[n, 3, h, w]`; a random one also takes its stream and the images' indices, int64 `[n]`.
    """

    family: Literal["noise", "blur", "weather", "digital"]
    group: Literal["benchmark15", "extra4"]
    cifar: tuple[Level, ...]
    """What severities 1-5 mean for small images: the constants of the CIFAR-10-C script."""
    imagenet: tuple[Level, ...]
    """What severities 1-5 mean for photographs: the constants of the ImageNet-C script."""
    source: str
    random: bool
    prepare: Callable[..., tuple[object, ...]]
    kernel: Callable[..., None]


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": Corruption(
        family="noise",
        group="benchmark15",
        cifar=(0.04, 0.06, 0.08, 0.09, 0.10),
        imagenet=(0.08, 0.12, 0.18, 0.26, 0.38),
        source="NumPy: x + normal(0, level), x in 0..1",
        random=True,
        prepare=noise.with_normals,
        kernel=noise.gaussian_noise_block,
    ),
    "shot_noise": Corruption(
        family="noise",
        group="benchmark15",
        cifar=(500, 250, 100, 75, 50),
        imagenet=(60, 25, 12, 5, 3),
        source="NumPy: poisson(x * level) / level, x in 0..1",
        random=True,
        prepare=noise.with_counts,
        kernel=noise.shot_noise_block,
    ),
    "impulse_noise": Corruption(
        family="noise",
        group="benchmark15",
        cifar=(0.01, 0.02, 0.03, 0.05, 0.07),
        imagenet=(0.03, 0.06, 0.09, 0.17, 0.27),
        source="scikit-image: random_noise(mode='s&p', amount=level), each channel on its own",
        random=True,
        prepare=noise.with_amount,
        kernel=noise.impulse_noise_block,
    ),
    "defocus_blur": Corruption(
        family="blur",
        group="benchmark15",
        cifar=((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)),
        imagenet=((3.0, 0.1), (4.0, 0.5), (6.0, 0.5), (8.0, 0.5), (10.0, 0.5)),
        source="OpenCV: filter2D by a disk (radius, standard deviation of its soft edge)",
        random=False,
        prepare=blur.with_disk,
        kernel=blur.defocus_blur_block,
    ),
    "glass_blur": Corruption(
        family="blur",
        group="benchmark15",
        cifar=((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        imagenet=((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        source="scikit-image: gaussian, pixels strewn, gaussian (sigma, largest offset, rounds)",
        random=True,
        prepare=glass.with_glass,
        kernel=glass.glass_blur_block,
    ),
    "motion_blur": Corruption(
        family="blur",
        group="benchmark15",
        cifar=((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5)),
        imagenet=((10, 3.0), (15, 5.0), (15, 8.0), (15, 12.0), (20, 15.0)),
        source="ImageMagick: MotionBlurImage (radius, sigma), at an angle of -45..45 degrees",
        random=True,
        prepare=blur.with_motion,
        kernel=blur.motion_blur_block,
    ),
    "zoom_blur": Corruption(
        family="blur",
        group="benchmark15",
        cifar=((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        imagenet=((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
        source="SciPy: mean of the image and its zooms from 1 (to, step), of order 1",
        random=False,
        prepare=zoom.with_zooms,
        kernel=zoom.zoom_blur_block,
    ),
    "snow": Corruption(
        family="weather",
        group="benchmark15",
        cifar=(
            (0.1, 0.2, 1.0, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1.0, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        imagenet=(
            (0.1, 0.3, 3.0, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2.0, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4.0, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
        source="SciPy and ImageMagick: noise, zoomed, cut off, motion-blurred; x paler by 1 - mix",
        random=True,
        prepare=snow.with_flakes,
        kernel=snow.snow_block,
    ),
    "frost": Corruption(
        family="weather",
        group="benchmark15",
        cifar=(
            (1.0, 0.2, 0.2),
            (1.0, 0.3, 0.2),
            (0.9, 0.4, 0.2),
            (0.85, 0.4, 0.2),
            (0.75, 0.45, 0.2),
        ),
        imagenet=(
            (1.0, 0.4, 1.0),
            (0.8, 0.6, 1.0),
            (0.7, 0.7, 1.0),
            (0.65, 0.7, 1.0),
            (0.6, 0.75, 1.0),
        ),
        source="OpenCV: x * weight + crop of a picture of frost * weight",
        random=True,
        prepare=frost.with_textures,
        kernel=frost.frost_block,
    ),
    "fog": Corruption(
        family="weather",
        group="benchmark15",
        cifar=((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)),
        imagenet=((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)),
        source="NumPy: (x + weight * plasma) * max / (max + weight), x in 0..1",
        random=True,
        prepare=fog.with_cloud,
        kernel=fog.fog_block,
    ),
    "brightness": Corruption(
        family="weather",
        group="benchmark15",
        cifar=(0.05, 0.1, 0.15, 0.2, 0.3),
        imagenet=(0.1, 0.2, 0.3, 0.4, 0.5),
        source="scikit-image: HSV value + level",
        random=False,
        prepare=color.with_level,
        kernel=color.brightness_block,
    ),
    "contrast": Corruption(
        family="digital",
        group="benchmark15",
        cifar=(0.75, 0.5, 0.4, 0.3, 0.15),
        imagenet=(0.4, 0.3, 0.2, 0.1, 0.05),
        source="NumPy: (x - mean) * level + mean, each channel's own mean",
        random=False,
        prepare=color.with_level,
        kernel=color.contrast_block,
    ),
    "elastic_transform": Corruption(
        family="digital",
        group="benchmark15",
        cifar=(
            (0.0, 0.0, 2.56),
            (1.6, 6.4, 2.24),
            (2.56, 1.92, 1.92),
            (3.2, 1.28, 1.6),
            (3.2, 0.96, 0.96),
        ),
        imagenet=(
            (488.0, 170.8, 24.4),
            (488.0, 19.52, 48.8),
            (12.2, 2.44, 4.88),
            (17.08, 2.44, 4.88),
            (29.28, 2.44, 4.88),
        ),
        source="OpenCV: warpAffine; SciPy: map_coordinates (alpha, sigma, largest move)",
        random=True,
        prepare=elastic.with_displacement,
        kernel=elastic.elastic_transform_block,
    ),
    "pixelate": Corruption(
        family="digital",
        group="benchmark15",
        cifar=(0.95, 0.9, 0.85, 0.75, 0.65),
        imagenet=(0.6, 0.5, 0.4, 0.3, 0.25),
        source="PIL: resize to int(size * level) and back, BOX",
        random=False,
        prepare=digital.with_boxes,
        kernel=digital.pixelate_block,
    ),
    "jpeg_compression": Corruption(
        family="digital",
        group="benchmark15",
        cifar=(80, 65, 58, 50, 40),
        imagenet=(25, 18, 15, 10, 7),
        source="PIL: JPEG of quality level, 4:2:0",
        random=False,
        prepare=digital.with_quantisation,
        kernel=jpeg.through_jpeg,
    ),
    "speckle_noise": Corruption(
        family="noise",
        group="extra4",
        cifar=(0.06, 0.1, 0.12, 0.16, 0.2),
        imagenet=(0.15, 0.2, 0.35, 0.45, 0.6),
        source="NumPy: x + x * normal(0, level)",
        random=True,
        prepare=noise.with_normals,
        kernel=noise.speckle_noise_block,
    ),
    "gaussian_blur": Corruption(
        family="blur",
        group="extra4",
        cifar=(0.4, 0.6, 0.7, 0.8, 1.0),
        imagenet=(1.0, 2.0, 3.0, 4.0, 6.0),
        source="scikit-image: gaussian(sigma=level pixels)",
        random=False,
        prepare=blur.with_taps,
        kernel=blur.gaussian_blur_block,
    ),
    "spatter": Corruption(
        family="weather",
        group="extra4",
        cifar=(
            (0.62, 0.1, 0.7, 0.7, 0.5, 0),
            (0.65, 0.1, 0.8, 0.7, 0.5, 0),
            (0.65, 0.3, 1.0, 0.69, 0.5, 0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1),
            (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        ),
        imagenet=(
            (0.65, 0.3, 4.0, 0.69, 0.6, 0),
            (0.65, 0.3, 3.0, 0.68, 0.6, 0),
            (0.65, 0.3, 2.0, 0.68, 0.5, 0),
            (0.65, 0.3, 1.0, 0.65, 1.5, 1),
            (0.67, 0.4, 1.0, 0.65, 1.5, 1),
        ),
        source="scikit-image and OpenCV: noise, blurred and cut off; edges, distances, relief",
        random=True,
        prepare=spatter.with_liquid,
        kernel=spatter.spatter_block,
    ),
    "saturate": Corruption(
        family="digital",
        group="extra4",
        cifar=((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2)),
        imagenet=((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2)),
        source="scikit-image: HSV saturation * scale + shift",
        random=False,
        prepare=color.with_scale_and_shift,
        kernel=color.saturate_block,
    ),
}
