"""Convolutions: with the 2x2 max pool in one pass, and of any stride without one."""

from typing import Any

import numpy as np

from ferrocnn import _kernels
from ferrocnn._kernels import BlockGeometry, ConvGeometry, Step
from ferrocnn.gradients import Gradient
from ferrocnn.layers.base import Floats, Layer, normal
from ferrocnn.layers.norm import BatchNorm

# Variance of the initial weights times the number of inputs: 2 keeps the size of activations
# through a ReLU (He et al. 2015).
_VARIANCE = 2.0


class _Convolution(Layer):
    """Filters, and a bias for each unless a batch norm follows, which takes it out again."""

    arrays = ("weight", "bias")

    _geometry: Any

    def __init__(
        self,
        name: str,
        kind: str,
        input_shape: tuple[int, int, int],
        output_shape: tuple[int, int, int],
        filters: tuple[int, int],
        generator: np.random.Generator,
        *,
        biased: bool,
    ) -> None:
        super().__init__(name, kind, output_shape)
        count, size = filters
        self.weight = normal((size, size, input_shape[2], count), _VARIANCE, generator)
        self.bias = np.zeros(count, np.float32)
        self.dweight, self.dbias = np.zeros_like(self.weight), np.zeros_like(self.bias)
        self._biased = biased
        self._input_shape = input_shape

    def parameters(self) -> dict[str, Floats]:
        """See `Layer.parameters`."""
        return self._named(self.weight, self.bias)

    def gradients(self) -> dict[str, Gradient]:
        """See `Layer.gradients`."""
        return {**self._named(self.dweight, self.dbias)}

    def _named(self, weight: Floats, bias: Floats) -> dict[str, Floats]:
        named = {f"{self.name}.weight": weight}
        return named | {f"{self.name}.bias": bias} if self._biased else named

    def _dx(self, count: int, need_dx: bool) -> Floats | None:
        return self._buffers.get("dx", count, self._input_shape) if need_dx else None


class ConvPool(_Convolution):
    """Convolution of stride 1 -> max pool 2x2, and a ReLU if asked for.

    For inference a batch norm behind it can be folded in, and its ReLU if that is its activation.
    """

    def __init__(
        self,
        name: str,
        input_shape: tuple[int, int, int],
        filters: tuple[int, int],
        padding: str,
        generator: np.random.Generator,
        *,
        relu: bool,
        biased: bool,
    ) -> None:
        size = filters[1]
        self._geometry = BlockGeometry(input_shape, (size, size), filters[0], padding)
        kind = f"conv {size}x{size} {padding} -> max pool 2x2" + (" -> ReLU" if relu else "")
        output = self._geometry.output_shape
        super().__init__(name, kind, input_shape, output, filters, generator, biased=biased)
        height, width, _ = self._geometry.conv_output_shape
        self.multiply_adds = height * width * self.weight.size
        self.relu = relu
        self._norm: BatchNorm | None = None

    def fold(self, norm: BatchNorm) -> None:
        """Do at inference what `norm`, the next layer, does in training."""
        self._norm = norm
        norm.leave()

    def steps(self, room: int, *, training: bool) -> list[Step]:
        """See `Layer.steps`. Input (n, *input_shape), uint8 or float32; output (n, h, w, f)."""
        self._y = self._buffers.get("y", room, self.output_shape)
        self._winners = self._buffers.get("winners", room, self.output_shape, np.uint8)
        affine, relu = None, self.relu
        if self._norm is not None and not training:
            affine, relu = self._norm.affine, self._norm.activation == "relu"
        y, winners = self._y, self._winners
        return [Step.conv_pool(self._geometry, self.weight, self.bias, affine, relu, y, winners)]

    def backward(self, grad: Floats, *, need_dx: bool) -> Floats | None:
        """See `Layer.backward`. grad: (n, *output_shape); dx: (n, *input_shape)."""
        dx = self._dx(len(grad), need_dx)
        _kernels.conv_pool_backward(
            self._geometry,
            grad,
            self._winners[: len(grad)],
            self.relu,
            self._x,
            self.weight,
            dx,
            self.dweight,
            self.dbias,
        )
        return dx


class Conv2d(_Convolution):
    """Convolution of any stride."""

    def __init__(
        self,
        name: str,
        input_shape: tuple[int, int, int],
        filters: tuple[int, int],
        stride: int,
        padding: str,
        generator: np.random.Generator,
        *,
        biased: bool,
    ) -> None:
        size = filters[1]
        pair = (stride, stride)
        self._geometry = ConvGeometry(input_shape, (size, size), filters[0], pair, padding)
        kind = f"conv {size}x{size} {padding}" + (f", stride {stride}" if stride > 1 else "")
        output = self._geometry.output_shape
        super().__init__(name, kind, input_shape, output, filters, generator, biased=biased)
        self.multiply_adds = output[0] * output[1] * self.weight.size

    def steps(self, room: int, *, training: bool) -> list[Step]:
        """See `Layer.steps`. Input (n, *input_shape), uint8 or float32; output (n, h, w, f)."""
        self._y = self._buffers.get("y", room, self.output_shape)
        return [Step.conv(self._geometry, self.weight, self.bias, self._y)]

    def backward(self, grad: Floats, *, need_dx: bool) -> Floats | None:
        """See `Layer.backward`. grad: (n, *output_shape); dx: (n, *input_shape)."""
        dx = self._dx(len(grad), need_dx)
        _kernels.conv_backward(
            self._geometry, grad, self._x, self.weight, dx, self.dweight, self.dbias
        )
        return dx
