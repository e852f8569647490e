"""Layers that take each element by itself."""

import numpy as np

from ferrocnn import _kernels
from ferrocnn._kernels import Step
from ferrocnn.layers.base import Floats, Layer
from ferrocnn.layers.norm import LABELS


class Activation(Layer):
    """An activation by name, where no other layer brings it along."""

    def __init__(self, name: str, shape: tuple[int, ...], activation: str) -> None:
        super().__init__(name, LABELS.get(activation, activation), shape)
        self._activation = activation
        self.relu = activation == "relu"

    def steps(self, room: int, *, training: bool) -> list[Step]:
        """See `Layer.steps`."""
        self._y = self._buffers.get("y", room, self.output_shape)
        return [Step.activation(self._activation, self._y)]

    def backward(self, grad: Floats, *, need_dx: bool) -> Floats | None:
        """See `Layer.backward`."""
        _kernels.activation_backward(self._activation, grad, self._x)
        return grad


class Dropout(Layer):
    """Zeros elements, or with `spatial` whole channels of an image, in training only.

    Srivastava et al. 2014; Tompson et al. 2015. What is left is divided by 1 - rate.
    """

    def __init__(self, name: str, shape: tuple[int, ...], rate: float, *, spatial: bool) -> None:
        super().__init__(name, f"{'spatial ' if spatial else ''}dropout {rate:g}", shape)
        self._rate, self._spatial = rate, spatial
        self._key = np.zeros(1, np.uint64)

    def follow(self, before: Layer) -> None:
        """See `Layer.follow`. What it drops has no gradient either."""
        self.relu = before.relu

    def draw(self, key: int) -> None:
        """Set what the next batch draws: a number below 2^64."""
        self._key[0] = key

    def steps(self, room: int, *, training: bool) -> list[Step]:
        """See `Layer.steps`."""
        if not training:
            return []
        self._y = self._buffers.get("y", room, self.output_shape)
        return [Step.dropout(self._rate, self._key, self._spatial, self._y)]

    def backward(self, grad: Floats, *, need_dx: bool) -> Floats | None:
        """See `Layer.backward`. A gradient is dropped with its element."""
        _kernels.dropout_backward(self._rate, int(self._key[0]), self._spatial, grad)
        return grad
