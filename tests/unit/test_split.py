"""Dividing a set: complete, disjoint, balanced and the same for all time."""

import numpy as np
import pytest
import torch

from ruggedize.core.errors import UserError
from ruggedize.data import DataOptions
from ruggedize.data.image_set import ImageSet
from ruggedize.data.split import apportion, hold_out


def labelled(labels: list[int]) -> ImageSet:
    n = len(labels)
    images = torch.arange(n).to(torch.uint8)[:, None, None, None].expand(n, 3, 2, 2)
    classes = tuple("abcdefghij")
    return ImageSet(images, torch.tensor(labels), classes, torch.arange(100, 100 + n))


def test_no_image_is_lost_or_in_both_parts():
    whole = labelled([0, 1, 2] * 20)
    for amount, choice in ((7, "stratified"), (0.25, "stratified"), (7, "last"), (0.25, "last")):
        kept, held_out = hold_out(whole, amount, choice)
        both = torch.cat([kept.index, held_out.index])
        assert len(held_out) == (7 if amount == 7 else 15)
        assert torch.equal(both.sort().values, whole.index)
        assert torch.equal(held_out.index, held_out.index.sort().values)


def test_an_image_keeps_its_label_and_index():
    _, held_out = hold_out(labelled([0, 1, 2, 3] * 10), 8)
    assert torch.equal(held_out.images[:, 0, 0, 0].long() + 100, held_out.index)
    assert torch.equal((held_out.index - 100) % 4, held_out.labels)


def test_every_class_is_held_out_in_proportion():
    labels = [0] * 60 + [1] * 30 + [2] * 10
    _, held_out = hold_out(labelled(labels), 20)
    assert held_out.labels.bincount().tolist() == [12, 6, 2]


def test_the_last_are_the_last():
    kept, held_out = hold_out(labelled([0, 1] * 10), 3, "last")
    assert held_out.index.tolist() == [117, 118, 119]
    assert kept.index.tolist() == list(range(100, 117))


def test_the_stratified_choice_never_changes():
    _, held_out = hold_out(labelled([0, 1, 2] * 10), 6)
    assert (held_out.index - 100).tolist() == [7, 10, 20, 24, 26, 27], (
        "the fixed split has changed: every published figure would speak of other images"
    )


def test_unlabelled_images_can_be_held_out():
    kept, held_out = hold_out(labelled([-1] * 10), 0.2)
    assert (len(kept), len(held_out)) == (8, 2)


def test_every_class_keeps_an_image():
    shares = apportion(np.array([1, 1, 1, 7]), 5)
    assert shares.tolist() == [0, 0, 0, 5]
    with pytest.raises(UserError, match="a class empty;\nhold out fewer"):
        apportion(np.array([1, 1, 1]), 1)


def test_apportioning_gives_the_exact_count():
    rng = np.random.default_rng(0)
    for _ in range(200):
        sizes = rng.integers(2, 50, rng.integers(1, 12))
        count = int(rng.integers(1, sizes.sum() - len(sizes) + 1))
        shares = apportion(sizes, count)
        assert shares.sum() == count
        assert (shares >= 0).all()
        assert (shares < sizes).all()


@pytest.mark.parametrize("amount", [0, -1, 0.0, 1.0, 1.5, True, "5", None])
def test_an_amount_that_is_neither_count_nor_share_is_rejected(amount):
    with pytest.raises(ValueError, match=r"a count \(500\) or a fraction between 0 and 1"):
        DataOptions(name="digits", validation=amount)


@pytest.mark.parametrize("amount", [0, 10, 11])
def test_holding_out_everything_or_nothing_is_rejected(amount):
    with pytest.raises(UserError, match=r"must be in 1\.\.9, got .*;\n"):
        hold_out(labelled([0, 1] * 5), amount)
