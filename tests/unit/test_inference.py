"""What is only to be answered comes in batches that fit, and in halves where they do not."""

import pytest
import torch
from torch import Tensor, nn

from ruggedize.core.errors import UserError
from ruggedize.models import inference_batch_size, logits_of

OF_GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


class Cramped(nn.Module):
    """Sums pixels by thirds of the picture; runs out of memory above so many pictures at a time."""

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
def test_halves_give_the_same_answers_in_the_same_order(
    n: int, most: int, sizes: list[int]
) -> None:
    pictures, network = views(n), Cramped(most)
    found = logits_of(network, pictures)
    assert torch.equal(found, Cramped(n)(pictures))
    assert not torch.equal(found, Cramped(n)(pictures.flip(0)))
    assert network.sizes == sizes


def test_a_limit_on_the_cpu_s_memory_is_a_lack_of_it() -> None:
    with pytest.raises(RuntimeError) as found:
        torch.empty(1 << 55, dtype=torch.uint8)  # more than an address space
    pictures = views(7)
    answer = logits_of(Cramped(3, found.value), pictures)
    assert torch.equal(answer, Cramped(7)(pictures))


def test_no_room_for_a_single_image_is_said_with_what_to_do() -> None:
    with pytest.raises(UserError, match=r"cpu is out of memory for one image;\nend what else"):
        logits_of(Cramped(0), views(5))


def test_another_fault_is_not_taken_for_a_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match="unflatten"):
        logits_of(nn.Unflatten(1, (2, 2)), views(5))


@pytest.mark.parametrize(("size", "n"), [(8, 500), (32, 500), (72, 500), (224, 51), (4096, 1)])
def test_larger_images_come_fewer_at_a_time(size: int, n: int) -> None:
    assert inference_batch_size(size) == n
