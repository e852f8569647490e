"""Layers: parameters, and a forward / backward pair over the kernels.

A layer keeps what its forward was given and what it computed until its backward is called. Its
arrays are reused by the next batch, so whoever keeps a result copies it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferrocnn import _kernels
from ferrocnn._kernels import BlockGeometry
from ferrocnn.gradients import Gradient

Floats = NDArray[np.float32]

# Variance of the initial weights times the number of inputs. 2 keeps the size of activations
# through a ReLU (He et al. 2015). Dense layers start smaller, at the variance of PyTorch's default:
# on photographs of cats and dogs the reference network reaches 79 % after 6 epochs of Adam so, and
# 76 % from 2, where the first dense layer learns the training set by heart before the convolutions
# have learned to see.
_CONV_VARIANCE = 2.0
_DENSE_VARIANCE = 1 / 3

_NOTHING = np.empty(0, np.float32)


Step = tuple[Any, ...]  # of `_kernels.Forward`


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
            array = self._arrays[name] = np.empty((count, *shape), dtype)
        return array[:count]


class Plan:
    """The layers of a network, run forward in one call.

    Its arrays have room for the largest batch so far; a larger one gets new ones.
    """

    def __init__(self, layers: Sequence["Layer"]) -> None:
        self._layers = layers
        self._room = 0
        self._forward = _kernels.Forward([])

    def run(self, x: NDArray[Any]) -> Floats:
        """Run all layers on (n, height, width, channels) images; return the last one's output."""
        if len(x) > self._room:
            self._room = 0  # until all layers have their arrays
            self._forward = _kernels.Forward([layer.step(len(x)) for layer in self._layers])
            self._room = len(x)
        self._forward.run(x)
        return self._layers[-1].output(len(x))


class Layer(ABC):
    """What all layers share: parameters, a gradient for each, and a shape."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    multiply_adds: int

    def __init__(self, name: str, weight: Floats) -> None:
        self.name = name
        self.weight = weight
        self.bias = np.zeros(weight.shape[-1], np.float32)
        self.dbias = np.zeros_like(self.bias)
        self._buffers = Buffers()
        self._y: Floats = _NOTHING
        self.forget()

    def parameters(self) -> dict[str, Floats]:
        """Return the live parameters by name."""
        return {f"{self.name}.weight": self.weight, f"{self.name}.bias": self.bias}

    @abstractmethod
    def gradients(self) -> dict[str, Gradient]:
        """Return the gradients, under the names of their parameters, until the next forward."""

    def forget(self) -> None:
        """Let go of the last input, which may be a part of something large."""
        self._x: NDArray[Any] = _NOTHING

    @abstractmethod
    def step(self, room: int) -> Step:
        """Return this layer as `_kernels.Forward` runs it, on up to `room` images.

        The output goes to an array of this layer.
        """

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


class ConvBlock(Layer):
    """Convolution (stride 1) -> max pool 2x2 -> ReLU."""

    def __init__(
        self,
        name: str,
        input_shape: tuple[int, int, int],
        filters: int,
        size: int,
        padding: str,
        generator: np.random.Generator,
    ) -> None:
        self._geometry = BlockGeometry(input_shape, (size, size), filters, padding)
        self._input_shape = input_shape
        self.output_shape = self._geometry.output_shape
        self.kind = f"conv {size}x{size} {padding} -> max pool 2x2 -> ReLU"
        channels = input_shape[2]
        super().__init__(name, _normal((size, size, channels, filters), _CONV_VARIANCE, generator))
        self.dweight = np.zeros_like(self.weight)
        height, width, _ = self._geometry.conv_output_shape
        self.multiply_adds = height * width * self.weight.size

    def gradients(self) -> dict[str, Gradient]:
        """See `Layer.gradients`."""
        return {f"{self.name}.weight": self.dweight, f"{self.name}.bias": self.dbias}

    def step(self, room: int) -> Step:
        """See `Layer.step`. Input (n, *input_shape), uint8 or float32; output (n, h, w, f)."""
        self._y = self._buffers.get("y", room, self.output_shape)
        self._winners = self._buffers.get("winners", room, self.output_shape, np.uint8)
        return self._geometry, self.weight, self.bias, self._y, self._winners

    def backward(self, grad: Floats, *, need_dx: bool) -> Floats | None:
        """See `Layer.backward`. grad: (n, *output_shape); dx: (n, *input_shape)."""
        dx = self._buffers.get("dx", len(grad), self._input_shape) if need_dx else None
        _kernels.conv_pool_relu_backward(
            self._geometry,
            grad,
            self._winners[: len(grad)],
            self._x,
            self.weight,
            dx,
            self.dweight,
            self.dbias,
        )
        return dx


class Dense(Layer):
    """Dense layer on the flattened input, with ReLU behind it unless it is the last."""

    _grad: Floats

    def __init__(
        self,
        name: str,
        input_shape: tuple[int, ...],
        units: int,
        generator: np.random.Generator,
        *,
        relu: bool,
    ) -> None:
        features = int(np.prod(input_shape))
        self.output_shape = (units,)
        super().__init__(name, _normal((features, units), _DENSE_VARIANCE, generator))
        self._input_shape = input_shape
        self._relu = relu
        self.kind = "dense -> ReLU" if relu else "dense"
        self.multiply_adds = features * units

    def step(self, room: int) -> Step:
        """See `Layer.step`. Input (n, *input_shape), float32; output (n, units)."""
        self._y = self._buffers.get("y", room, self.output_shape)
        return self.weight, self.bias, self._relu, self._y

    def remember(self, x: NDArray[Any]) -> Floats:
        """See `Layer.remember`."""
        return super().remember(x.reshape(len(x), -1))

    def backward(self, grad: Floats, *, need_dx: bool) -> Floats | None:
        """See `Layer.backward`. grad: (n, units); dx: (n, *input_shape)."""
        count = grad.shape[0]
        if self._relu:
            _kernels.relu_backward(grad, self._y[:count])
        self._grad = grad
        dx = self._buffers.get("dx", count, self._input_shape) if need_dx else None
        flat = None if dx is None else dx.reshape(count, -1)
        _kernels.dense_backward(grad, self.weight, flat, self.dbias)
        return dx

    def gradients(self) -> dict[str, Gradient]:
        """See `Layer.gradients`. That of the weights is a product."""
        return {f"{self.name}.weight": (self._x, self._grad), f"{self.name}.bias": self.dbias}

    def forget(self) -> None:
        """Let go of the last input and gradient."""
        super().forget()
        self._grad = _NOTHING


def _normal(
    shape: tuple[int, ...], variance_times_fan_in: float, generator: np.random.Generator
) -> Floats:
    scale = np.float32(np.sqrt(variance_times_fan_in / np.prod(shape[:-1])))
    return generator.standard_normal(shape, dtype=np.float32) * scale
