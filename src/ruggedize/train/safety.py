"""What can stop a training: signals, and a loss or gradient that is not finite."""

import math
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from torch import Tensor

from ruggedize.core import files, seeding
from ruggedize.core.errors import UserError
from ruggedize.train.stage import Stage

if TYPE_CHECKING:
    from ruggedize.train.checkpoint import State

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ECHO_SECONDS = 1.0  # within which a batch system and its launcher tell the same
Handler = Callable[[int, FrameType | None], Any] | int | None


class Signals:
    """The signal that asked to stop, if one did; inside `with`, it waits to be obeyed.

    The handlers are lent: they go back at the end of `with`, so that a notebook or a program that
    trains keeps its own. A second signal is obeyed at once (one that follows within a second is
    the same, relayed by a launcher). Where they are not ours to take (in
    a thread, or ignored by whoever started the process), nothing is put off.
    """

    def __init__(self) -> None:
        self.number = 0
        self.came = 0.0
        self.lenders: dict[int, Handler] = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                lender = signal.getsignal(number)
                if callable(lender) or lender == signal.SIG_DFL:
                    self.lenders[number] = signal.signal(number, self.note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.give_back()
        if self.number and error is None:
            signal.raise_signal(self.number)

    def note(self, number: int, frame: FrameType | None) -> None:
        """Keep the first signal for later; a second one cannot wait, but for an echo of it."""
        now = time.monotonic()
        is_echo = number == self.number and now - self.came < ECHO_SECONDS
        if self.number and not is_echo:
            self.obey(number)
        elif not self.number:
            self.number, self.came = number, now

    def obey(self, number: int) -> None:
        """Raise the signal again, for the handler that was there before."""
        self.give_back()
        self.number = 0
        signal.raise_signal(number)

    def give_back(self) -> None:
        """Return the handlers back to their lenders."""
        for number, lender in self.lenders.items():
            signal.signal(number, lender)
        self.lenders = {}


NOT_FINITE = "not_finite.json"
SHOWN = 8  # image indices in the message; the file has all


class NotFinite(Exception):  # noqa: N818  # it is caught by the loop and never shown
    """The loss of a step, or its gradient, is infinite or NaN; the weights have not moved."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step  # counted from 1


class FirstBadStep:
    """The first step whose loss was not finite, noted on the device without waiting for it."""

    def __init__(self, device: torch.device) -> None:
        self.number = torch.full((1,), math.inf, dtype=torch.float64, device=device)

    def note(self, loss: Tensor, gradient_norm: Tensor, step: int) -> None:
        """Remember this step if loss or gradient is not finite and no earlier one's was."""
        is_good = loss.isfinite() & gradient_norm.isfinite()
        self.number = torch.where(is_good, self.number, self.number.clamp(max=step))

    def read(self, accelerator: Accelerator) -> int | None:
        """Return the first bad step of all processes, if there was one; waits for the device."""
        first = float(accelerator.gather(self.number).min())  # pyright: ignore
        return int(first) if math.isfinite(first) else None


def check_finite(
    stage: Stage, state: "State", loss: Tensor, gradient_norm: Tensor, step: int
) -> None:
    """Note whether a step's loss and gradient are finite; `step` counts from 1.

    Raises:
        NotFinite: they are not, on the CPU, where reading them costs nothing; the buffers are
            restored and the gradients are gone. A GPU is read now and then.
    """
    state.first_bad.note(loss, gradient_norm, step)
    if sync_is_free(stage.accelerator.device) and (bad := state.first_bad.read(stage.accelerator)):
        state.optimiser.zero_grad(set_to_none=True)
        state.buffers.restore()
        raise NotFinite(bad)


def sync_is_free(device: torch.device) -> bool:
    """Whether a value may be read at every step; a GPU would have to be waited for."""
    return device.type == "cpu"


def divergence_error(stage: Stage, step: int, lr_scale: float) -> UserError:
    """Return the error of a non-finite loss, and write its step, rate and images to a file."""
    epoch, place = divmod(step - 1, stage.steps_per_epoch)
    order = seeding.order(stage.seed, f"{stage.name}/order", epoch, stage.num_images)
    batch = order[place * stage.options.batch_size :][: stage.options.batch_size]
    images = stage.train.index[torch.from_numpy(batch)].tolist()
    lr = stage.learning_rate(step - 1, lr_scale)
    path = stage.folder / NOT_FINITE
    if stage.accelerator.is_main_process:
        files.write_json(path, {"step": step, "epoch": epoch + 1, "lr": lr, "images": images})
    stage.accelerator.wait_for_everyone()  # who ends first has the others ended by the launcher
    shown = ", ".join(map(str, images[:SHOWN])) + (", ..." if len(images) > SHOWN else "")
    return UserError(
        f"{stage.name}: the loss or its gradient became infinite or NaN at step {step:,} "
        f"(epoch {epoch + 1}), learning rate {lr:.3g};\n"
        f"its images are {shown} (all in {path}); the state before it is kept;\n"
        f"lower {stage.name}.optimiser.lr (now {stage.options.optimiser.lr:g}) or set clip_norm, "
        "with another --out"
    )
