"""One image of any size, mode and format, good or bad."""

import io
import os
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps, PngImagePlugin

from ruggedize.core.errors import UserError
from ruggedize.data import decode_image, list_images
from ruggedize.kernels.pictures import ORIENTATION, Fit
from tests.photographs import photograph

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encode(image: Image.Image, kind: str = "PNG", **settings) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def quarters(size: tuple[int, int] = (64, 64), mode: str = "RGB") -> Image.Image:
    """Red and green above, blue and white below."""
    width, height = size
    image = Image.new("RGB", size, RED)
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    image.paste(WHITE, (width // 2, height // 2, width, height))
    return image.convert(mode)


def corners(picture: torch.Tensor) -> list[list[int]]:
    return [picture[:, y, x].tolist() for y, x in ((2, 2), (2, -3), (-3, 2), (-3, -3))]


def assert_quarters(picture: torch.Tensor, tolerance: int = 12) -> None:
    difference = np.abs(np.array(corners(picture)) - np.array([RED, GREEN, BLUE, WHITE]))
    assert difference.max() <= tolerance, corners(picture)


@pytest.mark.parametrize("size", [16, 32, 48])
@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *[("PNG", mode) for mode in ("RGB", "RGBA", "P")],
        *[("JPEG", mode) for mode in ("RGB", "CMYK")],
        *[("WEBP", mode) for mode in ("RGB", "RGBA")],
        *[("BMP", mode) for mode in ("RGB", "P")],
    ],
)
def test_every_format_and_colour_mode_gives_the_same_picture(kind, mode, size):
    picture = decode_image(encode(quarters(mode=mode), kind), size)
    assert picture.shape == (3, size, size)
    assert picture.dtype == torch.uint8
    assert picture.is_contiguous()
    assert_quarters(picture)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_grey_becomes_three_equal_channels(kind):
    ramp = Image.fromarray(np.tile(np.arange(0, 256, 8, np.uint8), (32, 1)))
    picture = decode_image(encode(ramp, kind, **lossless(kind)), 32)
    assert torch.equal(picture[0], picture[1])
    assert torch.equal(picture[0], picture[2])
    assert (picture[0].int() - torch.arange(0, 256, 8)).abs().max() <= 8


def test_one_bit_and_sixteen_bit_grey_are_scaled_and_not_clipped():
    assert decode_image(encode(Image.new("1", (8, 8), 1)), 8).unique().tolist() == [255]
    levels = np.tile(np.linspace(0, 65535, 32).astype(np.uint16), (32, 1))
    picture = decode_image(encode(Image.fromarray(levels)), 32)
    assert torch.equal(picture[0, 0], torch.from_numpy(np.rint(levels[0] / 257).astype(np.uint8)))


def test_transparency_is_laid_on_white():
    hidden = Image.new("RGBA", (8, 8), (*RED, 0))
    half = Image.new("LA", (8, 8), (0, 128))
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([*RED, *BLUE])
    for kind in ("PNG", "WEBP"):
        assert decode_image(encode(hidden, kind, **lossless(kind)), 8).min() == 255
    assert decode_image(encode(half), 8).unique().tolist() == [127]
    assert decode_image(encode(palette, transparency=0), 8).min() == 255
    assert decode_image(encode(palette), 8)[:, 0, 0].tolist() == list(RED)


def lossless(kind: str) -> dict[str, bool]:
    return {"lossless": True} if kind == "WEBP" else {}


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_gives_its_first_frame(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN, BLUE)]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **lossless(kind))
    assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) == 3
    assert decode_image(data, 8)[:, 4, 4].tolist() == list(RED)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_turned_as_its_exif_data_say(kind, orientation):
    stored = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    image = quarters((96, 64))
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = image if stored is None else image.transpose(stored)
    assert_quarters(decode_image(encode(turned, kind, exif=exif), 32), tolerance=20)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_data_do_not_make_an_image_unreadable():
    assert_quarters(decode_image(encode(quarters(), "JPEG", exif=b"Exif\0\0MM\0*\0\1\2\3"), 32))


def test_the_middle_square_is_kept_and_small_pictures_come_unchanged():
    wide = Image.new("RGB", (300, 100), BLUE)
    wide.paste(RED, (100, 0, 200, 100))
    picture = decode_image(encode(wide), 20)
    assert torch.equal(picture[:, 10, 10], torch.tensor(RED, dtype=torch.uint8))
    assert (picture[0] > 200).all()
    grain = np.random.default_rng(0).integers(0, 256, (33, 32, 3)).astype(np.uint8)
    exact = decode_image(encode(Image.fromarray(grain)), 32)
    assert np.array_equal(exact.permute(1, 2, 0).numpy(), grain[:32])
    assert decode_image(encode(Image.new("RGB", (1, 900), GREEN)), 8)[1].min() == 255


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_shrinking_is_antialiased(kind):
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    picture = decode_image(encode(Image.fromarray(stripes), kind, **quality(kind)), 32)
    assert (picture.int() - 127).abs().max() <= 6


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_gives_what_its_whole_pixels_give(orientation: int, fit: Fit) -> None:
    """It is decoded at an eighth of its size, where its last pixels are covered in part."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    jpeg = encode(photograph(393, 385, 0), "JPEG", quality=90, exif=exif)
    whole = ImageOps.exif_transpose(Image.open(io.BytesIO(jpeg)))
    ours, exact = (decode_image(each, 24, fit=fit).int() for each in (jpeg, encode(whole)))
    difference = (ours - exact).abs().float()
    assert difference.mean() <= 1.0
    assert (difference <= 6).float().mean() >= 0.99


def quality(kind: str) -> dict[str, int]:
    return {"quality": 95} if kind == "JPEG" else {}


def bomb() -> bytes:
    """A PNG of some hundred bytes that claims 40,000 x 40,000 pixels."""
    small = encode(Image.new("1", (8, 8)))
    header = small[12:16] + (40_000).to_bytes(4, "big") * 2 + small[24:29]
    return small[:12] + header + zlib.crc32(header).to_bytes(4, "big") + small[33:]


def text_bomb() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * 80_000_000, zip=True)
    return encode(Image.new("L", (4, 4)), pnginfo=info)


BAD = {
    "empty": b"",
    "text": b"not an image",
    "cut.png": encode(quarters((256, 256)).effect_spread(90))[:900],
    "cut.jpg": encode(quarters((256, 256)).effect_spread(90), "JPEG")[:900],
    "bomb": bomb(),
    "gif": encode(quarters(), "GIF"),
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_what_is_no_whole_image_is_a_mistake_of_the_users(content, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    for source, name in ((path, "picture.png"), (content, "the image")):
        with pytest.raises(UserError, match=name) as caught:
            decode_image(source, 32)
        assert str(caught.value).count("\n") < 3


def test_a_pipe_in_a_folder_is_no_image_and_a_link_to_nowhere_is_named(tmp_path):
    (tmp_path / "inside").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "inside/a.png")
    os.mkfifo(tmp_path / "inside/b.png")
    (tmp_path / "c.png").symlink_to("nowhere")
    (tmp_path / "d.png").symlink_to("inside/a.png")
    (tmp_path / "e.png").symlink_to("inside")  # a folder
    assert [path.name for path in list_images(tmp_path)] == ["c.png", "d.png", "a.png"]


def test_a_compressed_text_bomb_is_rejected():
    with pytest.raises(UserError):
        decode_image(text_bomb(), 32)


def test_random_damage_never_escapes_as_another_error():
    rng = np.random.default_rng(0)
    wholes = [encode(quarters((40, 30)), kind) for kind in ("PNG", "JPEG", "WEBP", "BMP")]
    num_rejected = 0
    for number in range(400):
        data = np.frombuffer(wholes[number % 4], np.uint8).copy()
        data[rng.integers(0, len(data), 6)] = rng.integers(0, 256, 6)
        try:
            assert decode_image(data.tobytes(), 8).shape == (3, 8, 8)
        except UserError:
            num_rejected += 1
    assert 20 < num_rejected < 400
