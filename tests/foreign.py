"""Small real models of other origin, and pictures of three colours that they tell apart."""

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from ruggedize.data import ImageSet
from ruggedize.models import Classifier, Contract, ForeignOptions, Predictor, load_foreign

COLOURS = {"blue": (40, 40, 200), "green": (40, 200, 40), "red": (200, 40, 40)}
ROOT = Path(__file__).resolve().parents[1]
OPERATORS = ROOT / "tests" / "torchvision_operators"


def colour_images(n: int = 24, size: int = 16, seed: int = 0) -> ImageSet:
    """Make noisy pictures of the three colours in turn."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % len(COLOURS)
    middle = np.array(list(COLOURS.values()))[labels][:, :, None, None]
    noise = rng.normal(0, 20, (n, 3, size, size))
    images = torch.from_numpy(np.clip(middle + noise, 0, 255).astype(np.uint8))
    return ImageSet(images, torch.from_numpy(labels), tuple(COLOURS), torch.arange(n))


def colour_folder(folder: Path, parts: tuple[str, ...] = ("test",), n: int = 12) -> Path:
    """Write such pictures as PART/CLASS/NUMBER.png; a part "" has the classes themselves."""
    for number, part in enumerate(parts):
        pictures = colour_images(n, size=40, seed=number)
        for place, (image, label) in enumerate(
            zip(pictures.images, pictures.labels.tolist(), strict=True)
        ):
            path = folder / part / pictures.classes[label] / f"{place}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    return folder


class ColourNetwork(nn.Module):
    """Scores of blue, green and red from the mean of each channel."""

    def __init__(self, order: tuple[int, ...] = (2, 1, 0), size: int | None = None) -> None:
        super().__init__()
        weight = torch.zeros(len(order), 3)
        weight[torch.arange(len(order)), torch.tensor(order)] = 4.0
        self.head = nn.Linear(3, len(order), bias=False)
        self.head.weight.data.copy_(weight)
        self.norm = nn.BatchNorm2d(3)  # scores differ if it were run in train mode
        self.size = size

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.size and images.shape[-1] != self.size:
            raise ValueError(f"takes {self.size} pixels, got {images.shape[-1]}")
        return self.head(self.norm(images).mean((2, 3)))


def colour_onnx(
    path: Path, shape: list[Any], *, kind: str = "float", softmax: bool = False
) -> Path:
    """Write an ONNX file that scores blue, green and red by the mean of each channel."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    types = {"float": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "half": TensorProto.FLOAT16}
    axes = [1, 2] if shape[3] == 3 else [2, 3]
    scale = 0.02 if kind == "uint8" else 4.0
    weight = scale * np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], np.float32)
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "weight"], ["scores"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["scores"], ["shares"], axis=1))
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("pixels", types[kind], shape)],
        [
            helper.make_tensor_value_info(
                "shares" if softmax else "scores", TensorProto.FLOAT, [shape[0], 3]
            )
        ],
        [
            numpy_helper.from_array(np.array(axes), "axes"),
            numpy_helper.from_array(weight, "weight"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


IMAGES = colour_images()
PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
TINY = "test_resnet.r160_in1k"  # timm's own model for tests


def loaded(text: str | Path, download: bool = False, **contract) -> Classifier | Predictor:
    options = ForeignOptions(Contract(**contract), download=download)
    return load_foreign([str(text)], options, torch.device("cpu"))[str(text)]


def accuracy(model: Classifier | Predictor) -> float:
    assert isinstance(model, Predictor)
    found = model.logits(model.view(IMAGES.images)).argmax(1)
    return float((found == IMAGES.labels).float().mean())


def with_timm() -> None:
    """Make timm importable in this process."""
    if "torchvision" not in sys.modules:
        importlib.import_module("tests.torchvision_operators.sitecustomize")


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a process that may import timm, and never asks the Hub."""
    path = [str(OPERATORS), str(ROOT / "src"), str(ROOT)]
    own = {"PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return os.environ | own | {"COLUMNS": "120"} | more


def cached_on_hub(home: Path, repository: str, files: dict[str, bytes]) -> Path:
    """Fill a cache of the Hugging Face Hub as a download would; return the folder of the files."""
    place = home / "hub" / f"models--{repository.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)
    folder = place / "snapshots" / commit
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def timm_weights(path: Path, name: str, num_classes: int = 1000) -> nn.Module:
    """Write a freshly initialised model's weights as safetensors; return the model."""
    with_timm()
    import timm

    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False, num_classes=num_classes).eval()
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)
    return network
