"""Views at photograph size: from JPEG files to finished batches, beside timm's and torchvision's.

Every contestant decodes, crops, resizes, flips and applies RandAugment, with two worker processes.
The second group compares the modules of `ruggedize.transforms` with torchvision v2, in a DataLoader
of decoded images. Our batches stay uint8, because the classifier normalises them; the peers end
with `PILToTensor`, so that no contestant converts to float.
"""

import io
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.operators import name_missing_operators
from benchmarks.record import Content, Pair, Rates, add_group, begun, interleaved, timed
from ruggedize.data import DataOptions, ImageSet, load_splits
from ruggedize.transforms import RandAugment, RandomResizedCrop
from ruggedize.views import RandAugmentOptions, Request, ViewMaker, ViewOptions, view_batches

NUM_IMAGES, BATCH_SIZE, NUM_WORKERS, SIDE = 480, 32, 2, 224
SIZES = ((500, 375), (640, 480), (375, 500), (1024, 768), (1600, 1200), (3000, 2000))  # assorted
SHARES = (6, 4, 3, 3, 2, 1)  # how many of each size
DISTINCT = 57  # pictures; the other files repeat them
PEERS = ("timm", "torchvision")
OURS, FLOOR = "ruggedize", "decoding alone (Pillow)"
TIMM, TORCHVISION = "timm's transform in a DataLoader", "torchvision v2 in a DataLoader"
MODULES, V2 = "ruggedize.transforms in collate_fn", "torchvision v2, image by image"
GROUP = f"JPEG files of assorted sizes to {SIDE} px, decode, crop, flip, RandAugment"
IN_MEMORY = f"decoded 500 x 375 px to {SIDE} px, crop and RandAugment, {NUM_WORKERS} workers"


def measure(rounds: int, num_images: int = NUM_IMAGES) -> dict[str, Content]:
    """Compare the whole path, then the modules alone."""
    name_missing_operators()
    torch.set_num_threads(1)
    content = begun(rounds, PEERS) | {"worker processes": NUM_WORKERS, "sizes": dict(sizes())}
    with tempfile.TemporaryDirectory() as folder:
        files = write_photographs(Path(folder), num_images)
        rates = from_files(Path(folder), files, rounds, content["peers"])
    pairs: list[Pair] = [(OURS, TIMM, ("timm",)), (OURS, TORCHVISION, ("torchvision",))]
    add_group(content, GROUP, rates, [*pairs, (OURS, FLOOR, ())])
    rates = in_memory(num_images, rounds, content["peers"])
    add_group(content, IN_MEMORY, rates, [(MODULES, V2, ("torchvision",))])
    return {"photographs": content}


def sizes() -> list[tuple[str, int]]:
    """Return how many of nineteen files have each size."""
    return [(f"{w} x {h}", share) for (w, h), share in zip(SIZES, SHARES, strict=True)]


def picture(width: int, height: int, seed: int) -> Image.Image:
    """Return a picture with detail at every scale, as a photograph has."""
    rng = np.random.default_rng(seed)
    canvas = np.full((height, width, 3), 128, np.float32)
    for side in (4, 16, 64, 256):
        grain = rng.integers(0, 256, (side, side, 3), np.uint8)
        layer = Image.fromarray(grain).resize((width, height), Image.Resampling.BICUBIC)
        canvas += (np.asarray(layer, np.float32) - 128) * (1.2 / side**0.3)
    canvas += rng.normal(0, 4, canvas.shape)
    return Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))


def write_photographs(root: Path, num_images: int) -> list[Path]:
    """Write JPEG files of two classes; the distinct pictures repeat."""
    order = [size for size, share in zip(SIZES, SHARES, strict=True) for _ in range(share)]
    encoded: list[bytes] = []
    files: list[Path] = []
    for name in ("first", "second"):
        (root / "train" / name).mkdir(parents=True)
    (root / "test").symlink_to("train")
    for number in range(num_images):
        if number < DISTINCT:
            buffer = io.BytesIO()
            picture(*order[number % len(order)], number).save(buffer, "JPEG", quality=90)
            encoded.append(buffer.getvalue())
        path = root / "train" / ("first", "second")[number % 2] / f"{number:05}.jpg"
        path.write_bytes(encoded[number % len(encoded)])
        files.append(path)
    return files


def from_files(root: Path, files: list[Path], rounds: int, versions: dict[str, str]) -> Rates:
    """Time the whole path, from files to batches."""
    works: dict[str, Callable[[], int]] = {
        OURS: partial(ours, streamed(root)),
        FLOOR: partial(by_loader, Files(files, decoded_alone)),
    }
    if versions["timm"] != "missing":
        works[TIMM] = partial(by_loader, Files(files, timm_transform()))
    if versions["torchvision"] != "missing":
        works[TORCHVISION] = partial(by_loader, Files(files, torchvision_transform()))
    return interleaved({name: timed(work) for name, work in works.items()}, rounds)


def streamed(root: Path) -> ImageSet:
    """Load the folder as a streamed set with two workers."""
    options = DataOptions(
        name=str(root), image_size=SIDE, validation=2, streaming=True, workers=NUM_WORKERS
    )
    return load_splits(options).train


def ours(images: ImageSet) -> int:
    """Make the noisy views of all images."""
    noise = (RandAugmentOptions(semantics="timm"),)
    options = ViewOptions(crop_mode="random-resized", crop=SIDE, noise=noise)
    maker = ViewMaker(options, image_size=SIDE, seed=0)
    positions = np.array_split(np.arange(len(images)), -(-len(images) // BATCH_SIZE))
    requests = [[Request(maker, "noisy", 0)]] * len(positions)
    for batch in view_batches(images, positions, requests):
        maker.noisy(batch.images, batch.index, 0)
    return len(images)


class Files(Dataset[Tensor]):
    """Files that are opened and transformed in a worker process."""

    def __init__(self, files: Sequence[Path], transform: Callable[[Image.Image], Tensor]) -> None:
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> Tensor:
        with Image.open(self.files[number]) as image:
            return self.transform(image.convert("RGB"))


def by_loader(dataset: Dataset[Tensor], collate: Callable | None = None) -> int:
    """Run a DataLoader over all images."""
    loader = DataLoader(dataset, BATCH_SIZE, num_workers=NUM_WORKERS, collate_fn=collate)
    return sum(len(batch) for batch in loader)


def decoded_alone(image: Image.Image) -> Tensor:
    """Return an empty tensor: decoding alone is the least that any loader has to do."""
    return torch.empty(0)


def timm_transform() -> Callable[[Image.Image], Tensor]:
    """Return timm's training transform, without the conversion to float."""
    from timm.data.auto_augment import rand_augment_transform
    from timm.data.transforms import RandomResizedCropAndInterpolation
    from torchvision.transforms import Compose, PILToTensor, RandomHorizontalFlip

    crop = RandomResizedCropAndInterpolation(SIDE, interpolation="bilinear")
    augment = rand_augment_transform("rand-m9-n2", {})
    return Compose([crop, RandomHorizontalFlip(), augment, PILToTensor()])


def torchvision_transform() -> Callable[[Image.Image], Tensor]:
    """Return torchvision's training transform, without the conversion to float."""
    from torchvision.transforms import v2

    steps = [v2.RandomResizedCrop(SIDE), v2.RandomHorizontalFlip(), v2.RandAugment(2, 9)]
    return v2.Compose([*steps, v2.PILToTensor()])


def in_memory(num_images: int, rounds: int, versions: dict[str, str]) -> Rates:
    """Time the modules in a collate_fn, and torchvision's image by image."""
    images = [picture(*SIZES[0], number) for number in range(DISTINCT)]
    images = [images[number % DISTINCT] for number in range(num_images)]
    works = {MODULES: partial(by_loader, Held(images), Collate())}
    if versions["torchvision"] != "missing":
        works[V2] = partial(by_loader, Held(images, without_flip()))
    return interleaved({name: timed(work) for name, work in works.items()}, rounds)


def without_flip() -> Callable[[Image.Image], Tensor]:
    """Return torchvision's crop and RandAugment."""
    from torchvision.transforms import v2

    return v2.Compose([v2.RandomResizedCrop(SIDE), v2.RandAugment(2, 9), v2.PILToTensor()])


class Held(Dataset):
    """Decoded images, transformed one by one if there is a transform."""

    def __init__(self, images: Sequence[Image.Image], transform: Callable | None = None) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> Image.Image | Tensor:
        image = self.images[number]
        return self.transform(image) if self.transform else image


class Collate:
    """Crops and augments a batch."""

    def __init__(self) -> None:
        self.crop, self.augment = RandomResizedCrop(SIDE), RandAugment(semantics="torchvision")

    def __call__(self, images: list[Image.Image]) -> Tensor:
        """Return the batch."""
        return self.augment(self.crop(images))
