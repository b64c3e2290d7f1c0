"""The digits that the demonstration runs on."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn import datasets

from ruggedize.core.errors import UserError
from ruggedize.data import DataOptions, load_data, load_splits


def test_digits_are_divided_into_three_disjoint_balanced_parts():
    splits = load_data("digits")
    assert [len(part) for part in splits] == [1167, 130, 500]
    index = torch.cat([part.index for part in splits])
    assert torch.equal(index.sort().values, torch.arange(1797))
    for part in splits:
        share = part.labels.bincount() / len(part)
        assert part.images.shape[1:] == (3, 32, 32)
        assert part.images.dtype == torch.uint8
        assert (share - 0.1).abs().max() < 0.012
        assert part.classes == tuple("0123456789")


def test_digits_keep_their_values_and_labels():
    small, labels = datasets.load_digits(return_X_y=True)
    for part in load_data("digits"):
        assert np.array_equal(part.labels.numpy(), labels[part.index.numpy()])
        first = int(part.index[0])
        grey = np.rint(small[first].reshape(8, 8) * 255 / 16).astype(np.uint8)
        expected = np.asarray(Image.fromarray(grey).resize((32, 32), Image.Resampling.BICUBIC))
        for channel in part.images[0]:
            assert np.array_equal(channel.numpy(), expected)


def test_digits_are_the_same_every_time_and_at_any_size():
    once, again = load_data("digits", validation=97), load_data("digits", validation=97)
    assert all(torch.equal(a.images, b.images) for a, b in zip(once, again, strict=True))
    large = load_data("digits", image_size=48, validation=97)
    assert large.test.images.shape == (500, 3, 48, 48)
    assert torch.equal(large.test.index, once.test.index)
    assert len(large.validation) == 97


def test_skipping_bad_images_is_for_folders():
    with pytest.raises(UserError, match=r"folders of images only, got data digits;\nremove"):
        load_splits(DataOptions(name="digits", skip_bad_images=True))


def test_fewer_training_images_leave_validation_and_test_as_they_are():
    options = DataOptions(name="digits", validation=97)
    whole = load_splits(options)
    fewer = load_splits(options.model_copy(update={"num_train": 300}))
    assert [len(part) for part in fewer] == [300, 97, 500]
    assert set(fewer.train.index.tolist()) < set(whole.train.index.tolist())
    assert (fewer.train.labels.bincount() / 300 - 0.1).abs().max() < 0.012
    assert torch.equal(fewer.validation.index, whole.validation.index)
    assert torch.equal(fewer.test.index, whole.test.index)


def test_more_training_images_than_there_are_is_an_error(tmp_path):
    with pytest.raises(UserError, match="num_train must be at most 1200, got 1201"):
        load_splits(DataOptions(name="digits", validation=97, num_train=1201))
    with pytest.raises(UserError, match="num_train applies to digits, cifar10"):
        load_splits(DataOptions(name=str(tmp_path), num_train=10))
