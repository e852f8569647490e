"""Schedules against their formulas, and what holds for all of them."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferrocnn.schedules import (
    Constant,
    Cosine,
    Linear,
    OneCycle,
    Schedule,
    Step,
    make_schedule,
    schedule_from_config,
)

NAMES = ["constant", "step", "cosine", "one-cycle", "linear"]
SCHEDULES = [
    *map(make_schedule, NAMES),
    Step(drops=[0.3, 0.6, 0.9], gamma=0.5),
    Cosine(warmup=0.0, final=0.1),
    Linear(warmup=0.0, final=0.07),
    OneCycle(peak=0.5, start=0.1, final=0.0),
]
lengths = st.integers(1, 10_000)


def factors(schedule: Schedule, steps: int) -> list[float]:
    return [schedule.factor(step, steps) for step in range(steps)]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@given(lengths, st.floats(0, 1, exclude_max=True))
def test_every_step_of_every_run_moves_and_none_exceeds_the_rate(
    schedule: Schedule, steps: int, progress: float
) -> None:
    for step in (0, int(progress * steps), steps - 1):
        factor = schedule.factor(step, steps)
        assert isinstance(factor, float)
        assert 0 < factor <= 1 + 1e-15


def test_constant() -> None:
    assert factors(Constant(), 5) == [1.0] * 5


def test_step_drops_at_its_fractions() -> None:
    np.testing.assert_allclose(factors(Step(), 8), [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01], rtol=1e-12)
    # A third of four steps ends within the second, so the third is the first beyond it.
    assert factors(Step(drops=(1 / 3,), gamma=0.5), 4) == [1, 1, 0.5, 0.5]
    assert factors(Step(drops=(0.75, 0.25), gamma=0.5), 4) == [1, 0.5, 0.5, 0.25]


@pytest.mark.parametrize("hundredths", range(1, 100))
def test_a_drop_at_whole_steps_is_not_moved_by_rounding(hundredths: int) -> None:
    schedule = Step(drops=(hundredths / 100,), gamma=0.5)
    assert factors(schedule, 100).index(0.5) == hundredths


def test_cosine_by_hand() -> None:
    # Two steps of warm-up, then the quarters of half a cosine.
    half = math.sqrt(0.5)
    expected = [1 / 3, 2 / 3, 1, (1 + half) / 2, 0.5, (1 - half) / 2]
    np.testing.assert_allclose(factors(Cosine(warmup=1 / 3), 6), expected, rtol=1e-12)
    lifted = [0.2 + 0.8 * value for value in expected[2:]]
    np.testing.assert_allclose(factors(Cosine(0.0, 0.2), 4), lifted, rtol=1e-12)


def test_linear_by_hand() -> None:
    expected = [1 / 3, 2 / 3, 1, 0.75, 0.5, 0.25]
    np.testing.assert_allclose(factors(Linear(warmup=1 / 3), 6), expected, rtol=1e-12)
    np.testing.assert_allclose(factors(Linear(0.0, 0.2), 4), [1, 0.8, 0.6, 0.4], rtol=1e-12)


def test_one_cycle_by_hand() -> None:
    # Up over four steps from 0.2, down over four to 0.4.
    half = math.sqrt(0.5)
    up = [0.2, 0.2 + 0.8 * (1 - half) / 2, 0.6, 0.2 + 0.8 * (1 + half) / 2]
    down = [1, 0.4 + 0.6 * (1 + half) / 2, 0.7, 0.4 + 0.6 * (1 - half) / 2]
    schedule = OneCycle(peak=0.5, start=0.2, final=0.4)
    np.testing.assert_allclose(factors(schedule, 8), up + down, rtol=1e-12)


@pytest.mark.parametrize(("name", "top"), [("cosine", 50), ("linear", 200), ("one-cycle", 300)])
def test_the_rate_rises_to_its_peak_and_falls_from_there(name: str, top: int) -> None:
    values = factors(make_schedule(name), 1000)
    assert np.argmax(values) == top
    assert values[top] == 1
    assert (np.diff(values[: top + 1]) > 0).all()
    assert (np.diff(values[top:]) < 0).all()
    assert values[-1] < 0.002


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_a_config_makes_the_schedule_again(schedule: Schedule) -> None:
    config = json.loads(json.dumps(schedule.config()))
    assert config["name"] in NAMES
    assert schedule_from_config(config) == schedule


def test_settings_of_numpy_are_fit_for_json() -> None:
    schedule = Cosine(warmup=np.float32(0.25), final=np.int64(0))
    assert json.dumps(schedule.config()) == '{"name": "cosine", "warmup": 0.25, "final": 0.0}'


def test_names_and_instances() -> None:
    assert [make_schedule(name).name for name in NAMES] == NAMES
    own = Cosine(warmup=0.1)
    assert make_schedule(own) is own
    with pytest.raises(ValueError, match=r"schedule: expected one of constant, step.*got 'cos'"):
        make_schedule("cos")
    with pytest.raises(ValueError, match=r"schedule: expected one of constant, step.*got 3"):
        make_schedule(3)  # type: ignore[arg-type]


class Halves(Schedule):
    def at(self, step: int, steps: int) -> float:
        return 0.5 ** (step + 1)


def test_a_schedule_of_ones_own() -> None:
    assert factors(make_schedule(Halves()), 3) == [0.5, 0.25, 0.125]
    assert Halves().config() == {"name": "halves"}


def test_what_cannot_be_used_is_named() -> None:
    for make, message in [
        (lambda: Step(drops=(0.5, 1.0)), "drops: expected a number between 0 and 1, got 1"),
        (lambda: Step(drops=0.5), "drops: expected a list of fractions, got 0.5"),  # type: ignore[arg-type]
        (lambda: Step(gamma=0), "gamma: expected a finite number above 0, got 0"),
        (lambda: Cosine(warmup=1), "warmup: expected at least 0 and below 1, got 1"),
        (lambda: Linear(final=-0.1), "final: expected at least 0 and below 1, got -0.1"),
        (lambda: OneCycle(peak=1), "peak: expected a number between 0 and 1, got 1"),
        (lambda: OneCycle(start=0), "start: expected a finite number above 0, got 0"),
        (lambda: Constant().factor(4, 4), "step: expected less than the 4 steps of the run, got 4"),
        (lambda: Constant().factor(-1, 4), "step: expected at least 0, got -1"),
        (lambda: Constant().factor(0, 0), "steps: expected at least 1, got 0"),
        (lambda: Constant().factor(0.5, 4), "step: expected an integer, got 0.5"),  # type: ignore[arg-type]
        (
            lambda: schedule_from_config({"name": "linear", "drops": [0.5]}),
            "schedule: expected the settings warmup, final of linear, got 'drops'",
        ),
        (
            lambda: schedule_from_config({"name": "halves"}),
            "schedule: expected a name of constant, step, cosine, one-cycle, linear, got 'halves'",
        ),
    ]:
        with pytest.raises((ValueError, TypeError), match=message):
            make()
