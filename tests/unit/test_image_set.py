"""Images and what belongs to them stay together."""

import pytest
import torch

from ruggedize.data import ImageSet


def make(**changes):
    parts = {
        "images": torch.arange(4, dtype=torch.uint8)[:, None, None, None].expand(4, 3, 2, 2),
        "labels": torch.tensor([0, 1, -1, 1]),
        "classes": ("a", "b"),
        "index": torch.tensor([5, 6, 7, 8]),
    }
    return ImageSet(**{**parts, **changes})


def test_taking_keeps_images_labels_and_indices_together():
    chosen = make().take([3, 0])
    assert len(chosen) == 2
    assert chosen.images[:, 0, 0, 0].tolist() == [3, 0]
    assert chosen.labels.tolist() == [1, 0]
    assert chosen.index.tolist() == [8, 5]
    assert len(make().take([])) == 0


def test_selecting_keeps_the_classes_and_what_was_left_out():
    chosen = make(left_out=("bad.png",)).select([3, 0])
    assert (chosen.classes, chosen.left_out) == (("a", "b"), ("bad.png",))
    assert chosen.index.tolist() == [8, 5]


def test_taking_copies():
    whole = make()
    whole.take(torch.tensor([0])).images.fill_(9)
    assert whole.images[0, 0, 0, 0] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": torch.zeros(4, 3, 2, 2)}, "uint8"),
        ({"images": torch.zeros(4, 1, 2, 2, dtype=torch.uint8)}, "convert to RGB"),
        ({"labels": torch.tensor([0, 1])}, "same length, got 4, 2 and 4"),
        ({"labels": torch.tensor([0, 1, 2, 0])}, r"0\.\.1, got 0\.\.2;\nlist every class"),
    ],
)
def test_parts_that_do_not_fit_are_rejected(changes, message):
    with pytest.raises((ValueError, TypeError), match=f"{message}|Type-check error"):
        make(**changes)
