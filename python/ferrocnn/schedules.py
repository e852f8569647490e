"""Schedules: what a learning rate is multiplied by over the steps of a run.

They are pure functions of the number of the step and the length of the run, so that a run that is
resumed goes on exactly. Fractions in their settings are of the run.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from ferrocnn.checks import check_decay, check_fraction, check_int, check_positive_int
from ferrocnn.configs import build

__all__ = [
    "Constant",
    "Cosine",
    "Linear",
    "OneCycle",
    "Schedule",
    "Step",
    "make_schedule",
    "schedule_from_config",
]


@dataclass(frozen=True)
class Schedule(ABC):
    """What all schedules share. One of your own needs `at`; `name` is what records call it::

    @dataclass(frozen=True)
    class SquareRoot(ferrocnn.schedules.Schedule):
        def at(self, step, steps):
            return (1 - step / steps) ** 0.5
    """

    name: ClassVar[str]

    def __init_subclass__(cls) -> None:
        if "name" not in vars(cls):
            cls.name = cls.__name__.lower()

    def factor(self, step: int, steps: int) -> float:
        """Return what the learning rate is multiplied by in one step.

        step: from 0 to steps - 1. steps: of the whole run, at least 1.
        """
        step, steps = check_int("step", step, 0), check_positive_int("steps", steps)
        if step >= steps:
            raise ValueError(f"step: expected less than the {steps} steps of the run, got {step}")
        return self.at(step, steps)

    def _check(self, **checks: Callable[[str, Any], object]) -> None:
        """Put each setting through its check, and keep what that returns."""
        for key, check in checks.items():
            object.__setattr__(self, key, check(key, getattr(self, key)))

    @abstractmethod
    def at(self, step: int, steps: int) -> float:
        """Return the factor, at least 0, for arguments that were checked."""

    def config(self) -> dict[str, Any]:
        """Return the name and the settings, for `schedule_from_config`; fit for JSON."""
        settings = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }
        return {"name": self.name, **settings}


@dataclass(frozen=True)
class Constant(Schedule):
    """1 throughout."""

    name = "constant"

    def at(self, step: int, steps: int) -> float:
        """Return 1."""
        return 1.0


@dataclass(frozen=True)
class Step(Schedule):
    """Multiplied by `gamma` at each of the fractions `drops` of the run."""

    name = "step"

    drops: Sequence[float] = (0.5, 0.75)
    gamma: float = 0.1

    def __post_init__(self) -> None:
        self._check(drops=_check_fractions, gamma=check_fraction)

    def at(self, step: int, steps: int) -> float:
        """Return `gamma` to the power of the drops so far."""
        # Divided: 0.55 * 100 is above 55, but 55 / 100 is 0.55.
        return float(self.gamma ** sum(step / steps >= drop for drop in self.drops))


@dataclass(frozen=True)
class Cosine(Schedule):
    """A linear warm-up to 1, then half a cosine down to `final` (Loshchilov & Hutter 2017).

    The warm-up is the fraction `warmup` of the run and starts above 0; `final` is reached with the
    end of the last step, so that no step is lost where it is 0.
    """

    name = "cosine"

    warmup: float = 0.05
    final: float = 0.0

    def __post_init__(self) -> None:
        self._check(warmup=check_decay, final=check_decay)

    def at(self, step: int, steps: int) -> float:
        """Return the factor."""
        start = self.warmup * steps
        if step < start:
            return (step + 1) / (start + 1)
        return _annealed(1.0, self.final, (step - start) / (steps - start))


@dataclass(frozen=True)
class Linear(Schedule):
    """A linear warm-up to 1, then a line down to `final`.

    Ends are as those of `Cosine`. Short runs with high rates do well with this triangle.
    """

    name = "linear"

    warmup: float = 0.2
    final: float = 0.0

    def __post_init__(self) -> None:
        self._check(warmup=check_decay, final=check_decay)

    def at(self, step: int, steps: int) -> float:
        """Return the factor."""
        start = self.warmup * steps
        if step < start:
            return (step + 1) / (start + 1)
        return 1.0 + (self.final - 1.0) * (step - start) / (steps - start)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Half a cosine from `start` up to 1 at the fraction `peak` of the run, then one to `final`.

    Smith & Topin 2018, in the form and with the numbers that deep-learning libraries use: up from
    1/25, down to 1/10,000 of that. The learning rate is that of the peak; the momentum stays.
    """

    name = "one-cycle"

    peak: float = 0.3
    start: float = 0.04
    final: float = 4e-6

    def __post_init__(self) -> None:
        self._check(peak=check_fraction, start=check_fraction, final=check_decay)

    def at(self, step: int, steps: int) -> float:
        """Return the factor."""
        top = self.peak * steps
        if step < top:
            return _annealed(self.start, 1.0, step / top)
        return _annealed(1.0, self.final, (step - top) / (steps - top))


def _check_fractions(name: str, values: object) -> tuple[float, ...]:
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise TypeError(f"{name}: expected a list of fractions, got {values!r}")
    return tuple(check_fraction(name, value) for value in values)


def _annealed(first: float, last: float, progress: float) -> float:
    """From `first` to `last` along half a cosine, as progress goes from 0 to 1."""
    return last + (first - last) * (1 + math.cos(math.pi * progress)) / 2


_SCHEDULES: dict[str, type[Schedule]] = {
    schedule.name: schedule for schedule in (Constant, Step, Cosine, OneCycle, Linear)
}


def make_schedule(schedule: str | Schedule) -> Schedule:
    """Return the schedule of this name with its defaults, or the given one as it is."""
    if isinstance(schedule, Schedule):
        return schedule
    if not isinstance(schedule, str) or schedule not in _SCHEDULES:
        raise ValueError(
            f"schedule: expected one of {', '.join(_SCHEDULES)}, or an instance of Schedule, "
            f"got {schedule!r}"
        )
    return _SCHEDULES[schedule]()


def schedule_from_config(config: Mapping[str, Any]) -> Schedule:
    """Return the schedule of the settings that `Schedule.config` returned.

    Raises:
        ValueError, TypeError: the name is not one of this module, or a setting is unknown or cannot
            be used.
    """
    return build("schedule", _SCHEDULES, config)
