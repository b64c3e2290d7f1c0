"""RandAugment and geometry: ours beside timm, torchvision, kornia and Keras on the same images.

Ours gives every image its own operations. So do timm and torchvision, image by image, and Keras'
layer in a map of tf.data; kornia draws one sequence of operations for a whole batch.
"""

from collections.abc import Callable
from functools import partial

import torch
from PIL import Image

from benchmarks.compare import compare
from benchmarks.compilation import compilation
from benchmarks.cores import on_one_core
from benchmarks.operators import name_missing_operators
from benchmarks.pictures import pictures
from benchmarks.record import Content, Pair, Rates, add_group, begun, interleaved, timed
from benchmarks.turns import working
from ruggedize import randaugment
from ruggedize.views import ViewMaker, ViewOptions

SIZES = {32: 2_000, 72: 1_000}  # side in pixels: images a round
FASTER = 10  # ours gets as many times more images, so that a round is long enough to be timed
BATCH_SIZE = 128
KERAS_BATCHES, GEOMETRY_BATCHES = 30, 300  # a turn, in tf.data
PEERS = ("timm", "torchvision", "kornia", "keras", "tensorflow")
GEOMETRY = ViewOptions(resize=96, crop=72)
COMPILE = """
import time, torch
from ruggedize.views import AdditiveNoiseOptions, RandAugmentOptions, RandomErasingOptions
from ruggedize.views import ViewMaker, ViewOptions
images, index = torch.zeros(2, 3, 72, 72, dtype=torch.uint8), torch.arange(2)
started = time.perf_counter()
for semantics in ("tf", "tf-2021", "torchvision", "timm", "timm-inc1"):
    noise = (
        RandAugmentOptions(semantics=semantics), RandomErasingOptions(), AdditiveNoiseOptions()
    )
    for geometry in ({"resize": 96, "crop": 72}, {"pad": 4}):
        maker = ViewMaker(ViewOptions(noise=noise, **geometry), image_size=72, seed=0)
        maker.pair(images, index, 0)
maker = ViewMaker(ViewOptions(resize=96), image_size=72, seed=0)
maker.test(images)
print(time.perf_counter() - started)
"""
TIMM = "timm rand-m9-n2 (PIL, one core)"
TORCHVISION = "torchvision v2 (PIL, one core)"
TENSORS = "torchvision v2 (tensor by tensor, one core)"
KORNIA = "kornia (one draw a batch of 128, all cores)"
KERAS = "Keras' layer in tf.data (all cores)"
KERAS_GEOMETRY = "tf.image in tf.data (all cores)"
PAIRS: tuple[Pair, ...] = (
    ("ruggedize timm, one core", TIMM, ("timm",)),
    ("ruggedize torchvision, one core", TORCHVISION, ("torchvision",)),
    ("ruggedize torchvision, one core", TENSORS, ("torchvision",)),
    ("ruggedize tf", KORNIA, ("kornia",)),
    ("ruggedize tf", KERAS, ("tensorflow", "keras")),
)


def measure(rounds: int) -> dict[str, Content]:
    """Measure RandAugment at both sizes, the geometry, and the first compilation of all views."""
    content = begun(rounds, PEERS) | {"threads": torch.get_num_threads()}
    for size, num_images in SIZES.items():
        rates = augmented(size, num_images, rounds, content["peers"])
        add_group(content, f"{size} px", rates, PAIRS)
    rates = cut(rounds, content["peers"])
    pairs = [("ruggedize", KERAS_GEOMETRY, ("tensorflow", "keras"))]
    add_group(content, "flip, resize 32 to 96, crop 72", rates, pairs)
    content["seconds"] = compilation(COMPILE)
    return {"randaugment": content}


def augmented(size: int, num_images: int, rounds: int, versions: dict[str, str]) -> Rates:
    """Time RandAugment at one size."""
    images = pictures(size, num_images)
    many = images.repeat(FASTER, 1, 1, 1)
    works: dict[str, Callable[[], int]] = {}
    for semantics in ("tf", "timm", "torchvision"):
        works[f"ruggedize {semantics}"] = partial(ours, many, semantics)
    for semantics in ("timm", "torchvision"):
        alone = on_one_core(partial(ours, many, semantics))
        works[f"ruggedize {semantics}, one core"] = alone
    works |= peers(images, versions)
    in_tf_data = {KERAS: f"keras-randaugment-{size}"} if can_run_keras(versions) else {}
    contestants = {name: timed(work, warmed=True) for name, work in works.items()}
    with working(in_tf_data, KERAS_BATCHES, rounds) as others:
        return interleaved(contestants | others, rounds)


def ours(images: torch.Tensor, semantics: str) -> int:
    """Augment on the cores that this process may use."""
    randaugment(images, seed=0, semantics=semantics)
    return len(images)


def peers(images: torch.Tensor, versions: dict[str, str]) -> dict[str, Callable[[], int]]:
    """Return the peers that are installed and work in this process."""
    name_missing_operators()
    pil = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    found: dict[str, Callable[[], int]] = {}

    def one_by_one(transform: Callable, items: list) -> Callable[[], int]:
        return on_one_core(lambda: len([transform(item) for item in items]))

    if versions["timm"] != "missing":
        from timm.data.auto_augment import rand_augment_transform

        found[TIMM] = one_by_one(rand_augment_transform("rand-m9-n2", {}), pil)
    if versions["torchvision"] != "missing":
        from torchvision.transforms import v2

        found[TORCHVISION] = one_by_one(v2.RandAugment(2, 9), pil)
        found[TENSORS] = one_by_one(v2.RandAugment(2, 9), list(images))
    if versions["kornia"] != "missing":
        found[KORNIA] = partial(by_kornia, images.float() / 255)
    return found


def by_kornia(images: torch.Tensor) -> int:
    """Augment batch by batch; the images are float already, which costs kornia nothing here."""
    from kornia.augmentation.auto import RandAugment

    augment = RandAugment(n=2, m=27)  # of 30: nine tenths
    with torch.no_grad():
        for batch in images.split(BATCH_SIZE):
            augment(batch)
    return len(images)


def cut(rounds: int, versions: dict[str, str]) -> Rates:
    """Time the clean view of the Keras example."""
    images = pictures(32, SIZES[32]).repeat(FASTER, 1, 1, 1)
    index = torch.arange(len(images))
    maker = ViewMaker(GEOMETRY, image_size=32, seed=0)
    contestants = {"ruggedize": timed(lambda: len(maker.clean(images, index, 0)), warmed=True)}
    in_tf_data = {KERAS_GEOMETRY: "keras-geometry"} if can_run_keras(versions) else {}
    with working(in_tf_data, GEOMETRY_BATCHES, rounds) as others:
        return interleaved(contestants | others, rounds)


def can_run_keras(versions: dict[str, str]) -> bool:
    """Return whether Keras and TensorFlow are both installed."""
    return "missing" not in (versions["keras"], versions["tensorflow"])


if __name__ == "__main__":
    compare({"randaugment": measure})
