"""Export of classifiers for use without this project, as ONNX files or plain weights."""

import copy
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float32
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from ruggedize.core.environment import version
from ruggedize.core.errors import UserError
from ruggedize.core.extras import require_extra
from ruggedize.core.files import reject_unwritable_file, write_atomically
from ruggedize.core.places import user_path
from ruggedize.kernels.types import Images, Views
from ruggedize.models.classifier import Classifier
from ruggedize.models.registry import check_logits

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

INPUT, OUTPUT = "images", "logits"  # names in the ONNX graph
NUM_CHECKED = 64  # number of images on which a file is tested before it is written
LOGITS_RTOL, LOGITS_ATOL, PROBABILITIES_ATOL = 1e-3, 1e-4, 1e-5
LARGEST_ONNX = 2_000_000_000  # bytes; a protobuf message ends at 2 GiB


class Difference(NamedTuple):
    """The largest absolute differences between an ONNX file and its model."""

    logits: float
    probabilities: float
    num_images: int


def export_onnx(
    classifier: Classifier,
    path: Path | str,
    images: Images | None = None,
    model_sha256: str | None = None,
) -> Difference:
    """Write an ONNX file that maps uint8 pixels `[n, 3, s, s]` of the input size to logits.

    The ONNX graph includes the normalisation. Before the file is written, onnxruntime runs it on
    images, and its logits, probabilities and top-1 classes are compared with the model's.

    Args:
        classifier: the model; it is not changed.
        path: the file to write.
        images: stored images to compare on; default: generated images.
        model_sha256: SHA-256 of the model's own file, to include in the metadata.

    Raises:
        UserError: a package is missing, the model is too large or has not one logit for each class,
            or the outputs differ; nothing is written.
    """
    require_extra("onnx", "an ONNX export")
    reject_unwritable_file(user_path(path))
    model = copy.deepcopy(classifier).cpu().float().eval()
    check_logits(model)
    packed = packed_onnx(model, model_sha256)
    if images is None:
        images = generated_images(NUM_CHECKED, model.image_size)
    found = check_onnx(packed, model, model.test_view(images.cpu()))
    write_atomically(user_path(path), packed)
    return found


def export_state_dict(
    classifier: Classifier, path: Path | str, model_sha256: str | None = None
) -> None:
    """Write the network's weights under their own names, for plain PyTorch code.

    The safetensors metadata describes what the classifier does around its network; see `facts_of`.
    """
    weights = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in classifier.network.state_dict().items()
    }
    facts = facts_of(classifier, model_sha256)
    write_atomically(user_path(path), with_metadata(save(weights), {"format": "pt", **facts}))


def facts_of(classifier: Classifier, model_sha256: str | None) -> dict[str, str]:
    """Describe a classifier as metadata: text values, with lists and numbers encoded as JSON.

    `image_size` is the side of stored images, which are then resized to `input_size` / `crop_pct`,
    of which the middle is cut out; `mean` and `std` are for pixels in 0..1.
    """
    facts = {
        "architecture": json.dumps(classifier.architecture.model_dump(mode="json")),
        "channels": "rgb",
        "classes": json.dumps(classifier.classes),
        "crop_pct": json.dumps(classifier.crop_pct),
        "image_size": json.dumps(classifier.image_size),
        "input_size": json.dumps(classifier.input_size),
        "layout": "nchw",
        "fit": json.dumps(classifier.fit),
        "mean": json.dumps(classifier.mean),
        "output": OUTPUT,
        "ruggedize_version": str(version("ruggedize")),
        "std": json.dumps(classifier.std),
        "test_filter": json.dumps(classifier.test_filter),
    }
    return facts | ({"model_sha256": model_sha256} if model_sha256 else {})


def with_metadata(packed: bytes, metadata: dict[str, str]) -> bytes:
    """Add metadata to a safetensors file in a fixed order, which `save` does not guarantee."""
    start = 8 + int.from_bytes(packed[:8], "little")
    header = json.dumps({"__metadata__": metadata, **json.loads(packed[8:start])}).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + packed[start:]


def packed_onnx(model: Classifier, model_sha256: str | None = None) -> bytes:
    """Return the bytes of an ONNX file; the model must be on the CPU and in eval mode.

    Raises:
        UserError: the model is larger than an ONNX file can be.
    """
    if sum(tensor.nbytes for tensor in model.state_dict().values()) > LARGEST_ONNX:
        raise UserError(
            "the weights take more than 2 GB, the limit of an ONNX file;\nuse --format state-dict"
        )
    graph = traced(model)
    strip_traces(graph.graph)
    graph.producer_name, graph.producer_version = "ruggedize", str(version("ruggedize"))
    del graph.metadata_props[:]
    for key, value in sorted(facts_of(model, model_sha256).items()):
        graph.metadata_props.add(key=key, value=value)
    return graph.SerializeToString(deterministic=True)


def traced(model: Classifier) -> "ModelProto":
    """Trace the model to an ONNX graph with a dynamic batch size."""
    example = torch.zeros(2, 3, model.input_size, model.input_size, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about its own code
        program = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("n")},),
            input_names=[INPUT],
            output_names=[OUTPUT],
            verbose=False,
        )
    assert program is not None  # without a file, torch returns the program
    return program.model_proto


def strip_traces(graph: "GraphProto") -> None:
    """Remove torch's notes on the tracing, which name source files on this machine."""
    del graph.metadata_props[:]
    entries = [*graph.node, *graph.value_info, *graph.input, *graph.output]
    for entry in entries:
        entry.doc_string = ""
        del entry.metadata_props[:]
    for weights in graph.initializer:
        weights.doc_string = ""
        del weights.metadata_props[:]


def check_onnx(packed: bytes, model: Classifier, views: Views) -> Difference:
    """Run an ONNX file on the first view, then on the others, and compare it with the model.

    Raises:
        UserError: the outputs differ by more than the tolerance.
    """
    from onnxruntime import InferenceSession

    session = InferenceSession(packed, providers=["CPUExecutionProvider"])
    parts = [part for part in (views[:1], views[1:]) if len(part)]
    found = [session.run([OUTPUT], {INPUT: part.numpy()})[0] for part in parts]
    with torch.no_grad():
        expected = model(views)
    return compared(expected, torch.cat([torch.from_numpy(logits) for logits in found]))


def compared(expected: Float32[Tensor, "n k"], found: Float32[Tensor, "n k"]) -> Difference:
    """Return the largest differences between logits.

    Raises:
        UserError: logits or probabilities differ by more than the tolerance, or a top-1 class
            differs although its margin over the second class is above the tolerance.
    """
    probabilities, others = expected.softmax(1), found.softmax(1)
    differences = (found - expected).abs(), (others - probabilities).abs()
    tolerance = LOGITS_ATOL + LOGITS_RTOL * expected.abs()
    close = bool((differences[0] <= tolerance).all())
    close = close and bool((differences[1] <= PROBABILITIES_ATOL).all())
    tops = expected.topk(2, 1)
    clear = tops.values[:, 0] - tops.values[:, 1] > tolerance.gather(1, tops.indices[:, :1])[:, 0]
    num_moved = int((clear & (expected.argmax(1) != found.argmax(1))).sum())
    largest = Difference(float(differences[0].max()), float(differences[1].max()), len(expected))
    if not close or num_moved:
        raise UserError(
            f"the ONNX file differs from the model by up to {largest.logits:.2g} in logits and "
            f"{largest.probabilities:.2g} in probabilities, and classifies {num_moved} of "
            f"{len(expected)} images differently; nothing was written;\n"
            "try other versions of torch and onnxruntime, or --format state-dict"
        )
    return largest


def generated_images(n: int, size: int) -> Images:
    """Generate smooth coloured pictures with some grain, the same ones on every call."""
    generator = torch.Generator().manual_seed(0)
    coarse = 255 * torch.rand(n, 3, 4, 4, generator=generator)
    smooth = functional.interpolate(coarse, size=(size, size), mode="bilinear")
    grain = 16 * torch.randn(n, 3, size, size, generator=generator)
    return (smooth + grain).round().clamp(0, 255).to(torch.uint8)
