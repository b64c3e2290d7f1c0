"""Random-resized crops against PIL, by way of torchvision's and timm's transforms."""

import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from ruggedize.data import FileList, Originals, Stored
from ruggedize.kernels.centre_crop import resized_middle
from ruggedize.kernels.pictures import ORIENTATION
from ruggedize.kernels.resample import Boxes, resample, resample_pixels
from ruggedize.views import from_files
from ruggedize.views.from_files import Request, views_of
from ruggedize.views.options import ViewOptions
from ruggedize.views.pairs import ViewMaker
from ruggedize.views.random_crop import Rule, crop_randomly, fill_boxes, new_boxes, rule_of
from tests.peers import peer
from tests.photographs import photograph
from tests.single_operation import from_pil, to_pil

STREAM = np.uint64(5)
SIZES = [(40, 56), (97, 61), (33, 130)]  # height, width
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@pytest.fixture(scope="module")
def timm_code() -> Iterator[ModuleType]:
    yield from peer("timm.data.transforms")


@pytest.fixture(scope="module")
def timm_factory() -> Iterator[ModuleType]:
    yield from peer("timm.data.transforms_factory")


@pytest.fixture(scope="module")
def torchvision_code() -> Iterator[ModuleType]:
    yield from peer("torchvision.transforms.v2")


def grain(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (6, 3, height, width), np.uint8)


def drawn(n: int, size: tuple[int, int], rule: Rule) -> Boxes:
    boxes = new_boxes(n)
    fill_boxes(STREAM, np.arange(n), size, rule, boxes, (0, n))
    return boxes


def random_boxes(n: int, height: int, width: int, cubic: bool) -> Boxes:
    rng = np.random.default_rng(width)
    left, top = rng.integers(0, width - 4, n), rng.integers(0, height - 4, n)
    columns, rows = rng.integers(1, width - left + 1), rng.integers(1, height - top + 1)
    sides = [side.astype(float) for side in (left, top, columns, rows)]
    return Boxes(*sides, np.zeros(n, bool), np.full(n, cubic))


def cropped_by_pil(images: np.ndarray, boxes: Boxes) -> list[Image.Image]:
    corners = zip(boxes.left, boxes.top, boxes.width, boxes.height, strict=True)
    return [
        image.crop((int(x), int(y), int(x + w), int(y + h)))
        for image, (x, y, w, h) in zip(to_pil(images), corners, strict=True)
    ]


def greatest(ours: np.ndarray, theirs: np.ndarray) -> int:
    return int(np.abs(ours.astype(int) - theirs).max())


@pytest.mark.parametrize("target", [(24, 24), (64, 64), (7, 90)])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_bilinear_is_pils_within_a_level(height: int, width: int, target: tuple[int, int]) -> None:
    images = grain(height, width)
    boxes = random_boxes(len(images), height, width, cubic=False)
    ours = resample(torch.from_numpy(images), target, boxes).numpy()
    crops = cropped_by_pil(images, boxes)
    theirs = [crop.resize(target[::-1], Image.Resampling.BILINEAR) for crop in crops]
    assert greatest(ours, from_pil(theirs)) <= 1
    other = [crop.resize(target[::-1], Image.Resampling.BOX) for crop in crops]
    assert greatest(ours, from_pil(other)) > 1  # must differ


@pytest.mark.parametrize("target", [(24, 24), (64, 64), (7, 90)])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_bicubic_is_pils_vertical_then_horizontal_pass_within_a_level(
    height: int, width: int, target: tuple[int, int]
) -> None:
    images = grain(height, width)
    boxes = random_boxes(len(images), height, width, cubic=True)
    ours = resample(torch.from_numpy(images), target, boxes).numpy()
    how = Image.Resampling.BICUBIC
    theirs = [
        crop.resize((crop.width, target[0]), how).resize(target[::-1], how)
        for crop in cropped_by_pil(images, boxes)
    ]
    assert greatest(ours, from_pil(theirs)) <= 1


def test_bicubic_of_photographs_is_pils_within_a_level_but_for_few_values() -> None:
    images = from_pil([photograph(300, 225, seed) for seed in range(6)])
    boxes = random_boxes(6, 225, 300, cubic=True)
    ours = resample(torch.from_numpy(images), (96, 96), boxes).numpy()
    crops = cropped_by_pil(images, boxes)
    theirs = from_pil([crop.resize((96, 96), Image.Resampling.BICUBIC) for crop in crops])
    assert (np.abs(ours.astype(int) - theirs) <= 1).mean() >= 0.999


def test_interleaved_pixels_give_what_planes_give() -> None:
    images = grain(41, 67)
    boxes = random_boxes(len(images), 41, 67, cubic=True)
    boxes.flip[::2] = True
    planes = resample(torch.from_numpy(images), (32, 32), boxes).numpy()
    for number, image in enumerate(to_pil(images)):
        out = np.empty((3, 32, 32), np.uint8)
        box = tuple(float(side[number]) for side in boxes[:4])
        flip, cubic = boxes.flip[number], boxes.cubic[number]
        resample_pixels(np.asarray(image), out, box, flip, cubic)
        assert np.array_equal(out, planes[number])


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("whose", ["torchvision", "timm"])
def test_crops_are_those_of_peers_with_the_drawn_boxes(
    whose: str, interpolation: str, timm_code: ModuleType, torchvision_code: ModuleType
) -> None:
    options = ViewOptions(crop_mode="random-resized", crop=48, interpolation=interpolation)
    images = from_pil([photograph(200, 150, seed) for seed in range(12)])
    rule = rule_of(options)
    ours = crop_randomly(torch.from_numpy(images), np.arange(12), STREAM, 48, rule).numpy()
    boxes = drawn(12, (200, 150), rule)
    for number, image in enumerate(to_pil(images)):
        left, top, width, height = (int(side[number]) for side in boxes[:4])
        where = top, left, height, width
        if whose == "torchvision":
            how = torchvision_code.InterpolationMode(interpolation)
            crop = torchvision_code.functional.resized_crop(image, *where, [48, 48], how)
        else:
            crop_by_timm = timm_code.RandomResizedCropAndInterpolation(48, (0.08, 1.0))
            crop_by_timm.interpolation = timm_code.str_to_interp_mode(interpolation)
            crop_by_timm.get_params = lambda *_, found=where: found
            crop = crop_by_timm(image)
        theirs = from_pil([crop])[0]
        if boxes.flip[number]:
            theirs = theirs[..., ::-1]
        difference = np.abs(ours[number].astype(int) - theirs)
        assert (difference <= 1).mean() >= 0.999
    assert 0 < boxes.flip.sum() < 12, "one of the two was not compared"


@pytest.mark.parametrize("size", [(200, 150), (60, 90), (300, 40)])
def test_boxes_are_distributed_as_those_of_the_peers(
    size: tuple[int, int], timm_code: ModuleType, torchvision_code: ModuleType
) -> None:
    n, (width, height) = 3000, size
    ours = drawn(n, size, rule_of(ViewOptions(crop_mode="random-resized", crop=8)))
    picture, blank = Image.new("RGB", size), torch.zeros(1, height, width)
    theirs = torchvision_code.RandomResizedCrop(8)
    by_timm = timm_code.RandomResizedCropAndInterpolation(8, (0.08, 1.0))
    torch.manual_seed(0)
    params = [theirs.make_params([blank]) for _ in range(n)]
    found = {
        "torchvision": np.array(
            [[p[k] for k in ("left", "top", "width", "height")] for p in params]
        ),
        "timm": np.array(
            [
                np.take(by_timm.get_params(picture, by_timm.scale, by_timm.ratio), [1, 0, 3, 2])
                for _ in range(n)
            ]
        ),
    }
    for name, theirs_drawn in found.items():
        for place, side in enumerate(ours[:4]):
            test = stats.ks_2samp(side, theirs_drawn[:, place])
            assert test.statistic < 1.95 * math.sqrt(2 / n), f"{name}: {place}"  # 0.1 % by chance
    other = drawn(n, size, Rule((0.3, 1.0), (3 / 4, 4 / 3), 0.5, 0.0))
    assert stats.ks_2samp(ours.width, other.width).statistic > 0.1  # must differ


def test_area_and_aspect_follow_their_formulas() -> None:
    n = 4000
    boxes = drawn(n, (1000, 1000), Rule((0.2, 0.4), (0.5, 2.0), 0.5, 0.5))
    area = boxes.width * boxes.height / 1e6
    log_ratio = np.log(boxes.width / boxes.height)
    assert stats.kstest(area, stats.uniform(0.2, 0.2).cdf).statistic < 1.95 / math.sqrt(n)
    expected = stats.uniform(-math.log(2), 2 * math.log(2))
    assert stats.kstest(log_ratio, expected.cdf).statistic < 1.95 / math.sqrt(n)
    left = (boxes.left + 0.5) / (1000 - boxes.width + 1)
    assert stats.kstest(left, stats.uniform().cdf).statistic < 1.95 / math.sqrt(n)
    assert boxes.flip.mean() == pytest.approx(0.5, abs=0.04)
    assert boxes.cubic.mean() == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("size", [(10, 400), (400, 10)])
def test_where_no_box_fits_the_middle_is_taken_as_torchvision_does(
    size: tuple[int, int], torchvision_code: ModuleType
) -> None:
    rule = Rule((0.9, 1.0), (3 / 4, 4 / 3), 0.0, 0.0)
    boxes = drawn(20, size, rule)
    blank = torch.zeros(1, size[1], size[0])
    theirs = torchvision_code.RandomResizedCrop(8, scale=(0.9, 1.0)).make_params([blank])
    for name in ("left", "top", "width", "height"):
        assert set(getattr(boxes, name)) == {theirs[name]}


@pytest.mark.parametrize("interpolation", FILTERS)
def test_test_views_are_those_of_peers(
    interpolation: str, timm_factory: ModuleType, torchvision_code: ModuleType
) -> None:
    images = from_pil([photograph(90, 90, seed) for seed in range(4)])
    ours = resized_middle(torch.from_numpy(images), 56, 0.875, interpolation).numpy()
    factory = timm_factory.transforms_imagenet_eval
    evaluate = factory(56, crop_pct=0.875, interpolation=interpolation, use_prefetcher=True)
    theirs = np.stack([np.asarray(evaluate(image)) for image in to_pil(images)])
    assert (np.abs(ours.astype(int) - theirs) <= 1).mean() >= 0.999
    how = torchvision_code.InterpolationMode(interpolation)
    both = [torchvision_code.Resize(64, how), torchvision_code.CenterCrop(56)]
    theirs = from_pil([torchvision_code.Compose(both)(image) for image in to_pil(images)])
    assert (np.abs(ours.astype(int) - theirs) <= 1).mean() >= 0.999
    whole = resized_middle(torch.from_numpy(images), 56, 1.0, interpolation).numpy()
    assert np.abs(ours.astype(int) - whole).mean() > 5  # must differ


@pytest.mark.parametrize("turned", range(1, 9))
@pytest.mark.parametrize("size", [(1200, 900), (1025, 777)], ids=str)
def test_decoding_a_jpeg_smaller_changes_little(
    size: tuple[int, int], turned: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = turned
    files = []
    for number in range(6):
        files.append(tmp_path / f"{number}.jpg")
        photograph(*size, number).save(files[-1], quality=90, exif=exif)
    listed = FileList(str(file).encode() for file in files)
    originals = Originals(listed, Stored(64))
    options = ViewOptions(crop_mode="random-resized", crop=64, crop_scale=(0.3, 1.0))
    request = Request(ViewMaker(options, image_size=64, seed=0), "clean", 0)
    (reduced,) = views_of(originals, torch.arange(6), [request])
    monkeypatch.setattr(from_files, "JPEG_SCALES", ())
    (whole,) = views_of(originals, torch.arange(6), [request])
    difference = (reduced.int() - whole.int()).abs().float()
    assert 0 < difference.mean() <= 1.0
    assert (difference <= 6).float().mean() >= 0.99
