"""RandAugment on uint8 images, with random operations for every image."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from ruggedize.core.seeding import stream_key
from ruggedize.kernels.blocks import run_blocks
from ruggedize.kernels.inputs import Pictures, as_images, whole_number
from ruggedize.kernels.types import Images
from ruggedize.views.layers import Plan, augment, new_scratch
from ruggedize.views.noise_options import RandAugmentOptions, Semantics
from ruggedize.views.operations import SEMANTICS, Operation, operations
from ruggedize.views.options import SMALLEST_TF_2021


def randaugment(  # noqa: PLR0913
    images: Pictures,
    *,
    seed: int,
    index: Int64[Tensor, " n"] | Int64[np.ndarray, " n"] | Sequence[int] | None = None,
    epoch: int = 0,
    num_layers: int = 2,
    magnitude: int = 9,
    semantics: Semantics = "tf",
) -> Images:
    """Apply `num_layers` random operations to each image.

    Random draws depend only on the seed, the epoch and each image's index, not on the batch,
    threads or process.

    Args:
        images: RGB, uint8 `[n, 3, h, w]`, as a tensor on the CPU or a NumPy array; or one or
            several Pillow images of the same size. Not modified; the result is a tensor.
        seed: seed of all random draws.
        index: index of each image in its data set; default: 0..n-1.
        epoch: epoch number; each epoch has its own draws.
        num_layers: number of operations applied to each image, one after the other.
        magnitude: strength of the operations, 0-10, or 0-30 for "torchvision".
        semantics: implementation to follow: "tf" (that of the Keras example, with its bugs fixed),
            "tf-2021" (with its bugs; needs images of 64 pixels or more), "torchvision", "timm"
            (`rand-m9-n2`) or "timm-inc1".

    Raises:
        ValueError: an argument is invalid; the message contains the fix.

    Source: Cubuk et al. 2020; the operations are listed in `views.operations.TABLE`.
    """
    pixels, seed, epoch = (
        as_images(images),
        whole_number(seed, "seed", 0),
        whole_number(epoch, "epoch", 0),
    )
    num_layers = whole_number(num_layers, "num_layers", 2)
    index = torch.arange(len(pixels)) if index is None else torch.as_tensor(index)
    check_index(index, len(pixels))
    source = pixels.contiguous().numpy()
    indices = np.ascontiguousarray(index, np.int64)
    out = np.empty_like(source)
    reject_small(semantics, source)
    plan = plan_for(semantics, magnitude, num_layers, source.shape[2], source.shape[3])
    run_plan(plan, source, out, indices, stream_key(seed, "randaugment", epoch))
    return torch.from_numpy(out)


def reject_small(semantics: Semantics, images: np.ndarray) -> None:
    """Raise ValueError if images are so small that the bugs of `tf-2021` erase them."""
    height, width = images.shape[2:]
    if semantics == "tf-2021" and min(height, width) < SMALLEST_TF_2021:
        raise ValueError(
            f"semantics 'tf-2021' needs images of at least {SMALLEST_TF_2021} pixels, got "
            f"{height}x{width};\nuse semantics 'tf', or larger images"
        )


def randaugment_into(
    images: np.ndarray,
    out: np.ndarray,
    index: np.ndarray,
    stream: np.uint64,
    options: RandAugmentOptions,
) -> None:
    """Write the augmented images to `out`; draws depend only on `stream` and image index.

    `images` and `out` are contiguous, uint8 `[n, 3, h, w]`, and must not overlap; `index` is int64
    `[n]`.
    """
    height, width = images.shape[2:]
    reject_small(options.semantics, images)
    plan = plan_for(options.semantics, options.magnitude, options.num_layers, height, width)
    run_plan(plan, images, out, index, stream)


def plan_for(semantics: str, magnitude: float, num_layers: int, height: int, width: int) -> Plan:
    """Build the plan for the kernel from the table of operations."""
    chosen = operations(semantics, magnitude, height, width)
    return make_plan(semantics, chosen, num_layers)


def make_plan(semantics: str, chosen: tuple[Operation, ...], num_layers: int) -> Plan:
    """Build a plan that draws from these operations, with the settings of the semantics."""
    if num_layers < 1:
        raise ValueError(
            f"num_layers must be at least 1, got {num_layers};\nto disable randaugment, remove it"
        )
    common = SEMANTICS[semantics]
    return Plan(
        np.array([operation.code for operation in chosen], np.int64),
        np.array([(operation.level, operation.opposite) for operation in chosen], np.float64),
        num_layers,
        common.probability,
        common.fill,
        common.interpolation,
        common.shear_origin,
    )


def run_plan(
    plan: Plan,
    images: np.ndarray,
    out: np.ndarray,
    index: np.ndarray,
    stream: np.uint64,
    num_threads: int | None = None,
) -> None:
    """Augment images according to a plan, in blocks on several threads."""
    check_arrays(images, out, index)
    height, width = images.shape[2:]

    def block(start: int, stop: int) -> None:
        scratch = new_scratch(plan.num_layers, height, width)
        rows = slice(start, stop)
        augment(images[rows], out[rows], index[rows], stream, plan, scratch)

    run_blocks(block, len(images), num_threads)


def check_index(index: Tensor, num_images: int) -> None:
    """Raise ValueError unless `index` has one whole number per image."""
    if index.is_floating_point() or index.dtype == torch.bool:
        raise ValueError(
            f"index must contain whole numbers, got {index.dtype};\nuse torch.arange({num_images})"
        )
    if len(index) != num_images:
        raise ValueError(
            f"index must have one entry per image ({num_images}), got {len(index)};\n"
            "omit index to use 0..n-1"
        )


def check_arrays(images: np.ndarray, out: np.ndarray, index: np.ndarray) -> None:
    """Raise ValueError if the kernel would access the arrays out of bounds."""
    if not (images.flags.c_contiguous and out.flags.c_contiguous):
        raise ValueError(
            "images and out must be C-contiguous, got another layout;\nuse numpy.ascontiguousarray"
        )
    if out.shape != images.shape or index.shape != images.shape[:1]:
        raise ValueError(
            f"out must have the shape of images, {images.shape}, and index one entry per image, "
            f"got {out.shape} and {index.shape};\ncreate out with numpy.empty_like(images)"
        )
