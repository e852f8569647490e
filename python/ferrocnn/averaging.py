"""Averages of weights over the steps of a run: often better than the weights of the last step."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferrocnn import _kernels
from ferrocnn.checks import check_decay
from ferrocnn.moments import Moments, named, restored, restored_count

_Arrays = Mapping[str, NDArray[np.float32]]


class AveragedWeights:
    """An exponential moving average of arrays: `average += (1 - d) * (value - average)`.

    d is `decay`, lower in the first updates: `min(decay, (1 + t) / (10 + t))` for t earlier
    updates, so that the random weights of the start are soon forgotten (as in TensorFlow's
    ExponentialMovingAverage). The first update, with t = 0, copies the arrays.

    Give it all that a model needs to predict: parameters, and running statistics if it has some.
    """

    def __init__(self, decay: float = 0.999) -> None:
        self.decay = check_decay("decay", decay)
        self._updates = 0
        self._averages: Moments = {"average": {}}

    def update(self, parameters: _Arrays) -> None:
        """Take in the present values, contiguous float32 arrays; always the same names and shapes.

        Raises:
            ValueError, TypeError: a name is new or missing, or an array has another shape or
                dtype. The array is named, and nothing is changed.
        """
        averages = self._averages["average"]
        for name, array in parameters.items():
            _check(name, array, averages)
        for name in averages:
            if name not in parameters:
                raise ValueError(f"parameters: expected {name} as in earlier updates, got none")
        if not averages:
            self._averages["average"] = {name: array.copy() for name, array in parameters.items()}
        decay = min(self.decay, (1 + self._updates) / (10 + self._updates))
        for name, average in averages.items():
            _kernels.average_update(average, parameters[name], decay)
        self._updates += 1

    def values(self) -> dict[str, NDArray[np.float32]]:
        """Return copies of the averages by name; none before the first update."""
        return {name: array.copy() for name, array in self._averages["average"].items()}

    def state(self) -> dict[str, NDArray[Any]]:
        """Return copies of all that is kept, to go on from exactly there.

        "average/name" for each array, and "updates", their number, a 0-d int64 array.
        """
        return {"updates": np.array(self._updates, np.int64), **named(self._averages)}

    def set_state(self, state: Mapping[str, NDArray[Any]], parameters: _Arrays) -> None:
        """Go on from a state that `state` returned, with copies of its arrays.

        parameters: those that the next update will be given, by name.

        Raises:
            ValueError, TypeError: an array is unknown, missing, of another shape or dtype, or not
                finite. Its key is named, and nothing is changed.
        """
        updates = restored_count(state, "updates")
        averages = {key: array for key, array in state.items() if key != "updates"}
        if bool(updates) != bool(averages):
            raise ValueError(
                f"state: expected averages after {updates} updates, got {len(averages)}"
            )
        self._averages = restored(averages, ("average",), parameters)
        self._updates = updates


def _check(name: str, array: NDArray[np.float32], averages: _Arrays) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != np.float32:
        got = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"parameters: expected float32 for {name}, got {got}")
    if not array.flags.c_contiguous:
        raise ValueError(f"parameters: expected a C-contiguous array for {name}, got another")
    if averages and name not in averages:
        raise ValueError(f"parameters: expected {', '.join(averages)}, got {name}")
    if averages and averages[name].shape != array.shape:
        raise ValueError(
            f"parameters: expected shape {averages[name].shape} for {name}, got {array.shape}"
        )
