"""The GPU's accelerator, in a process whose other tests use the CPU's."""

from collections.abc import Iterator

import pytest
from accelerate import Accelerator

from tests.accelerators import only_accelerator


@pytest.fixture
def accelerator() -> Iterator[Accelerator]:
    """Yield an accelerator of the GPU."""
    with only_accelerator() as accelerator:
        assert accelerator.device.type == "cuda"
        yield accelerator
