"""Inference batches fit into memory, and are halved if they do not."""

import pytest
import torch
from torch import Tensor, nn

from ruggedize.core.errors import UserError
from ruggedize.models import inference_batch_size, logits_of

OF_GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


class Cramped(nn.Module):
    """Sums pixels by thirds of the image; runs out of memory above `most` images per batch."""

    def __init__(self, most: int, error: RuntimeError = OF_GPU) -> None:
        super().__init__()
        self.most = most
        self.error = error
        self.sizes: list[int] = []

    def forward(self, views: Tensor) -> Tensor:
        self.sizes.append(len(views))
        if len(views) > self.most:
            raise self.error
        return views.float().sum((2, 3))


def views(n: int) -> Tensor:
    return torch.randint(0, 256, (n, 3, 6, 6), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("n", "most", "sizes"),
    [(7, 7, [7]), (7, 3, [7, 4, 2, 2, 3]), (3, 1, [3, 2, 1, 1, 1])],
)
def test_halved_batches_give_the_same_logits_in_the_same_order(
    n: int, most: int, sizes: list[int]
) -> None:
    pictures, network = views(n), Cramped(most)
    found = logits_of(network, pictures)
    assert torch.equal(found, Cramped(n)(pictures))
    assert not torch.equal(found, Cramped(n)(pictures.flip(0)))
    assert network.sizes == sizes


def test_the_cpus_allocation_error_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as found:
        torch.empty(1 << 55, dtype=torch.uint8)  # more than an address space
    pictures = views(7)
    answer = logits_of(Cramped(3, found.value), pictures)
    assert torch.equal(answer, Cramped(7)(pictures))


def test_out_of_memory_for_a_single_image_is_an_error_with_a_fix() -> None:
    with pytest.raises(
        UserError, match=r"cpu is out of memory for one image;\nstop other programs"
    ):
        logits_of(Cramped(0), views(5))


def test_other_errors_are_not_taken_for_out_of_memory() -> None:
    with pytest.raises(RuntimeError, match="unflatten"):
        logits_of(nn.Unflatten(1, (2, 2)), views(5))


@pytest.mark.parametrize(("size", "n"), [(8, 500), (32, 500), (72, 500), (224, 51), (4096, 1)])
def test_batches_of_larger_images_are_smaller(size: int, n: int) -> None:
    assert inference_batch_size(size) == n
