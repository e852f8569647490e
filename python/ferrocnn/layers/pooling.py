"""Pools that stand alone: behind a convolution of another stride than 1, and the average."""

import numpy as np

from ferrocnn import _kernels
from ferrocnn._kernels import PoolGeometry, Step
from ferrocnn.layers.base import Floats, Layer


class _Pool(Layer):
    def __init__(
        self, name: str, kind: str, input_shape: tuple[int, int, int], window: tuple[int, int]
    ) -> None:
        self._geometry = PoolGeometry(input_shape, window, window, "valid")
        self._input_shape = input_shape
        super().__init__(name, kind, self._geometry.output_shape)


class MaxPool(_Pool):
    """The largest of each 2x2 window."""

    def __init__(self, name: str, input_shape: tuple[int, int, int]) -> None:
        super().__init__(name, "max pool 2x2", input_shape, (2, 2))

    def steps(self, room: int, *, training: bool) -> list[Step]:
        """See `Layer.steps`."""
        self._y = self._buffers.get("y", room, self.output_shape)
        self._winners = self._buffers.get("winners", room, self.output_shape, np.uint8)
        return [Step.max_pool(self._geometry, self._y, self._winners)]

    def backward(self, grad: Floats, *, need_dx: bool) -> Floats | None:
        """See `Layer.backward`."""
        dx = self._buffers.get("dx", len(grad), self._input_shape)
        _kernels.max_pool2d_backward(self._geometry, grad, self._winners[: len(grad)], dx)
        return dx


class AveragePool(_Pool):
    """The mean of each 2x2 window, or with `window` None that of the whole image."""

    def __init__(
        self, name: str, input_shape: tuple[int, int, int], window: tuple[int, int] | None = (2, 2)
    ) -> None:
        kind = "global average pool" if window is None else f"average pool {window[0]}x{window[1]}"
        super().__init__(name, kind, input_shape, window or input_shape[:2])

    def steps(self, room: int, *, training: bool) -> list[Step]:
        """See `Layer.steps`."""
        self._y = self._buffers.get("y", room, self.output_shape)
        return [Step.average_pool(self._geometry, self._y)]

    def backward(self, grad: Floats, *, need_dx: bool) -> Floats | None:
        """See `Layer.backward`."""
        dx = self._buffers.get("dx", len(grad), self._input_shape)
        _kernels.avg_pool2d_backward(self._geometry, grad, dx)
        return dx
