"""Detect a non-finite loss or gradient and end the training."""

import math
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator
from torch import Tensor

from ruggedize.core import files
from ruggedize.core.errors import UserError
from ruggedize.train.batches import labelled_positions
from ruggedize.train.stage import Stage

if TYPE_CHECKING:
    from ruggedize.train.checkpoint import State

NOT_FINITE = "not_finite.json"
SHOWN = 8  # image indices in the error message; the file lists all


class NotFinite(Exception):  # noqa: N818  # caught by the loop, never shown
    """The loss of a step or its gradient is non-finite; the weights have not been updated."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step  # counted from 1


class FirstBadStep:
    """The first step with a non-finite loss, recorded on the device without synchronisation."""

    def __init__(self, device: torch.device) -> None:
        self.number = torch.full((1,), math.inf, dtype=torch.float64, device=device)

    def note(self, loss: Tensor, gradient_norm: Tensor, step: int) -> None:
        """Record the step if its loss or gradient is non-finite and no earlier step is recorded."""
        is_good = loss.isfinite() & gradient_norm.isfinite()
        self.number = torch.where(is_good, self.number, self.number.clamp(max=step))

    def read(self, accelerator: Accelerator) -> int | None:
        """Return the first recorded step of all processes, or None; synchronises the device."""
        first = float(accelerator.gather(self.number).min())  # pyright: ignore
        return int(first) if math.isfinite(first) else None


def check_finite(
    stage: Stage, state: "State", loss: Tensor, gradient_norm: Tensor, step: int
) -> None:
    """Record whether a step's loss and gradient are finite; `step` counts from 1.

    Raises:
        NotFinite: they are not finite (CPU only; a GPU is checked at intervals, because reading
            its values needs a synchronisation). Gradients are cleared and buffers restored.
    """
    state.first_bad.note(loss, gradient_norm, step)
    if sync_is_free(stage.accelerator.device) and (bad := state.first_bad.read(stage.accelerator)):
        state.optimiser.zero_grad(set_to_none=True)
        state.buffers.restore()
        raise NotFinite(bad)


def sync_is_free(device: torch.device) -> bool:
    """Return whether reading a tensor's value needs no device synchronisation."""
    return device.type == "cpu"


def divergence_error(stage: Stage, step: int, lr_scale: float) -> UserError:
    """Build the error for a non-finite loss; write step, learning rate and images to a file."""
    epoch, position = divmod(step - 1, stage.steps_per_epoch)
    batch = labelled_positions(stage, epoch, position)
    images = stage.train.index[torch.from_numpy(batch)].tolist()
    lr = stage.learning_rate(step - 1, lr_scale)
    path = stage.folder / NOT_FINITE
    if stage.accelerator.is_main_process:
        files.write_json(path, {"step": step, "epoch": epoch + 1, "lr": lr, "images": images})
    stage.accelerator.wait_for_everyone()  # the launcher kills the others once one exits
    shown = ", ".join(map(str, images[:SHOWN])) + (", ..." if len(images) > SHOWN else "")
    return UserError(
        f"{stage.name}: the loss or its gradient became infinite or NaN at step {step:,} "
        f"(epoch {epoch + 1}), learning rate {lr:.3g};\n"
        f"the batch has images {shown} (full list in {path}); the last good state is kept;\n"
        f"lower {stage.name}.optimiser.lr (now {stage.options.optimiser.lr:g}) or set clip_norm, "
        "and use another --out"
    )
