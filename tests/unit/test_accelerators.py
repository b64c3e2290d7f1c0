"""Tests on several devices share a process, although Accelerate has one state per process."""

import pytest
from accelerate import Accelerator

from tests.accelerators import only_accelerator


def test_another_configuration_follows_within_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU at hand, the configuration is the precision that Accelerate would set."""
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    with only_accelerator(cpu=True) as first:
        assert first.mixed_precision == "no"
        with pytest.raises(ValueError, match="already been initialized"):
            Accelerator(cpu=True, mixed_precision="bf16")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    with only_accelerator(cpu=True) as second:
        assert second.mixed_precision == "bf16"
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    assert Accelerator(cpu=True).mixed_precision == "no"
