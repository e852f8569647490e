"""A search for a learning rate: train a little while it rises, and see where the loss falls."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferrocnn.checks import check_int, check_positive_float, check_positive_int
from ferrocnn.errors import DivergedError
from ferrocnn.losses import make_loss
from ferrocnn.metrics import check_model, images_and_labels
from ferrocnn.optimizers import Optimizer, make_optimizer

if TYPE_CHECKING:
    from ferrocnn.images import ImageDataset
    from ferrocnn.model import CNN

_SMOOTHING = 0.9
_WORST = 4.0  # times the best smoothed loss
_BELOW_THE_BEST = 10.0
_SIZE, _DPI = (8.0, 4.5), 100  # inches


@dataclass(frozen=True, eq=False)
class LearningRates:
    """What `find_learning_rate` saw: float64 arrays, one element a step, all finite."""

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]

    @property
    def smoothed(self) -> NDArray[np.float64]:
        """The losses as an exponential moving average (0.9), corrected for its start."""
        average = _Average()
        return np.array([average.update(loss) for loss in self.losses])

    @property
    def suggestion(self) -> float:
        """A tenth of the rate at which the smoothed loss is lowest, a start for a run (Smith 2017).

        At the lowest point the loss is about to rise, and training there would be on the edge. The
        steepest descent, another custom, led to a lower loss in 3 of 24 searches on small networks
        (SGD, momentum and Adam, 5 epochs): the noise of batches moves it to rates at which nothing
        is learnt.
        """
        return float(self.rates[np.argmin(self.smoothed)] / _BELOW_THE_BEST)

    def plot(self, path: str | os.PathLike[str]) -> Path:
        """Write a PNG of 800 x 450 pixels: the loss over the rate, and the suggestion.

        Raises:
            ImportError: matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError(
                'the picture needs matplotlib: pip install "ferrocnn[plot]"', name="matplotlib"
            ) from error
        figure = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained", facecolor="white")
        axes = figure.subplots()
        smoothed = self.smoothed
        axes.plot(self.rates, self.losses, color="#cfd8dc", label="loss of a batch")
        axes.plot(self.rates, smoothed, color="#1565c0", label="smoothed")
        axes.axvline(
            self.suggestion,
            color="#d32f2f",
            linestyle=":",
            label=f"suggestion {self.suggestion:.2g}",
        )
        axes.set_xscale("log")
        # Around the smoothed curve: single batches go far beyond it where it ends.
        low, high = smoothed.min(), smoothed.max()
        margin = 0.08 * (high - low) or 0.5
        axes.set_ylim(low - margin, high + margin)
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss")
        axes.legend(loc="lower left", frameon=False, fontsize=9)
        axes.grid(axis="y", color="#eceff1")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, format="png", dpi=_DPI)
        return Path(path)


def find_learning_rate(
    train_step: Callable[[int, float], float],
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
) -> LearningRates:
    """Train with a rate that rises from `low` to `high`, each step by the same factor (Smith 2017).

    It ends early where the smoothed loss exceeds four times its best, or a loss is not finite. The
    weights are left as the last step made them: keep a copy, and put it back.

    Args:
        train_step: called as `train_step(number, learning_rate)`, number from 0; does one step on
            that batch and returns its loss before the step. A DivergedError ends the search, as
            does a loss that is not finite.
        low: the first rate.
        high: the last rate, above `low`.
        steps: at most so many, at least 2.

    Raises:
        ValueError, TypeError: an argument cannot be used, or the first loss is not finite.
    """
    low, high = check_positive_float("low", low), check_positive_float("high", high)
    steps = check_int("steps", steps, 2)
    if high <= low:
        raise ValueError(f"high: expected more than low, which is {low:g}, got {high:g}")
    rates, losses = np.geomspace(low, high, steps), []
    average, best = _Average(), math.inf
    for number, rate in enumerate(rates):
        try:
            loss = float(train_step(number, float(rate)))
        except DivergedError:
            break
        if not math.isfinite(loss):
            break
        losses.append(loss)
        smoothed = average.update(loss)
        best = min(best, smoothed)
        if smoothed > _WORST * best:
            break
    if not losses:
        raise ValueError(f"low: expected a rate at which the loss is finite, got {low:g}")
    return LearningRates(rates[: len(losses)], np.array(losses))


def suggest_learning_rate(
    model: CNN,
    X: ArrayLike | ImageDataset,
    y: ArrayLike | None = None,
    *,
    optimizer: str | Optimizer = "sgd",
    batch_size: int = 64,
    seed: int = 0,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
) -> LearningRates:
    """Search for the learning rate of a model on its training images, by `find_learning_rate`.

    It trains copies: model and optimiser are left as they are. The rate that it suggests is the
    highest of a run with a schedule.

    Args:
        model: new, or as it is before the run that is planned.
        X, y: images and labels, or an ImageDataset, as for `train`.
        optimizer: a name as for `train`, or an instance, whose own rate plays no part.
        batch_size: images a step, as the run will have: the rate depends on it.
        seed: of the order of the images, and of dropout.
        low, high, steps: the rates, as for `find_learning_rate`.

    Raises:
        ValueError, TypeError: an argument cannot be used, or the first loss is not finite.
    """
    check_model(model)
    batch_size = check_positive_int("batch_size", batch_size)
    seed = check_int("seed", seed, 0)
    images, labels = images_and_labels(model, X, y)
    rule = copy.deepcopy(make_optimizer(optimizer, 1.0))
    learner = copy.deepcopy(model)
    targets = make_loss(model.fc_layers[-1]).targets(labels)
    batches = _batches(len(images), batch_size, seed)

    def train_step(number: int, rate: float) -> float:
        rows = next(batches)
        rule.learning_rate = rate
        return learner.train_step(images[rows], targets[rows], rule, key=number)[0]

    return find_learning_rate(train_step, low, high, steps)


def _batches(count: int, size: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of batches of one size without end, in a new order for each pass."""
    generator = np.random.Generator(np.random.PCG64(seed))
    size = min(size, count)
    while True:
        order = generator.permutation(count)
        for start in range(0, count - size + 1, size):
            yield order[start : start + size]


class _Average:
    """An exponential moving average, corrected for its start at 0 as in Adam."""

    def __init__(self) -> None:
        self._sum, self._weight = 0.0, 0.0

    def update(self, value: float) -> float:
        self._sum = _SMOOTHING * self._sum + (1 - _SMOOTHING) * value
        self._weight = _SMOOTHING * self._weight + (1 - _SMOOTHING)
        return self._sum / self._weight
