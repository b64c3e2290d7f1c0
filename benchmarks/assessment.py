"""An assessment: ours beside a plain one, on the same net and the same 1,000 images of 32 pixels.

The plain one corrupts image by image with the tests' oracle, on one core, and then classifies in
float32 batches of 500, on all cores. A cell is one corruption at one severity; ours examines the
clean images as well, which counts as no cell.
"""

from functools import partial

import numpy as np
import torch
from tests.oracles import ORACLES

from benchmarks.compare import compare
from benchmarks.cores import one_core
from benchmarks.pictures import pictures
from benchmarks.record import Content, Pair, add_group, begun, interleaved, timed
from ruggedize import generated_suite
from ruggedize.assess import AssessOptions, assess
from ruggedize.corruptions import CORRUPTIONS
from ruggedize.data import ImageSet
from ruggedize.models import AirbenchOptions, Classifier, create_model

NUM_IMAGES = 1_000
CHOSEN = ("gaussian_noise", "defocus_blur", "fog", "contrast", "jpeg_compression")
SEVERITIES = (3, 5)
NUM_CELLS = len(CHOSEN) * len(SEVERITIES)
BATCH_SIZE = 500
CLASSES = tuple("abcdefghij")
GROUP = "airbench, 32 px, 10 cells of 1,000 images"
PLAIN = "oracle on one core, float32 loop"
PAIRS: tuple[Pair, ...] = (("ruggedize", PLAIN, ()),)


def measure(rounds: int) -> dict[str, Content]:
    """Time both in turn."""
    content = begun(rounds) | {"threads": torch.get_num_threads()}
    images = pictures(32, NUM_IMAGES)
    model = create_model(AirbenchOptions(), CLASSES, 32, 32, seed=0, images=images).eval()
    contestants = {
        "ruggedize": timed(partial(ours, model, images)),
        PLAIN: timed(partial(plain, model, images)),
    }
    add_group(content, GROUP, interleaved(contestants, rounds), PAIRS)
    content["cells_per_second"] = {
        name: round(rates["images_per_second"] / NUM_IMAGES, 2)
        for name, rates in content["images_per_second"][GROUP].items()
    }
    return {"assessment": content}


def ours(model: Classifier, images: torch.Tensor) -> int:
    """Assess the model on the chosen cells."""
    index = torch.arange(len(images))
    image_set = ImageSet(images, index % len(CLASSES), CLASSES, index)
    options = AssessOptions(corruptions=CHOSEN, severities=SEVERITIES)
    assess({"model": model}, image_set, generated_suite(images), options)
    return NUM_CELLS * len(images)


@torch.no_grad()
def plain(model: Classifier, images: torch.Tensor) -> int:
    """Corrupt image by image, then classify batch by batch."""
    rng = np.random.RandomState(0)
    for name in CHOSEN:
        for severity in SEVERITIES:
            level = CORRUPTIONS[name].cifar[severity - 1]
            with one_core():
                pixels = [
                    ORACLES[name](image.permute(1, 2, 0).numpy(), level, rng) for image in images
                ]
            whole = np.stack(pixels).astype(np.uint8)
            for batch in torch.from_numpy(whole).permute(0, 3, 1, 2).split(BATCH_SIZE):
                model(batch).argmax(1)
    return NUM_CELLS * len(images)


if __name__ == "__main__":
    compare({"assessment": measure})
