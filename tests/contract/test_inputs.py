"""What people have in Python is taken, and every wrong input is answered with its own fix."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ruggedize import Classifier, corrupt, randaugment
from ruggedize.data import decode_image
from ruggedize.kernels.inputs import as_images

N, H, W = 5, 32, 40
CONVERSIONS = {"torch": torch, "np": np}


def pixels() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (N, 3, H, W), dtype=torch.uint8, generator=generator)


def classifier() -> Classifier:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Classifier(network, classes=("a", "b", "c", "d"), input_size=32)


CALLS: dict[str, Callable[[Any], Any]] = {
    "corrupt": lambda images: corrupt(images, "gaussian_noise", 3),
    "randaugment": lambda images: randaugment(images, seed=0),
    "predict": lambda images: classifier().predict(images).probabilities,
}


def pillow(images: Tensor) -> list[Image.Image]:
    return [Image.fromarray(image) for image in images.permute(0, 2, 3, 1).numpy()]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_arrays_and_pillow_images_are_taken_like_tensors(call: Callable[[Any], Any]) -> None:
    images = pixels()
    expected = call(images)
    frozen = images.numpy().copy()
    frozen.flags.writeable = False
    same = (images.numpy(), frozen, pillow(images), tuple(pillow(images)), list(images))
    for given in same:
        assert torch.equal(call(given), expected)
    assert torch.equal(call(pillow(images)[0]), call(images[:1]))
    assert not torch.equal(call(images.flip(0)), expected)
    assert torch.equal(images, pixels())  # not modified


FAULTS: dict[str, Callable[[Tensor], Any]] = {
    "grey": lambda x: x[:, :1],
    "grey array": lambda x: x[:, :1].numpy(),
    "grey, no channels": lambda x: x[:, 0],
    "grey, channels last": lambda x: x[:, :1].permute(0, 2, 3, 1),
    "RGBA": lambda x: torch.cat([x, x[:, :1]], 1),
    "channels last": lambda x: x.permute(0, 2, 3, 1),
    "channels last array": lambda x: x.permute(0, 2, 3, 1).numpy(),
    "RGBA, channels last": lambda x: torch.cat([x, x[:, :1]], 1).permute(0, 2, 3, 1),
    "single": lambda x: x[0],
    "single array": lambda x: x[0].numpy(),
    "single, channels last": lambda x: x[0].permute(1, 2, 0),
    "single, channels last array": lambda x: x[0].permute(1, 2, 0).numpy(),
    "single, RGBA": lambda x: torch.cat([x[0], x[0, :1]]),
    "single, RGBA, channels last": lambda x: torch.cat([x[0], x[0, :1]]).permute(1, 2, 0),
    "single, grey": lambda x: x[0, 0],
    "single, grey, one channel": lambda x: x[0, :1],
    "floats to 1": lambda x: x / 255,
    "floats to 1, array": lambda x: (x / 255).numpy(),
    "doubles to 1, array": lambda x: (x / 255).double().numpy(),
    "halves to 255": lambda x: x.half(),
    "floats to 255": lambda x: x.float(),
    "floats to 255, array": lambda x: x.float().numpy(),
    "floats from -1": lambda x: x / 127.5 - 1,
    "int64": lambda x: x.long(),
    "int32 array": lambda x: x.numpy().astype(np.int32),
    "uint16 array": lambda x: x.numpy().astype(np.uint16) * 257,
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_fix_for_a_wrong_input_gives_the_right_picture(name: str) -> None:
    """The fix is executed as printed: what it makes must be the images, and never black."""
    images = FAULTS[name](pixels())
    with pytest.raises(ValueError, match="images must be") as caught:
        as_images(images)
    message, fix = str(caught.value).split(";\n")
    assert str(list(images.shape)) in message
    code = fix.rpartition("use ")[2]
    fixed = as_images(eval(code, {**CONVERSIONS, "images": images}))
    expected = pixels()[: 1 if "single" in name else N]
    expected = expected[:, :1].expand(-1, 3, -1, -1) if "grey" in name else expected
    assert torch.equal(fixed, expected)


def test_normalised_floats_are_not_cast_to_black() -> None:
    with pytest.raises(ValueError, match=r"with values from -2 to 2") as caught:
        as_images((pixels() / 255 - 0.5) / 0.25)
    assert "images * std + mean" in str(caught.value)
    with pytest.raises(ValueError, match="NaN or infinite"):
        as_images(torch.full((1, 3, 8, 8), torch.nan))
    with pytest.raises(ValueError, match=r"scale them to 0\.\.255"):
        as_images(pixels().float() * 16)
    with pytest.raises(ValueError, match=r"images\.to\(torch\.uint8\) \* 255"):
        as_images(pixels() > 9)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.zeros(2, 3, 0, 8, dtype=torch.uint8), "dimensions is empty"),
        ([], "got an empty list"),
        (None, "got NoneType"),
        ("cat.png", "got str;\nopen files with PIL.Image.open"),
        (["cat.png"], "got str;\nopen files with PIL.Image.open"),
        (np.array([None]), r"got object \[1\]"),
        (torch.zeros(2, 7, 8, 8, dtype=torch.uint8), "three channels"),
        ([Image.new("RGB", (8, 8)), Image.new("RGB", (9, 8))], "same size"),
        ([Image.new("RGB", (8, 8)), np.zeros((3, 8, 8))], "got Image, ndarray"),
    ],
)
def test_what_is_no_batch_of_images_is_named(images: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        as_images(images)


def test_pillow_images_of_any_mode_are_taken() -> None:
    transparent = Image.new("RGBA", (8, 8), (9, 9, 9, 0))
    assert as_images([transparent]).eq(255).all()  # on white, as files are read
    assert as_images(Image.new("L", (8, 8), 7)).eq(7).all()
    deep = Image.fromarray(np.full((8, 8), 257 * 5, np.uint16))
    assert as_images([deep, deep]).eq(5).all()


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_predict_makes_images_square_as_files_are(fit: Any, tmp_path: Path) -> None:
    model, picture = classifier(), pillow(pixels())[0].resize((90, 60))
    model.fit = fit
    picture.save(tmp_path / "wide.png")
    stored = decode_image(tmp_path / "wide.png", model.image_size, fit=fit)[None]
    expected = model.predict(stored).probabilities
    planar = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    for given in (picture, [picture], planar, planar.numpy()):
        assert torch.equal(model.predict(given).probabilities, expected)
    several = model.predict([picture.resize((7, 9)), picture]).probabilities
    torch.testing.assert_close(several[1:], expected)
    assert not torch.allclose(several[:1], expected)


@pytest.mark.parametrize("severity", [3.0, "3", None, True, np.float32(3), torch.tensor(3.0)])
def test_a_severity_that_is_no_whole_number_is_rejected(severity: Any) -> None:
    with pytest.raises(ValueError, match=r"severity must be a whole number, got .*;\nuse sev"):
        corrupt(pixels(), "fog", severity)


@pytest.mark.parametrize("seed", [1.0, "1", None, True, np.float64(1)])
def test_a_seed_that_is_no_whole_number_is_rejected(seed: Any) -> None:
    with pytest.raises(ValueError, match="seed must be a whole number"):
        corrupt(pixels(), "fog", 1, seed=seed)
    with pytest.raises(ValueError, match="seed must be a whole number"):
        randaugment(pixels(), seed=seed)


def test_whole_numbers_of_other_libraries_are_the_same() -> None:
    expected = corrupt(pixels(), "gaussian_noise", 3, seed=5)
    for number in (np.int64, np.uint8, torch.tensor):
        found = corrupt(pixels(), "gaussian_noise", number(3), seed=number(5))
        assert torch.equal(found, expected)
    assert not torch.equal(corrupt(pixels(), "gaussian_noise", 3, seed=6), expected)


def test_an_index_that_is_no_whole_number_is_rejected() -> None:
    with pytest.raises(ValueError, match="index must contain whole numbers"):
        randaugment(pixels(), seed=0, index=torch.arange(N) / 2)


def test_a_reversed_array_is_taken() -> None:
    """OpenCV's BGR becomes RGB with a negative stride, which torch does not take."""
    images = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
    assert torch.equal(as_images(images[:, ::-1]), torch.from_numpy(images[:, ::-1].copy()))
