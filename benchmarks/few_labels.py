"""Images for the recipe few-labels: `python -m benchmarks.few_labels DIR --cifar10 ROOT`.

DIR gets JPEG files of assorted sizes, enlarged from CIFAR-10: 100 labelled training images and 300
test images of each class, and 6,000 images without labels in the folder `unlabelled`.
"""

import argparse
from pathlib import Path

from benchmarks.four_classes import write_class
from ruggedize.data.cifar import CIFAR10, load_cifar

NUM_LABELLED, NUM_TEST = 100, 300  # per class
NUM_UNLABELLED = 6_000


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cifar10", type=Path, required=True, help="holds cifar-10-batches-bin")
    given = parser.parse_args()
    train, test = load_cifar(CIFAR10, given.cifar10)
    labelled = set[int]()
    for label, name in enumerate(train.classes):
        chosen = (train.labels == label).nonzero()[:NUM_LABELLED, 0].tolist()
        unseen = (test.labels == label).nonzero()[:NUM_TEST, 0].tolist()
        write_class(given.folder / "train" / name, train, chosen)
        write_class(given.folder / "test" / name, test, unseen)
        labelled.update(chosen)
    others = [position for position in range(len(train)) if position not in labelled]
    write_class(given.folder / "unlabelled", train, others[:NUM_UNLABELLED])


if __name__ == "__main__":
    main()
