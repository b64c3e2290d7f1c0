"""RandAugment on uint8 images: every image draws its own operations, signs and interpolation."""

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from ruggedize.core.seeding import stream_key
from ruggedize.kernels.blocks import run_blocks
from ruggedize.kernels.types import Images
from ruggedize.views.layers import Plan, augment, new_scratch
from ruggedize.views.operations import SEMANTICS, Operation, operations
from ruggedize.views.options import RandAugmentOptions, Semantics


def randaugment(  # noqa: PLR0913
    images: Images,
    *,
    seed: int,
    index: Int64[Tensor, " n"] | None = None,
    epoch: int = 0,
    num_layers: int = 2,
    magnitude: int = 9,
    semantics: Semantics = "tf",
) -> Images:
    """Augment each image by `num_layers` operations of its own.

    What an image gets depends on the seed, the epoch and its index alone, never on the batch, the
    threads or the process.

    Args:
        images: uint8 `[n, 3, h, w]`, of any size; not changed.
        seed: of every draw.
        index: a number for each image that its draws belong to; without it 0..n-1.
        epoch: the same image gets another view in every epoch.
        num_layers: operations drawn for each image, carried out one after the other.
        magnitude: their strength: 0-10, and 0-30 for "torchvision".
        semantics: "tf" (that of the Keras example, mended), "tf-2021" (with its faults: made for
            64 pixels and up), "torchvision", "timm" (`rand-m9-n2`) or "timm-inc1".

    Source: Cubuk et al. 2020; the table of operations is `views.operations.TABLE`.
    """
    index = torch.arange(len(images)) if index is None else index
    check(images, index)
    source = images.contiguous().numpy()
    indices = np.ascontiguousarray(index, np.int64)
    out = np.empty_like(source)
    plan = plan_for(semantics, magnitude, num_layers, source.shape[2], source.shape[3])
    carry_out(plan, source, out, indices, stream_key(seed, "randaugment", epoch))
    return torch.from_numpy(out)


def randaugment_into(
    images: np.ndarray,
    out: np.ndarray,
    index: np.ndarray,
    stream: np.uint64,
    options: RandAugmentOptions,
) -> None:
    """Write the augmented images; `stream` and each image's index decide what they get.

    Images are uint8 `[n, 3, h, w]`, contiguous and apart from each other; `index` is int64 `[n]`.
    """
    height, width = images.shape[2:]
    plan = plan_for(options.semantics, options.magnitude, options.num_layers, height, width)
    carry_out(plan, images, out, index, stream)


def plan_for(semantics: str, magnitude: float, num_layers: int, height: int, width: int) -> Plan:
    """Turn the table's column for these semantics into numbers for the kernel."""
    chosen = operations(semantics, magnitude, height, width)
    return make_plan(semantics, chosen, num_layers)


def make_plan(semantics: str, chosen: tuple[Operation, ...], num_layers: int) -> Plan:
    """Plan to draw from these operations, as these semantics carry them out."""
    if num_layers < 1:
        raise ValueError(
            f"num_layers must be 1 or more, got {num_layers}; leave randaugment out instead"
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


def carry_out(
    plan: Plan,
    images: np.ndarray,
    out: np.ndarray,
    index: np.ndarray,
    stream: np.uint64,
    num_threads: int | None = None,
) -> None:
    """Augment the images by the plan, in blocks over the threads."""
    check_memory(images, out, index)
    height, width = images.shape[2:]

    def block(start: int, stop: int) -> None:
        scratch = new_scratch(plan.num_layers, height, width)
        part = slice(start, stop)
        augment(images[part], out[part], index[part], stream, plan, scratch)

    run_blocks(block, len(images), num_threads)


def check(images: Tensor, index: Tensor) -> None:
    """Reject what is not a batch of uint8 RGB images on the CPU with an index for each."""
    if not isinstance(images, Tensor):
        raise ValueError(
            f"images must be a torch.Tensor, got {type(images).__name__}; "
            "for an array [n, 3, h, w] use torch.from_numpy(images)"
        )
    shape, device = list(images.shape), images.device.type
    if (images.dtype, len(shape), device) != (torch.uint8, 4, "cpu") or shape[1] != 3:
        raise ValueError(
            f"images must be uint8 [n, 3, h, w] on the CPU, got {images.dtype} {shape} on "
            f"{device}; convert them to RGB and 0..255 first"
        )
    if len(index) != len(images):
        raise ValueError(
            f"index must have one number for each of {len(images)} images, got {len(index)}; "
            "leave it out to count from 0"
        )


def check_memory(images: np.ndarray, out: np.ndarray, index: np.ndarray) -> None:
    """Reject arrays that the kernel would write beside or beyond."""
    if not (images.flags.c_contiguous and out.flags.c_contiguous):
        raise ValueError(
            "images and out must be C-contiguous, got another layout; use numpy.ascontiguousarray"
        )
    if out.shape != images.shape or index.shape != images.shape[:1]:
        raise ValueError(
            f"out must be as large as images with one index each, got {out.shape} and "
            f"{index.shape} for {images.shape}; make out by numpy.empty_like(images)"
        )
