"""The parts for other training loops: what they take and return, and what their draws depend on."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ruggedize import corrupt, randaugment
from ruggedize.train import softened_kl
from ruggedize.transforms import (
    ConsistencyLoss,
    Corrupt,
    NoiseChain,
    RandAugment,
    RandomResizedCrop,
)
from ruggedize.transforms.loss import reject_other_shape
from ruggedize.transforms.noise import reject_other_link
from ruggedize.views import AdditiveNoiseOptions, CutMixOptions, RandomErasingOptions
from tests.peers import peer

NOISE = (RandomErasingOptions(probability=1.0), AdditiveNoiseOptions())
MADE = {
    "randaugment": RandAugment(),
    "crop": RandomResizedCrop(32),
    "chain": NoiseChain(NOISE),
    "corrupt": Corrupt("gaussian_noise", 3),
}


@pytest.mark.parametrize("name", MADE)
def test_batches_tensors_and_pictures_give_their_own_kind(name: str, small_images: Tensor) -> None:
    transform, before = MADE[name], small_images.clone()
    batch = transform(small_images, seed=0, index=range(24))
    assert batch.shape == (24, 3, 32, 32)
    assert batch.dtype == torch.uint8
    assert torch.equal(small_images, before)
    array = transform(small_images.numpy(), seed=0, index=range(24))
    assert isinstance(array, np.ndarray)
    assert np.array_equal(array, batch.numpy())
    single = transform(small_images[5], seed=0, index=5)
    assert torch.equal(single, batch[5])
    picture = Image.fromarray(small_images[5].permute(1, 2, 0).contiguous().numpy())
    found = transform(picture, seed=0, index=5)
    assert isinstance(found, Image.Image)
    assert np.array_equal(np.asarray(found).transpose(2, 0, 1), batch[5].numpy())


@pytest.mark.parametrize("name", MADE)
def test_draws_depend_on_seed_epoch_and_index(name: str, small_images: Tensor) -> None:
    transform, index = MADE[name], torch.arange(24) + 7
    whole = transform(small_images, seed=1, epoch=2, index=index)
    parts = [
        transform(small_images[i : i + 5], seed=1, epoch=2, index=index[i : i + 5])
        for i in range(0, 24, 5)
    ]
    assert torch.equal(torch.cat(parts), whole)
    for other in ({"seed": 2}, {"epoch": 3}, {"index": index + 1}):
        changed = {"seed": 1, "epoch": 2, "index": index} | other
        assert not torch.equal(transform(small_images, **changed), whole), other


@pytest.mark.parametrize("name", MADE)
def test_without_a_seed_draws_come_from_torchs_generator(name: str, small_images: Tensor) -> None:
    torch.manual_seed(4)
    first, second = MADE[name](small_images), MADE[name](small_images)
    assert not torch.equal(first, second)
    torch.manual_seed(4)
    assert torch.equal(MADE[name](small_images), first)


def test_half_of_the_numbers_is_rejected_with_a_fix(small_images: Tensor) -> None:
    for given in ({"seed": 0}, {"index": range(24)}, {"epoch": 1}):
        with pytest.raises(ValueError, match=r"belong together(.|\n)*give both"):
            RandAugment()(small_images, **given)
    with pytest.raises(ValueError, match="one whole number for each of 24 images"):
        RandAugment()(small_images, seed=0, index=[0, 1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandAugment(num_ops=-1), r"num_ops must be greater .*, got -1"),
        (lambda: RandAugment(magnitude=40), r"magnitude"),
        (lambda: RandomResizedCrop(0), r"size must be .*, got 0"),
        (lambda: RandomResizedCrop(32, scale=(0.5, 2)), r"scale must be .*, got \(0.5, 2\)"),
        (lambda: RandomResizedCrop(32, scale=(1.0, 0.5)), r"^scale must be .*0\.5"),
        (lambda: ConsistencyLoss(weight=2), r"^weight must be .*, got 2$"),
        (lambda: reject_other_link({"kind": "augmix"}), r"options of ruggedize.views"),
        (lambda: NoiseChain([CutMixOptions()]), r"mixes each image"),
    ],
)
def test_messages_name_the_arguments_of_the_module(
    make: Callable[[], nn.Module], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "pydantic" not in str(caught.value)


def test_results_are_those_of_the_functions(small_images: Tensor) -> None:
    index = torch.arange(24) + 3
    expected = randaugment(small_images, seed=2, index=index, epoch=1, magnitude=5)
    assert torch.equal(RandAugment(2, 5)(small_images, seed=2, epoch=1, index=index), expected)
    expected = corrupt(small_images, "glass_blur", 4, seed=2, start=3)
    assert torch.equal(Corrupt("glass_blur", 4)(small_images, seed=2, index=index), expected)


@pytest.mark.parametrize(
    ("corruption", "severity", "more", "message"),
    [
        ("fogg", 3, {}, "did you mean fog"),
        ("fog", 9, {}, "severity must be in 1..5"),
        ("frost", 3, {"options": {"textures": "wool"}}, "frost.textures must be"),
        ("fog", 3, {"options": {"textures": "wool"}}, "fog has no option textures"),
    ],
)
def test_a_corruption_that_does_not_exist_is_rejected_when_it_is_made(
    corruption: str, severity: int, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Corrupt(corruption, severity, **more)


def test_images_that_the_faults_of_2021_would_erase_are_rejected(small_images: Tensor) -> None:
    faulty = RandAugment(semantics="tf-2021")
    with pytest.raises(ValueError, match="needs images of at least 64 pixels, got 32x32"):
        faulty(small_images)
    large = small_images.repeat(1, 1, 2, 2)
    index = torch.arange(len(large))
    found = faulty(large, seed=1, index=index)
    assert torch.equal(found, randaugment(large, seed=1, semantics="tf-2021"))


def test_a_list_of_images_of_any_size_becomes_a_batch() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (40 + 9 * i, 60, 3), np.uint8) for i in range(4)]
    pictures = [Image.fromarray(array) for array in arrays]
    tensors = [torch.from_numpy(array).permute(2, 0, 1) for array in arrays]
    crop = RandomResizedCrop(24, interpolation="random")
    batch = crop(pictures, seed=0, index=range(4))
    assert batch.shape == (4, 3, 24, 24)
    assert torch.equal(crop(tensors, seed=0, index=range(4)), batch)
    grey = crop(pictures[0].convert("L"))
    assert grey.size == (24, 24)


def test_a_list_of_arrays_is_one_batch_as_a_list_of_tensors_is(small_images: Tensor) -> None:
    crop, some = RandomResizedCrop(16), small_images[:3]
    from_tensors = crop(list(some), seed=0, index=range(3))
    assert torch.equal(crop(list(some.numpy()), seed=0, index=range(3)), from_tensors)


def test_in_a_loader_workers_draw_differently(small_images: Tensor) -> None:
    same = small_images[:1].expand(8, -1, -1, -1)
    augment = RandAugment()
    loader = DataLoader(list(same), batch_size=2, num_workers=2, collate_fn=Collate(augment))
    torch.manual_seed(0)
    first = torch.cat(list(loader))
    assert len({image.numpy().tobytes() for image in first}) >= 6
    torch.manual_seed(0)
    assert torch.equal(torch.cat(list(loader)), first)


class Collate:
    def __init__(self, augment: nn.Module) -> None:
        self.augment = augment

    def __call__(self, images: list[Tensor]) -> Tensor:
        return self.augment(torch.stack(images))


def test_they_stand_in_a_composition_of_torchvision(small_images: Tensor) -> None:
    for module in peer("torchvision.transforms.v2"):
        steps = [RandomResizedCrop(24), module.RandomHorizontalFlip(), RandAugment()]
        both = module.Compose([*steps, module.ToDtype(torch.float32, scale=True)])
        assert both(small_images).shape == (24, 3, 24, 24)
        picture = Image.fromarray(small_images[0].permute(1, 2, 0).contiguous().numpy())
        assert module.Compose(steps)(picture).size == (24, 24)


@pytest.mark.parametrize("name", MADE)
def test_they_print_their_options_and_can_be_copied(name: str, small_images: Tensor) -> None:
    again = copy.deepcopy(MADE[name])
    ours = MADE[name](small_images, seed=0, index=range(24))
    assert torch.equal(again(small_images, seed=0, index=range(24)), ours)
    assert repr(again) == repr(MADE[name])


@pytest.mark.parametrize("squared", [False, True])
def test_the_loss_is_that_of_the_objective(squared: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 6, 4, generator=generator)
    student.requires_grad_()
    teacher.requires_grad_()
    labels = torch.tensor([0, 3, -1, 2, 1, -1])
    loss = ConsistencyLoss(0.3, 2.0, temperature_squared=squared, label_smoothing=0.1)
    kl = softened_kl(student, teacher, 2.0) / 6 * (4 if squared else 1)
    supervised = F.cross_entropy(student[labels >= 0], labels[labels >= 0], label_smoothing=0.1)
    found = loss(student, teacher, labels)
    assert found.item() == pytest.approx((0.7 * supervised + 0.3 * kl).item(), rel=1e-5)
    assert loss(student, teacher).item() == pytest.approx(kl.item(), rel=1e-5)
    found.backward()
    assert teacher.grad is None
    assert student.grad is not None


def test_a_teacher_of_other_classes_is_rejected() -> None:
    shapes = r"same images and classes, got \(6, 4\) and \(6, 1000\)"
    with pytest.raises(ValueError, match=shapes):  # forward's own types are checked before, here
        reject_other_shape(torch.zeros(6, 4), torch.zeros(6, 1000))
