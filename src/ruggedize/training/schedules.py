"""Learning rates: functions of the step, and Keras' counters for plateau and early stopping."""

import math

from ruggedize.training.options import Constant, Cosine, EarlyStopping, OneCycle, Plateau


def rate_at(schedule: Constant | Cosine | OneCycle | Plateau, step: int, num_steps: int) -> float:
    """Give the share of the optimiser's rate that step `step` of `num_steps` runs with.

    A plateau's share is kept by `Patience`, for it depends on what validation said.
    """
    if isinstance(schedule, Cosine):
        warmup = schedule.warmup * num_steps
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (num_steps - warmup)))
    if isinstance(schedule, OneCycle):
        warmup = schedule.warmup * num_steps
        if step < warmup:
            return (step + 1) / (warmup + 1)
        down = (step - warmup) / (num_steps - warmup)
        return 1.0 - (1.0 - schedule.final) * down
    return 1.0


class Patience:
    """Keras' counter: how long a figure (lower is better) has not improved.

    Source: `keras.callbacks.ReduceLROnPlateau` and `EarlyStopping`: an improvement is a change of
    more than `min_delta`; it acts when the wait reaches `patience`, and a plateau then waits anew.
    """

    def __init__(self, options: Plateau | EarlyStopping) -> None:
        self.patience = options.patience
        self.min_delta = options.min_delta if isinstance(options, Plateau) else 0.0
        self.best = math.inf
        self.wait = 0

    def exhausted(self, figure: float) -> bool:
        """Count one epoch; true when patience has run out, and the wait begins anew."""
        if figure < self.best - self.min_delta:
            self.best, self.wait = figure, 0
            return False
        self.wait += 1
        if self.wait < self.patience:
            return False
        self.wait = 0
        return True

    def state(self) -> dict[str, float | int | None]:
        """Give what must be saved."""
        return {"best": None if math.isinf(self.best) else self.best, "wait": self.wait}

    def load(self, state: dict[str, float | int | None]) -> None:
        """Go on from a saved state."""
        self.best = math.inf if state["best"] is None else float(state["best"])
        self.wait = int(state["wait"] or 0)
