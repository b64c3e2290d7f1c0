"""Learning rates and Keras' counters."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruggedize.train.optim import (
    Constant,
    Cosine,
    EarlyStopping,
    OneCycle,
    Patience,
    Plateau,
    rate_at,
)


def test_a_constant_learning_rate_does_not_change() -> None:
    assert {rate_at(Constant(), step, 100) for step in range(100)} == {1.0}


def test_cosine_falls_from_one_to_nearly_zero() -> None:
    rates = [rate_at(Cosine(), step, 100) for step in range(100)]
    assert rates[0] == 1.0
    assert rates[50] == pytest.approx(0.5)
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.001


def test_one_cycle_rises_and_falls_linearly() -> None:
    schedule = OneCycle(warmup=0.2, final=0.1)
    rates = [rate_at(schedule, step, 100) for step in range(100)]
    assert rates[:20] == sorted(rates[:20])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert max(rates) == 1.0
    assert rates[-1] == pytest.approx(0.1)
    assert rates[60] == pytest.approx(1 - 0.9 * 40 / 79)


def test_one_cycle_reaches_its_final_rate_with_the_last_step() -> None:
    assert rate_at(OneCycle(final=0.05), 99, 100) == pytest.approx(0.05)
    assert rate_at(OneCycle(final=0.05), 98, 100) == pytest.approx(0.05 + 0.95 / 74)  # not before
    assert {rate_at(OneCycle(final=1.0), step, 100) for step in range(25, 100)} == {1.0}


@pytest.mark.parametrize("final", [0.0, 0.01])
def test_the_last_learning_rate_of_one_cycle_is_not_zero(final: float) -> None:
    schedule = OneCycle(warmup=0.25, final=final)
    assert rate_at(schedule, 99, 100) == pytest.approx(1 / 75)
    assert rate_at(schedule, 50, 100) == pytest.approx(1 - 25 / 75)
    assert rate_at(OneCycle(warmup=0.25, final=0.02), 99, 100) == pytest.approx(0.02)


SHARES = st.floats(0, 0.999)
SCHEDULES = st.one_of(
    st.builds(Constant),
    st.builds(Plateau),
    st.builds(Cosine, warmup=SHARES),
    st.builds(OneCycle, warmup=st.floats(1e-6, 0.999), final=st.floats(0, 1)),
)


@given(schedule=SCHEDULES, num_steps=st.integers(1, 10_000), data=st.data())
def test_every_rate_of_every_schedule_is_in_0_to_1(
    schedule: Constant | Cosine | OneCycle | Plateau, num_steps: int, data: st.DataObject
) -> None:
    step = data.draw(st.integers(0, num_steps - 1))
    rate = rate_at(schedule, step, num_steps)
    assert 0 < rate <= 1
    if isinstance(schedule, OneCycle) and step >= schedule.warmup * num_steps:
        assert rate >= schedule.final * (1 - 1e-9)


@pytest.mark.parametrize("step", [-1, 40, 47])
@pytest.mark.parametrize("schedule", [Constant(), Cosine(), OneCycle(), Plateau()])
def test_a_step_outside_the_plan_is_rejected(
    schedule: Constant | Cosine | OneCycle | Plateau, step: int
) -> None:
    with pytest.raises(ValueError, match=r"step must be in 0..39"):
        rate_at(schedule, step, 40)


def test_a_plateau_lowers_the_rate_at_patience_and_restarts_its_count() -> None:
    patience = Patience(Plateau(patience=3, factor=0.1))
    losses = [1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]
    acted = [patience.exhausted(loss) for loss in losses]
    assert acted == [False, False, False, False, True, False, False, True]


def test_min_delta_applies_to_plateau_but_not_to_early_stopping() -> None:
    falling = [1.0 - 5e-5 * epoch for epoch in range(4)]
    plateau = Patience(Plateau(patience=2, factor=0.1, min_delta=1e-4))
    stopping = Patience(EarlyStopping(patience=2))
    assert any(plateau.exhausted(loss) for loss in falling)
    assert not any(stopping.exhausted(loss) for loss in falling)


def test_a_counter_resumes_from_its_state() -> None:
    one, other = (Patience(EarlyStopping(patience=3)) for _ in range(2))
    assert one.state() == {"best": None, "wait": 0}
    for loss in (1.0, 2.0, 2.0):
        one.exhausted(loss)
    other.load(one.state())
    assert other.exhausted(2.0)
    assert not math.isinf(other.best)


@pytest.mark.more
def test_the_counters_equal_keras_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    import keras
    import numpy as np

    rng = np.random.default_rng(3)
    losses = np.round(rng.uniform(0.5, 1.0, 60), 4).tolist()
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.Adam(1.0))
    theirs = keras.callbacks.ReduceLROnPlateau(patience=3, factor=0.5, min_delta=1e-4, min_lr=0)
    theirs.set_model(model)
    theirs.on_train_begin()
    ours = Patience(Plateau(patience=3, factor=0.5, min_delta=1e-4))
    rate, rates, keras_rates = 1.0, [], []
    for epoch, loss in enumerate(losses):
        theirs.on_epoch_end(epoch, {"val_loss": loss})
        keras_rates.append(float(model.optimizer.learning_rate.numpy()))
        rate *= 0.5 if ours.exhausted(loss) else 1.0
        rates.append(rate)
    assert rates[-1] < 0.1  # it acted several times
    assert rates == pytest.approx(keras_rates, rel=1e-6)
