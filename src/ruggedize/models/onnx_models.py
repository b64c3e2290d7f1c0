"""ONNX files, which are run by onnxruntime."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from pydantic import Field, FiniteFloat, TypeAdapter
from torch import Tensor

from ruggedize.core.errors import UserError
from ruggedize.kernels.centre_crop import LEAST_CROP_PCT, TestFilter
from ruggedize.kernels.pictures import Fit
from ruggedize.models.contract import Contract
from ruggedize.models.predictor import ChannelOrder, Output, Predictor

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

DTYPES = {
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(double)": np.dtype(np.float64),
}
WORDS = ("channels", "output")
Side = Annotated[int, Field(ge=1, le=1024)]
Three = tuple[FiniteFloat, FiniteFloat, FiniteFloat]
FACTS: dict[str, TypeAdapter[Any]] = {  # what is read of our metadata, and its type
    "channels": TypeAdapter(ChannelOrder),
    "output": TypeAdapter(Output),
    "classes": TypeAdapter(list[str]),
    "image_size": TypeAdapter(Side),
    "input_size": TypeAdapter(Side),
    "mean": TypeAdapter(Three),
    "std": TypeAdapter(Three),
    "crop_pct": TypeAdapter(Annotated[float, Field(ge=LEAST_CROP_PCT, le=1)]),
    "test_filter": TypeAdapter(TestFilter),
    "fit": TypeAdapter(Fit),
}


def load_onnx(file: Path, contract: Contract, device: torch.device) -> Predictor:
    """Load an ONNX file; the contract supplies what the file does not declare about its input.

    Files exported by ruggedize declare everything in their metadata. For others, the shape of the
    input determines the layout and, if it is fixed, the size; the normalisation is unknown.

    Raises:
        UserError: onnxruntime is not installed, the file does not take images, or the contract is
            incomplete or contradicts the file.
    """
    session = opened(file, device)
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in DTYPES:
        found = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
        raise UserError(
            f"{file} must have a single input of images, uint8 or float with 4 dimensions, got "
            f"{found};\nexport only the network, or wrap it in a function: package.module:function"
        )
    dtype = DTYPES[inputs[0].type]
    said = contract_in(file, session, contract.layout)
    if dtype != np.uint8 and said.mean is None and contract.mean is None:
        raise UserError(
            f"{file} takes floats but does not declare how pixels are normalised;\n"
            "set --mean and --std: 0.485,0.456,0.406 and 0.229,0.224,0.225 for ImageNet, or 0 and "
            "1 for pixels in 0..1"
        )
    if dtype == np.uint8 and (contract.mean or contract.std):
        raise UserError(
            f"{file} takes uint8 pixels and normalises them itself;\nomit --mean and --std"
        )
    wanted = contract.filled(said, str(file))
    facts = metadata_of(session)
    return Predictor(
        running(session, dtype, fixed_batch(inputs[0].shape)),
        classes=classes_in(session),
        input_size=wanted.input_size,
        resize=wanted.resize,
        image_size=facts.get("image_size"),
        interpolation=facts.get("test_filter", "bilinear"),
        mean=None if dtype == np.uint8 else wanted.mean,
        std=None if dtype == np.uint8 else wanted.std,
        channels=wanted.channels or "rgb",
        layout=wanted.layout or "nchw",
        output=wanted.output or "logits",
        fit=facts.get("fit"),
    )


def opened(file: Path, device: torch.device) -> "InferenceSession":
    """Open a session with as many threads as torch uses, on the GPU if onnxruntime supports it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            f"{file} needs the package onnxruntime;\npip install 'ruggedize[onnx]'"
        ) from error
    if not file.is_file():
        raise UserError(f"there is no file {file};\nuse the path of an ONNX file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # errors are raised; its log would print text of the file
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
    try:
        return onnxruntime.InferenceSession(file, options, providers=providers)
    except Exception as error:  # onnxruntime's errors have no other base class in common
        raise UserError(
            f"{file} cannot be opened by onnxruntime: {str(error).partition(chr(10))[0]};\n"
            "export the network again, or update onnxruntime"
        ) from error


def contract_in(file: Path, session: "InferenceSession", layout: str | None) -> Contract:
    """Read what a file declares about its input, from our metadata and from the input's shape."""
    shape = session.get_inputs()[0].shape
    facts = metadata_of(session)
    sides = {"nchw": shape[2:], "nhwc": shape[1:3]}
    places = {"nchw": shape[1], "nhwc": shape[3]}
    found = [name for name, channels in places.items() if channels == 3]
    layout = found[0] if len(found) == 1 else layout or "nchw"
    fixed = {side for side in sides[layout] if isinstance(side, int)}
    if len(fixed) > 1:
        raise UserError(
            f"{file} must take square images, got {sides[layout]} pixels;\n"
            "export the network for square images, or set --layout if the channels are elsewhere"
        )
    input_size = fixed.pop() if fixed else facts.get("input_size")
    return Contract(
        input_size=input_size,
        resize=resize_in(facts, input_size),
        layout="nhwc" if layout == "nhwc" and found else "nchw" if found else None,
        mean=facts.get("mean"),
        std=facts.get("std"),
        channels=facts.get("channels"),
        output=facts.get("output"),
    )


def resize_in(facts: Mapping[str, Any], input_size: int | None) -> int | None:
    """Return the side that stored images are resized to before their middle is cut out."""
    crop_pct = facts.get("crop_pct", 1.0)
    return math.floor(input_size / crop_pct) if input_size is not None and crop_pct < 1 else None


def metadata_of(session: "InferenceSession") -> dict[str, Any]:
    """Return the metadata of a file that ruggedize exported; empty for other files.

    Raises:
        ValueError: the metadata is damaged.
    """
    written = session.get_modelmeta().custom_metadata_map
    if "ruggedize_version" not in written:
        return {}
    return {key: parsed(key, written[key]) for key in FACTS if key in written}


def parsed(key: str, text: str) -> Any:
    """Parse one entry of our metadata: a plain word, or JSON.

    Raises:
        ValueError: its value is not one that ruggedize writes.
    """
    try:
        return FACTS[key].validate_python(text if key in WORDS else json.loads(text))
    except (ValueError, RecursionError):  # of pydantic's errors, the first is the base
        raise ValueError(f"its metadata is damaged at {key};\nexport the network again") from None


def classes_in(session: "InferenceSession") -> list[str] | None:
    """Return the class names in a file that ruggedize exported; None for other files."""
    return metadata_of(session).get("classes")


def fixed_batch(shape: Sequence[Any]) -> int | None:
    """Return the batch size that a file requires; None if it is dynamic."""
    return shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None


def running(
    session: "InferenceSession", dtype: "np.dtype[Any]", batch: int | None
) -> Callable[[Tensor], Tensor]:
    """Return a function that runs a session on images and returns its first output."""
    taken, given = session.get_inputs()[0].name, session.get_outputs()[0].name

    def run(images: Tensor) -> Tensor:
        pixels = images.cpu().numpy().astype(dtype, copy=False)
        if batch is None:
            return torch.as_tensor(session.run([given], {taken: pixels})[0])
        lacking = -len(pixels) % batch
        padded = np.concatenate([pixels, np.repeat(pixels[-1:], lacking, axis=0)])
        parts = [padded[start : start + batch] for start in range(0, len(padded), batch)]
        scores = [np.asarray(session.run([given], {taken: part})[0]) for part in parts]
        return torch.from_numpy(np.concatenate(scores)[: len(pixels)])

    return run
