"""Accelerators of several devices, one after the other, in one process."""

from collections.abc import Iterator
from contextlib import contextmanager

from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState


@contextmanager
def only_accelerator(*, cpu: bool = False) -> Iterator[Accelerator]:
    """Build an accelerator as if no other had been built before, and forget it afterwards.

    Accelerate keeps one state in a process, shared by all accelerators: one that was built before
    must not be used inside, nor this one afterwards.
    """
    forget()
    try:
        yield Accelerator(cpu=cpu)
    finally:
        forget()


def forget() -> None:
    """Reset what Accelerate keeps of the accelerators built so far."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
