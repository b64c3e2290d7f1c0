"""Images and weights of the fine-tuning study: `python -m benchmarks.four_classes DIR`.

DIR gets JPEG files of assorted sizes, enlarged from CIFAR-10, of six classes (`six`) and of four
others with 50 and 200 training images per class (`four-50`, `four-200`), and the weights of a
network of timm that was trained on the six classes (`six-classes.safetensors`).
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from ruggedize import load_data, load_recipe, train_teacher
from ruggedize.data import ImageSet
from ruggedize.data.cifar import CIFAR10, load_cifar
from ruggedize.models import export_state_dict

FOUR = ("automobile", "dog", "frog", "horse")
SIZES = (50, 200)  # training images per class
NUM_PRETRAINING, NUM_TEST = 5_000, 500  # per class
SIDES = (48, 113)  # pixels, drawn for each image
QUALITIES = (80, 96)  # of JPEG
PRETRAINED = "six-classes.safetensors"
PRETRAINING = {
    "model": {"pretrained": False},
    "epochs": 16,
    "probe_epochs": 0,
    "batch_size": 128,
    "layer_decay": 1.0,
    "optimiser": {"lr": 2e-3},
    "averaging": {"decay": 0.99},
}


def main() -> None:
    """Write the folders, then train the network on the six classes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cifar10", type=Path, required=True, help="holds cifar-10-batches-bin")
    given = parser.parse_args()
    write_images(given.folder, given.cifar10)
    recipe = load_recipe(
        Path(__file__).parent / "studies" / "recipes" / "four-classes.toml",
        tables=[{"teacher": PRETRAINING}],
    )
    data = load_data(given.folder / "six", image_size=64, validation=0.02)
    model = train_teacher(data, recipe.views, recipe.teacher, given.folder / "six-training")
    export_state_dict(model, given.folder / PRETRAINED)


def write_images(folder: Path, cifar10: Path) -> None:
    """Write the training images of six classes, and images of the four others."""
    train, test = load_cifar(CIFAR10, cifar10)
    for label, name in enumerate(train.classes):
        chosen = (train.labels == label).nonzero()[:, 0]
        if name not in FOUR:
            write_class(folder / "six" / "train" / name, train, chosen[:NUM_PRETRAINING].tolist())
            continue
        unseen = (test.labels == label).nonzero()[:NUM_TEST, 0]
        for number in SIZES:
            place = folder / f"four-{number}"
            write_class(place / "train" / name, train, chosen[:number].tolist())
            write_class(place / "test" / name, test, unseen.tolist())


def write_class(folder: Path, images: ImageSet, positions: list[int]) -> None:
    """Write images as JPEG files; size and quality depend on the position only."""
    folder.mkdir(parents=True, exist_ok=True)
    for position in positions:
        rng = np.random.default_rng(position)
        side, quality = int(rng.integers(*SIDES)), int(rng.integers(*QUALITIES))
        pixels = images.images[position : position + 1][0].permute(1, 2, 0).numpy()
        picture = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
        picture.save(folder / f"{position:05d}.jpg", quality=quality)


if __name__ == "__main__":
    main()
