"""What is kept for each parameter from step to step: moments, velocities, averages.

Kept as {kind: {parameter name: array}}. To be saved, the arrays are named "kind/parameter name", as
in "velocity/conv1.weight".
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferrocnn.gradients import Floats

Moments = dict[str, dict[str, Floats]]


def prepare(moments: Moments, parameters: Mapping[str, Floats]) -> None:
    """Start those of new parameters at zero; ValueError where one has changed its shape."""
    for arrays in moments.values():
        for name, parameter in parameters.items():
            if name not in arrays:
                arrays[name] = np.zeros_like(parameter)
            elif arrays[name].shape != parameter.shape:
                raise ValueError(
                    f"optimizer: expected the model of its earlier steps, with {name} of shape "
                    f"{arrays[name].shape}, got {parameter.shape}; make a new one for each model"
                )


def named(moments: Moments) -> dict[str, NDArray[Any]]:
    """Return copies of all arrays as they are named in a saved state."""
    return {
        f"{kind}/{name}": array.copy()
        for kind, arrays in moments.items()
        for name, array in arrays.items()
    }


def restored(
    state: Mapping[str, NDArray[Any]],
    kinds: Collection[str],
    parameters: Mapping[str, Floats],
) -> Moments:
    """Return copies of the arrays of a saved state: those of all parameters, or none at all.

    Raises:
        ValueError, TypeError: an array is unknown, missing, of another shape or dtype, or not
            finite. Its key is named.
    """
    known = {
        f"{kind}/{name}": parameter for kind in kinds for name, parameter in parameters.items()
    }
    for key in state:
        if key not in known:
            raise ValueError(f"state: expected {_listed(known)}, got {key!r}")
    if not state:
        return {kind: {} for kind in kinds}
    for key, parameter in known.items():
        if key not in state:
            raise ValueError(f"state: expected {key} beside {next(iter(state))}, got none")
        array = state[key]
        if not isinstance(array, np.ndarray) or array.dtype != np.float32:
            got = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            raise TypeError(f"state: expected float32 for {key}, got {got}")
        if array.shape != parameter.shape:
            raise ValueError(
                f"state: expected shape {parameter.shape} for {key}, got {array.shape}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"state: expected finite values for {key}, got others")
    return {
        kind: {name: np.array(state[f"{kind}/{name}"], order="C") for name in parameters}
        for kind in kinds
    }


def restored_count(state: Mapping[str, NDArray[Any]], key: str) -> int:
    """Return a count of at least 0 from a saved state, where it is a 0-d int64 array."""
    if key not in state:
        raise ValueError(f"state: expected {key}, got {_listed(state)}")
    count = state[key]
    if not isinstance(count, np.ndarray) or count.dtype != np.int64 or count.shape != ():
        raise TypeError(f"state: expected a 0-d int64 array for {key}, got {count!r}")
    if count < 0:
        raise ValueError(f"state: expected at least 0 for {key}, got {count}")
    return int(count)


def _listed(keys: Collection[str]) -> str:
    return ", ".join(keys) if keys else "no arrays"
