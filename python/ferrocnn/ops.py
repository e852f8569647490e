"""The kernels as plain functions on NumPy arrays, forward and backward.

Activations are (batch, height, width, channels), convolution weights (kernel_h, kernel_w,
in_channels, out_channels), dense weights (in_features, out_features); all float32. Other float
dtypes are converted; other dtypes raise TypeError. Shapes that do not fit raise ValueError.

`stride` and `window` are an int or (vertical, horizontal). `padding` is "same" (output
`ceil(size / stride)`, an odd extra row or column at the bottom and right, as TensorFlow does),
"valid" (none), an int, (vertical, horizontal), or ((top, bottom), (left, right)).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferrocnn import _kernels
from ferrocnn.arguments import (
    Floats,
    Padding,
    Pair,
    check_input_shape,
    check_same_shape,
    conv_geometry,
    floats,
    images,
    optional_floats,
    pool_geometry,
    winner_dtype,
)
from ferrocnn.ops_losses import (
    sigmoid_cross_entropy,
    sigmoid_cross_entropy_backward,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
)
from ferrocnn.ops_pointwise import (
    activation,
    activation_backward,
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    dropout,
    dropout_backward,
)
from ferrocnn.updates import (
    adam_update,
    average_update,
    lion_update,
    momentum_update,
    sgd_update,
)

__all__ = [
    "activation",
    "activation_backward",
    "adam_update",
    "average_update",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "conv2d",
    "conv2d_backward",
    "dense",
    "dense_backward",
    "dropout",
    "dropout_backward",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "lion_update",
    "max_pool2d",
    "max_pool2d_backward",
    "momentum_update",
    "relu",
    "relu_backward",
    "sgd_update",
    "sigmoid",
    "sigmoid_cross_entropy",
    "sigmoid_cross_entropy_backward",
    "softmax",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
]


def conv2d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Pair = 1,
    padding: Padding = "same",
) -> Floats:
    """Convolve each image with each filter (cross-correlation: the filter is not flipped).

    x: (n, h, w, c), float, or uint8 meaning 0..255 and scaled to 0..1. weight: (kh, kw, c, k).
    bias: (k,). Returns (n, oh, ow, k). Derivation: docs/backprop.md.
    """
    x, weight = images("x", x), floats("weight", weight, 4)
    geometry = conv_geometry(x, weight, stride, padding)
    out = np.empty((x.shape[0], *geometry.output_shape), np.float32)
    _kernels.conv2d(geometry, x, weight, optional_floats("bias", bias, 1), out)
    return out


def conv2d_backward(
    grad: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike,
    stride: Pair = 1,
    padding: Padding = "same",
) -> tuple[Floats, Floats, Floats]:
    """Return (dx, dweight, dbias) of `conv2d` from the gradient of its output.

    For uint8 images dx is the gradient with respect to the values scaled to 0..1.
    """
    x, weight = images("x", x), floats("weight", weight, 4)
    geometry = conv_geometry(x, weight, stride, padding)
    dx, dweight = np.empty(x.shape, np.float32), np.empty_like(weight)
    dbias = np.empty(weight.shape[3], np.float32)
    grad = floats("grad", grad, 4)
    _kernels.conv2d_backward(geometry, grad, x, weight, dx, dweight, dbias)
    return dx, dweight, dbias


def max_pool2d(
    x: ArrayLike, window: Pair = 2, stride: Pair | None = None, padding: Padding = "valid"
) -> tuple[Floats, NDArray[np.uint8] | NDArray[np.uint32]]:
    """Return the largest element of each window, and its index there.

    x: (n, h, w, c). Returns y and winners, both (n, oh, ow, c). A winner is `row * window_w +
    column` in its window, uint8 (uint32 for windows of more than 256 elements). The first of
    equals wins; NaN beats every number; padding never wins. `stride` defaults to the window.
    """
    x = floats("x", x, 4)
    geometry = pool_geometry(x.shape[1:], window, stride, padding)
    y = np.empty((x.shape[0], *geometry.output_shape), np.float32)
    winners: NDArray[Any] = np.empty(y.shape, winner_dtype(window))
    _kernels.max_pool2d(geometry, x, y, winners)
    return y, winners


def max_pool2d_backward(
    grad: ArrayLike,
    winners: NDArray[Any],
    input_shape: Sequence[int],
    window: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = "valid",
) -> Floats:
    """Return dx of `max_pool2d`: each gradient at its winner, summed where windows overlap.

    `input_shape` is the shape of x, (n, h, w, c).
    """
    grad = floats("grad", grad, 4)
    shape = check_input_shape(input_shape, grad.shape[0])
    geometry = pool_geometry(shape[1:], window, stride, padding)
    winners = np.ascontiguousarray(winners)
    if winners.dtype != winner_dtype(window) or winners.ndim != 4:
        raise TypeError(
            f"winners: expected the {winner_dtype(window).__name__} array that max_pool2d "
            f"returned, got {winners.ndim}-dimensional {winners.dtype}"
        )
    dx = np.empty(shape, np.float32)
    _kernels.max_pool2d_backward(geometry, grad, winners, dx)
    return dx


def avg_pool2d(
    x: ArrayLike, window: Pair = 2, stride: Pair | None = None, padding: Padding = "valid"
) -> Floats:
    """Return the mean of each window; padding is not counted, as in TensorFlow and ONNX.

    x: (n, h, w, c). Returns (n, oh, ow, c). `stride` defaults to the window.
    """
    x = floats("x", x, 4)
    geometry = pool_geometry(x.shape[1:], window, stride, padding)
    out = np.empty((x.shape[0], *geometry.output_shape), np.float32)
    _kernels.avg_pool2d(geometry, x, out)
    return out


def avg_pool2d_backward(
    grad: ArrayLike,
    input_shape: Sequence[int],
    window: Pair = 2,
    stride: Pair | None = None,
    padding: Padding = "valid",
) -> Floats:
    """Return dx of `avg_pool2d`; `input_shape` is the shape of x, (n, h, w, c)."""
    grad = floats("grad", grad, 4)
    shape = check_input_shape(input_shape, grad.shape[0])
    geometry = pool_geometry(shape[1:], window, stride, padding)
    dx = np.empty(shape, np.float32)
    _kernels.avg_pool2d_backward(geometry, grad, dx)
    return dx


def global_avg_pool2d(x: ArrayLike) -> Floats:
    """Return the mean over all pixels. x: (n, h, w, c). Returns (n, c)."""
    x = floats("x", x, 4)
    out = np.empty((x.shape[0], x.shape[3]), np.float32)
    _kernels.global_avg_pool2d(x, out)
    return out


def global_avg_pool2d_backward(grad: ArrayLike, input_shape: Sequence[int]) -> Floats:
    """Return dx of `global_avg_pool2d`; `input_shape` is the shape of x, (n, h, w, c)."""
    grad = floats("grad", grad, 2)
    dx = np.empty(check_input_shape(input_shape, grad.shape[0]), np.float32)
    _kernels.global_avg_pool2d_backward(grad, dx)
    return dx


def dense(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None) -> Floats:
    """Return `x @ weight + bias`. x: (n, in); weight: (in, out); bias: (out,). Returns (n, out)."""
    x, weight = floats("x", x, 2), floats("weight", weight, 2)
    out = np.empty((x.shape[0], weight.shape[1]), np.float32)
    _kernels.dense(x, weight, optional_floats("bias", bias, 1), False, out)
    return out


def dense_backward(
    grad: ArrayLike, x: ArrayLike, weight: ArrayLike
) -> tuple[Floats, Floats, Floats]:
    """Return (dx, dweight, dbias) of `dense` from the gradient of its output."""
    grad, x, weight = floats("grad", grad, 2), floats("x", x, 2), floats("weight", weight, 2)
    dx, dweight = np.empty_like(x), np.empty_like(weight)
    dbias = np.empty(weight.shape[1], np.float32)
    _kernels.dense_weight_gradient(grad, x, dweight)
    _kernels.dense_backward(grad, weight, None, dx, dbias)
    return dx, dweight, dbias


def relu(x: ArrayLike) -> Floats:
    """Return `max(x, 0)` element by element; NaN stays NaN. Any shape."""
    out = floats("x", x).copy()
    _kernels.relu(out)
    return out


def relu_backward(grad: ArrayLike, x: ArrayLike) -> Floats:
    """Return `grad` where x is above 0, else 0. x may be the input or the output of `relu`."""
    grad, x = floats("grad", grad), floats("x", x)
    check_same_shape("grad", grad, x)
    out = grad.copy()
    _kernels.relu_backward(out, x)
    return out


def sigmoid(x: ArrayLike) -> Floats:
    """Return `1 / (1 + exp(-x))` element by element, without overflow. Any shape."""
    out = floats("x", x).copy()
    _kernels.sigmoid(out)
    return out


def softmax(x: ArrayLike) -> Floats:
    """Return `exp(x) / sum of exp(x)` over each row of (n, k), without overflow."""
    out = floats("x", x, 2).copy()
    _kernels.softmax(out)
    return out
