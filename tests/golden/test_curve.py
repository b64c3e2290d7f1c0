"""Golden curve: the loss of the first twenty steps; a change must be deliberate."""

import json
from pathlib import Path

import numpy as np
import torch

from ruggedize.models import autocast_for
from ruggedize.train.batches import batches_of_epoch
from ruggedize.train.loop import fresh_state
from ruggedize.train.step import step
from tests.tiny_stages import tiny_stage

CURVE = Path(__file__).with_name("curve.json")
NUM_STEPS = 20
ADVICE = """
The losses of the first twenty steps differ from tests/golden/curve.json, first at step {step}.
  A refactor must not change them: find the step that differs and what feeds it (step 0: weights,
  views or loss; step 1: gradient or optimiser; steps 4, 8, ...: order or schedule of an epoch).
  A change that is meant to change numbers: run `python -m tests.golden.test_curve`, commit the
  new curve together with the change, and say in the message why the numbers moved.
"""


def curve(folder: Path, weights_seed: int = 1) -> list[float]:
    """Train for twenty steps in float32 on one thread and return the mean loss of every step."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        stage = tiny_stage(folder, weights_seed)
        state = fresh_state(stage)
        precision = autocast_for("fp32", torch.device("cpu"))
        losses = []
        stage.model.train()
        for number in range(NUM_STEPS):
            epoch, position = divmod(number, stage.steps_per_epoch)
            batch = next(batches_of_epoch(stage, epoch, position))
            state.counters.epoch, state.counters.step = epoch, number
            sums = step(stage, state, stage.model, precision, batch)
            losses.append(float(sums["labelled/loss"] / sums["count/labelled"]))
        return losses
    finally:
        torch.set_num_threads(threads)


def test_twenty_steps_follow_the_golden_curve(tmp_path: Path) -> None:
    expected, found = json.loads(CURVE.read_text()), curve(tmp_path)
    differs = ~np.isclose(found, expected, rtol=0, atol=1e-4)
    assert not differs.any(), ADVICE.format(step=int(differs.argmax()))


def test_other_weights_do_not_follow_the_golden_curve(tmp_path: Path) -> None:
    other = curve(tmp_path, weights_seed=2)
    assert not np.allclose(other, json.loads(CURVE.read_text()), rtol=0, atol=1e-4)


if __name__ == "__main__":
    CURVE.write_text(json.dumps(curve(Path("unused")), indent=1) + "\n")
