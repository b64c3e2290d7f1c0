"""Conversion of callers' images and numbers; whatever is ambiguous is rejected with a fix.

The fix depends on the values that were passed, so that following it never blackens a picture.
"""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ruggedize.kernels.pictures import upright_copy
from ruggedize.kernels.types import Images

Pictures = Tensor | np.ndarray | Image.Image | Sequence[Image.Image | Tensor | np.ndarray]
RGB, RGBA = 3, 4  # channels


def as_images(images: object) -> Images:
    """Return images as a uint8 tensor `[n, 3, h, w]` on the CPU; a tensor or array is not copied.

    Args:
        images: a uint8 RGB tensor or NumPy array `[n, 3, h, w]`; one Pillow image of any mode, or
            a list of them of the same size; or a list of uint8 tensors or arrays `[3, h, w]`.

    Raises:
        ValueError: images are anything else; the message says how to convert them.
    """
    found = stacked(images)
    check_shape(found)
    check_values(found)
    if isinstance(found, Tensor):
        if found.device.type != "cpu":
            raise ValueError(f"images must be on the CPU, got {found.device};\nuse images.cpu()")
        return found
    is_taken = found.flags.writeable and min(found.strides) >= 0  # by torch; BGR[..., ::-1] is not
    return torch.from_numpy(found if is_taken else found.copy())


def stacked(images: object) -> Tensor | np.ndarray:
    """Stack a picture or a list of pictures into one tensor or array."""
    if isinstance(images, Tensor | np.ndarray):
        return images
    if isinstance(images, Image.Image):
        images = [images]
    if not isinstance(images, list | tuple):
        raise ValueError(
            f"images must be a tensor, an array or Pillow images, got {type(images).__name__};\n"
            "open files with PIL.Image.open; for an ImageSet, pass its .images"
        )
    if not images:
        raise ValueError("images must contain at least one image, got an empty list;\nadd one")
    kinds = {type(image).__name__ for image in images}
    if all(isinstance(image, Image.Image) for image in images):
        arrays: list[Any] = [from_pillow(image) for image in images]
    elif all(isinstance(image, Tensor | np.ndarray) for image in images) and len(kinds) == 1:
        arrays = list(images)
    else:
        raise ValueError(
            "images must be all Pillow images, all tensors or all arrays, got "
            f"{', '.join(sorted(kinds))};\nopen files with PIL.Image.open"
        )
    sizes = sorted({tuple(array.shape) for array in arrays})
    if len(sizes) > 1:
        shapes = " and ".join(str(list(size)) for size in sizes[:2])
        raise ValueError(
            f"images must have the same size, got {shapes};\nresize them, or pass them one by one"
        )
    return torch.stack(arrays) if isinstance(arrays[0], Tensor) else np.stack(arrays)


def from_pillow(image: Image.Image) -> np.ndarray:
    """Convert a Pillow image to upright RGB on a white background: uint8 `[3, h, w]`."""
    return np.ascontiguousarray(np.asarray(upright_copy(image)).transpose(2, 0, 1))


def check_shape(images: Tensor | np.ndarray) -> None:
    """Raise ValueError unless the shape is `[n, 3, h, w]` without an empty dimension."""
    shape = list(images.shape)
    if len(shape) == RGBA and shape[1] == RGB and 0 not in shape[1:]:
        return
    raise ValueError(
        f"images must be uint8 [n, 3, h, w], got {dtype_of(images)} {shape};\n"
        f"{shape_fix(shape, isinstance(images, Tensor))}"
    )


def shape_fix(shape: list[int], is_tensor: bool) -> str:
    """Return advice on how to convert images of another shape to `[n, 3, h, w]`."""
    turned = "permute" if is_tensor else "transpose"
    grey = ".expand(-1, 3, -1, -1)" if is_tensor else ".repeat(3, axis=1)"
    if 0 in shape:
        return "one of the dimensions is empty: check how the images were made"
    match shape:
        case [_, 1, _, _]:
            return f"they are grey: use images{grey}"
        case [_, 4, _, _]:
            return (
                "they have an alpha channel, which Pillow images may keep (they are blended with "
                "white); to drop it, use images[:, :3]"
            )
        case [_, _, _, 3]:
            return f"their channels come last: use images.{turned}(0, 3, 1, 2)"
        case [_, _, _, 4]:
            return f"their channels come last: use images[..., :3].{turned}(0, 3, 1, 2)"
        case [_, _, _, 1]:
            return f"they are grey with channels last: use images.{turned}(0, 3, 1, 2){grey}"
        case [3, _, _]:
            return "this is a single image: use images[None]"
        case [_, _, 3]:
            return f"this is a single image with channels last: use images.{turned}(2, 0, 1)[None]"
        case [_, _, 4]:
            return (
                "this is a single image with channels last and alpha: use "
                f"images[..., :3].{turned}(2, 0, 1)[None]"
            )
        case [1, _, _]:
            return f"this is a single grey image: use images[None]{grey}"
        case [4, _, _]:
            return "this is a single image with an alpha channel: use images[None, :3]"
        case [_, _, _]:
            return f"they are grey: use images[:, None]{grey}"
        case [_, _]:
            return f"this is a single grey image: use images[None, None]{grey}"
        case _:
            return "select three channels, and arrange the dimensions as [n, 3, h, w]"


def check_values(images: Tensor | np.ndarray) -> None:
    """Raise ValueError unless the images are uint8."""
    dtype = dtype_of(images)
    if dtype != "uint8":
        raise ValueError(
            f"images must be uint8 [n, 3, h, w], got {dtype} {list(images.shape)}"
            f"{value_fix(images, dtype)}"
        )


def value_fix(images: Tensor | np.ndarray, dtype: str) -> str:
    """Return the value range and advice on how to convert it to whole numbers from 0 to 255."""
    cast = ".to(torch.uint8)" if isinstance(images, Tensor) else '.astype("uint8")'
    if dtype == "object" or "complex" in dtype:
        return ";\nconvert them to real numbers from 0 to 255 first"
    if dtype == "bool":
        return f";\nuse images{cast} * 255"
    values = torch.as_tensor(np.asarray(images, np.float64) if is_array(images) else images)
    low, high = float(values.min()), float(values.max())
    text = f" with values from {low:g} to {high:g};\n"
    is_float = "float" in dtype
    near = ".round()" if is_float else ""
    if not (np.isfinite(low) and np.isfinite(high)):
        return f"{text}remove images with NaN or infinite values"
    if low >= 0 and high <= 1:
        scaled = "(images * 255).round()" if is_float else "(images * 255)"
        return f"{text}use {scaled}{cast}"
    if low >= 0 and high <= 255:
        return f"{text}use images{near}{cast}"
    if low >= -1 and high <= 1:
        return f"{text}if -1 is black and 1 is white, use ((images + 1) * 127.5).round(){cast}"
    if low >= 0 and not is_float:
        return f"{text}if 65535 is white, use (images / 257).round(){cast}"
    if low >= 0:
        return f"{text}scale them to 0..255, clip and round them, then use images{cast}"
    return (
        f"{text}undo their normalisation: ((images * std + mean) * 255).round().clip(0, 255){cast}"
    )


def is_array(images: object) -> bool:
    """Return whether images are a NumPy array, whose dtype torch may not support."""
    return isinstance(images, np.ndarray)


def dtype_of(images: Tensor | np.ndarray) -> str:
    """Return the name of the dtype, without the prefix `torch.`."""
    return str(images.dtype).removeprefix("torch.")


def whole_number(value: Any, name: str, example: int) -> int:
    """Return a whole number as an int; raise ValueError for anything else.

    NumPy integers and one-element integer tensors are accepted; floats and booleans are not.
    """
    is_bool = isinstance(value, bool | np.bool_) or getattr(value, "dtype", None) == torch.bool
    try:
        number: Any = None if is_bool else value
        return operator.index(number)
    except TypeError:
        raise ValueError(
            f"{name} must be a whole number, got {value!r};\nuse {name}={nearest(value, example)}"
        ) from None


def nearest(value: object, example: int) -> int:
    """Return a float without fraction as an int; for anything else, return the example."""
    return int(value) if isinstance(value, float) and value.is_integer() else example
