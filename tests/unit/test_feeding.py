"""Prefetched batches equal batches made on demand."""

import threading
from pathlib import Path

import pytest
import torch

from ruggedize.kernels import blocks
from ruggedize.train.batches import batches_of_epoch, in_background
from ruggedize.views import ViewMaker, ViewOptions
from tests.tiny_stages import NUM_IMAGES, num_images, tiny_stage


def test_items_come_in_their_order_and_from_another_thread() -> None:
    threads: list[str] = []

    def items():
        for number in range(7):
            threads.append(threading.current_thread().name)
            yield number

    assert list(in_background(items(), 2)) == list(range(7))
    assert all(name.startswith("next-batch") for name in threads)


def test_views_prefetched_in_few_blocks_equal_those_made_on_demand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blocks, "available_cores", lambda: 16)
    images = torch.randint(0, 256, (200, 3, 16, 16), dtype=torch.uint8)
    index = torch.arange(200)
    noise = [{"kind": "randaugment"}, {"kind": "random_erasing"}, {"kind": "additive_noise"}]
    views = ViewOptions.model_validate({"pad": 2, "noise": noise})
    maker = ViewMaker(views, image_size=16, seed=1)
    cuts: list[list[int]] = []

    def pair() -> list[torch.Tensor]:
        starts: list[int] = []
        blocks.run_blocks(lambda start, stop: starts.append(start), 200)
        cuts.append(sorted(starts))
        return list(maker.pair(images, index, 0))

    (ahead,) = in_background((pair() for _ in range(1)), 1)
    for ours, theirs in zip(pair(), ahead, strict=True):
        assert torch.equal(ours, theirs)
    assert [len(starts) for starts in cuts] == [4, 13]
    assert not torch.equal(*ahead)


def test_no_more_batches_are_prefetched_than_configured() -> None:
    made: list[int] = []

    def items():
        for number in range(100):
            made.append(number)
            yield number

    stream = in_background(items(), 2)
    assert [next(stream), next(stream)] == [0, 1]
    stream.close()
    assert len(made) <= 4


def test_an_error_in_the_thread_is_raised_in_the_step() -> None:
    def items():
        yield 0
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        list(in_background(items(), 2))


def test_an_epoch_has_every_image_once_and_can_start_at_any_step(tmp_path: Path) -> None:
    stage = tiny_stage(tmp_path)
    whole = list(batches_of_epoch(stage, 3, 0))
    rest = list(batches_of_epoch(stage, 3, 2))
    assert sum(num_images(planned.batch) for planned in whole) == NUM_IMAGES
    assert len(rest) == len(whole) - 2
    for ours, theirs in zip(whole[2:], rest, strict=True):
        for name in ("view", "labels"):
            assert torch.equal(ours.batch["labelled"][name], theirs.batch["labelled"][name])
    other = next(batches_of_epoch(stage, 4, 0))
    views = (planned.batch["labelled"]["view"] for planned in (whole[0], other))
    assert not torch.equal(*views)  # another epoch, another order
