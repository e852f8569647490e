"""What all layers share, and the plan that runs them forward.

A layer keeps what its forward was given and what it computed until its backward is called. Its
arrays are reused by the next batch, so whoever keeps a result copies it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ferrocnn import _kernels
from ferrocnn._kernels import Step
from ferrocnn.gradients import Gradient

Floats = NDArray[np.float32]

NOTHING = np.empty(0, np.float32)

# Bytes of a cache line. A vector of the kernels that crosses two costs twice to load, and NumPy's
# own arrays start anywhere.
_LINE = 64


def empty(shape: tuple[int, ...], dtype: type[np.generic] = np.float32) -> NDArray[Any]:
    """Return an array of unspecified content that starts with a cache line."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    room = np.empty(size + _LINE, np.uint8)
    start = -room.ctypes.data % _LINE
    return room[start : start + size].view(dtype).reshape(shape)


class Buffers:
    """Arrays for one batch, kept from step to step and only ever made larger."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}

    def get(
        self, name: str, count: int, shape: Sequence[int], dtype: type[np.generic] = np.float32
    ) -> NDArray[Any]:
        """Return an array of shape (count, *shape), its content unspecified."""
        array = self._arrays.get(name)
        if array is None or array.shape[0] < count:
            array = self._arrays[name] = empty((count, *shape), dtype)
        return array[:count]


class Plan:
    """The layers of a network, run forward in one call, for training or for inference.

    Both write to the same arrays, which have room for the largest batch so far. A larger one gets
    new arrays, and then both are planned anew.
    """

    def __init__(self, layers: Sequence["Layer"]) -> None:
        self._layers = layers
        self._room = 0
        self._forwards: dict[bool, _kernels.Forward] = {}

    def run(self, x: NDArray[Any], *, training: bool) -> Floats:
        """Run all layers on (n, height, width, channels) images; return the last one's output."""
        if len(x) > self._room:
            self._forwards.clear()
            self._room = 0  # until all layers have their arrays
        if training not in self._forwards:
            room = max(self._room, len(x))
            steps = [layer.steps(room, training=training) for layer in self._layers]
            self._forwards[training] = _kernels.Forward([step for part in steps for step in part])
            self._room = room
        self._forwards[training].run(x)
        return self._layers[-1].output(len(x))


class Layer(ABC):
    """What all layers share: a shape, parameters if any, and a gradient for each."""

    multiply_adds = 0
    # Whether backward takes the gradient of each output that is 0 for 0, as a ReLU does.
    relu = False
    # The attributes that hold parameters and statistics.
    arrays: ClassVar[tuple[str, ...]] = ()

    def __init__(self, name: str, kind: str, output_shape: tuple[int, ...]) -> None:
        self.name = name
        self.kind = kind
        self.output_shape = output_shape
        self._buffers = Buffers()
        self._y: Floats = NOTHING
        self.forget()

    def parameters(self) -> dict[str, Floats]:
        """Return the live parameters by name."""
        return {}

    def statistics(self) -> dict[str, Floats]:
        """Return what else inference needs, live, by name: it is counted, not trained."""
        return {}

    def gradients(self) -> dict[str, Gradient]:
        """Return the gradients, under the names of their parameters, until the next forward."""
        return {}

    def follow(self, before: "Layer") -> None:  # noqa: B027 - most layers do not care
        """Learn which layer comes before this one."""

    def share(self, other: "Layer") -> None:
        """Take the parameters and statistics of a layer alike for one's own, before the first run.

        ValueError where they have other shapes.
        """
        for name in self.arrays:
            own, theirs = getattr(self, name), getattr(other, name)
            if own.shape != theirs.shape:
                raise ValueError(f"{self.name}: expected {name} of {own.shape}, got {theirs.shape}")
            setattr(self, name, theirs)

    def forget(self) -> None:
        """Let go of the last input, which may be a part of something large."""
        self._x: NDArray[Any] = NOTHING

    @abstractmethod
    def steps(self, room: int, *, training: bool) -> list[Step]:
        """Return this layer as `_kernels.Forward` runs it, on up to `room` images.

        The output goes to an array of this layer.
        """

    def prepare(self) -> None:  # noqa: B027 - most layers have nothing to do
        """Bring up to date what the steps of inference read besides parameters and statistics."""

    def count(self) -> None:  # noqa: B027 - as above
        """Take the last training batch into the statistics."""

    def remember(self, x: NDArray[Any]) -> Floats:
        """Keep the input for backward; return the output, once a `Forward` has run."""
        self._x = x
        return self.output(len(x))

    def output(self, count: int) -> Floats:
        """Return the output of the last `Forward` for its first `count` images."""
        return self._y[:count]

    @abstractmethod
    def backward(self, grad: Floats, *, need_dx: bool) -> Floats | None:
        """Compute the gradients of the parameters, and of the input where asked for.

        grad is the gradient of the last forward's output; it is overwritten.
        """


def normal(
    shape: tuple[int, ...], variance_times_fan_in: float, generator: np.random.Generator
) -> Floats:
    """Return initial weights whose last axis is the outputs; the others are the fan-in."""
    scale = np.float32(np.sqrt(variance_times_fan_in / np.prod(shape[:-1])))
    weights = empty(shape)
    np.multiply(generator.standard_normal(shape, dtype=np.float32), scale, out=weights)
    return weights
