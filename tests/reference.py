"""What every kernel must compute: plain NumPy, float64, loops where loops are clearer.

Never optimised. Arrays are NHWC; convolution weights are (kernel_h, kernel_w, in, out), dense
weights (in, out). Inputs of any float type are widened to float64 first. `test_reference.py`
proves every gradient here by central differences.
"""

from typing import NamedTuple

import numpy as np


class Axis(NamedTuple):
    """Windows along one axis: window `i` starts at input position `i * stride - before`."""

    window: int
    stride: int
    before: int
    after: int
    output: int


def pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def axes(height, width, window, stride, padding):
    """The vertical and the horizontal `Axis`. "same" is TensorFlow's rule."""
    (window_h, window_w), (stride_h, stride_w) = pair(window), pair(stride)
    if padding == "same":
        sides = (_same(height, window_h, stride_h), _same(width, window_w, stride_w))
    elif padding == "valid":
        sides = ((0, 0), (0, 0))
    else:
        sides = (pair(pair(padding)[0]), pair(pair(padding)[1]))
    return (
        _axis(height, window_h, stride_h, *sides[0]),
        _axis(width, window_w, stride_w, *sides[1]),
    )


def _same(size, window, stride):
    output = -(-size // stride)
    total = max((output - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def _axis(size, window, stride, before, after):
    output = (before + size + after - window) // stride + 1
    return Axis(window, stride, before, after, output)


def float64(*arrays):
    return [np.asarray(array, dtype=np.float64) for array in arrays]


# Convolution


def conv2d(x, weight, bias=None, stride=1, padding="same"):
    x, weight = float64(x, weight)
    rows, columns = axes(*x.shape[1:3], weight.shape[:2], stride, padding)
    padded = _pad(x, rows, columns)
    y = np.empty((len(x), rows.output, columns.output, weight.shape[3]))
    for i, j in np.ndindex(rows.output, columns.output):
        y[:, i, j] = np.tensordot(_patch(padded, i, j, rows, columns), weight, axes=3)
    return y if bias is None else y + np.asarray(bias, dtype=np.float64)


def conv2d_backward(grad, x, weight, stride=1, padding="same"):
    grad, x, weight = float64(grad, x, weight)
    rows, columns = axes(*x.shape[1:3], weight.shape[:2], stride, padding)
    padded = _pad(x, rows, columns)
    dpadded, dweight = np.zeros_like(padded), np.zeros_like(weight)
    for i, j in np.ndindex(rows.output, columns.output):
        patch = _patch(padded, i, j, rows, columns)
        dweight += np.tensordot(patch, grad[:, i, j], axes=(0, 0))
        dpatch = _patch(dpadded, i, j, rows, columns)
        dpatch += np.tensordot(grad[:, i, j], weight, axes=(1, 3))
    height, width = x.shape[1:3]
    dx = dpadded[:, rows.before : rows.before + height, columns.before : columns.before + width]
    return dx, dweight, grad.sum(axis=(0, 1, 2))


def _pad(x, rows, columns):
    return np.pad(x, ((0, 0), (rows.before, rows.after), (columns.before, columns.after), (0, 0)))


def _patch(padded, i, j, rows, columns):
    top, left = i * rows.stride, j * columns.stride
    return padded[:, top : top + rows.window, left : left + columns.window]


# Pooling


def _cells(i, j, rows, columns, height, width):
    """(index in the window, row, column) of the elements of window (i, j), without padding."""
    for index, (a, b) in enumerate(np.ndindex(rows.window, columns.window)):
        row = i * rows.stride - rows.before + a
        column = j * columns.stride - columns.before + b
        if 0 <= row < height and 0 <= column < width:
            yield index, row, column


def max_pool2d(x, window=2, stride=None, padding="valid"):
    """(y, winners). The first maximum in row order wins; a NaN beats every number."""
    (x,) = float64(x)
    n, height, width, c = x.shape
    rows, columns = axes(height, width, window, window if stride is None else stride, padding)
    y = np.empty((n, rows.output, columns.output, c))
    winners = np.empty(y.shape, dtype=np.int64)
    for i, j in np.ndindex(rows.output, columns.output):
        best, winner = None, None
        for index, row, column in _cells(i, j, rows, columns, height, width):
            value = x[:, row, column]
            if best is None:
                best, winner = value.copy(), np.full((n, c), index)
                continue
            wins = (value > best) | (np.isnan(value) & ~np.isnan(best))
            best[wins], winner[wins] = value[wins], index
        y[:, i, j], winners[:, i, j] = best, winner
    return y, winners


def max_pool2d_backward(grad, winners, input_shape, window=2, stride=None, padding="valid"):
    (grad,) = float64(grad)
    height, width = input_shape[1:3]
    rows, columns = axes(height, width, window, window if stride is None else stride, padding)
    dx = np.zeros(input_shape)
    for i, j in np.ndindex(rows.output, columns.output):
        for index, row, column in _cells(i, j, rows, columns, height, width):
            dx[:, row, column] += np.where(winners[:, i, j] == index, grad[:, i, j], 0)
    return dx


def avg_pool2d(x, window=2, stride=None, padding="valid"):
    """The mean of the elements in each window; padding is not counted."""
    (x,) = float64(x)
    n, height, width, c = x.shape
    rows, columns = axes(height, width, window, window if stride is None else stride, padding)
    y = np.empty((n, rows.output, columns.output, c))
    for i, j in np.ndindex(rows.output, columns.output):
        cells = list(_cells(i, j, rows, columns, height, width))
        y[:, i, j] = sum(x[:, row, column] for _, row, column in cells) / len(cells)
    return y


def avg_pool2d_backward(grad, input_shape, window=2, stride=None, padding="valid"):
    (grad,) = float64(grad)
    height, width = input_shape[1:3]
    rows, columns = axes(height, width, window, window if stride is None else stride, padding)
    dx = np.zeros(input_shape)
    for i, j in np.ndindex(rows.output, columns.output):
        cells = list(_cells(i, j, rows, columns, height, width))
        for _, row, column in cells:
            dx[:, row, column] += grad[:, i, j] / len(cells)
    return dx


def global_avg_pool2d(x):
    (x,) = float64(x)
    return x.mean(axis=(1, 2))


def global_avg_pool2d_backward(grad, input_shape):
    (grad,) = float64(grad)
    height, width = input_shape[1:3]
    return np.broadcast_to(grad[:, None, None], input_shape) / (height * width)


# Dense layers, activations and the loss


def dense(x, weight, bias=None):
    x, weight = float64(x, weight)
    return x @ weight if bias is None else x @ weight + np.asarray(bias, dtype=np.float64)


def dense_backward(grad, x, weight):
    grad, x, weight = float64(grad, x, weight)
    return grad @ weight.T, x.T @ grad, grad.sum(axis=0)


def relu(x):
    (x,) = float64(x)
    return np.maximum(x, 0)


def relu_backward(grad, x):
    grad, x = float64(grad, x)
    return np.where(x > 0, grad, 0)


def sigmoid(x):
    """Neither form overflows where it is used."""
    (x,) = float64(x)
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def softmax(x):
    """Over the last axis. Taking the largest away changes no quotient, and nothing overflows."""
    (x,) = float64(x)
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def sigmoid_cross_entropy(logits, targets, weights=None):
    """Mean of log(1 + exp(z)) - t z, in the form that cannot overflow."""
    z, t = float64(logits, targets)
    terms = np.maximum(z, 0) - t * z + np.log1p(np.exp(-np.abs(z)))
    return np.average(terms.ravel(), weights=weights)


def sigmoid_cross_entropy_backward(logits, targets, grad=1.0, weights=None):
    z, t = float64(logits, targets)
    return grad * (sigmoid(z) - t) * shares(z.size, weights).reshape(z.shape)


def softmax_cross_entropy(logits, targets, weights=None):
    """Mean over the rows of minus the sum of t log(p)."""
    z, t = float64(logits, targets)
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return np.average(-np.sum(t * log_p, axis=1), weights=weights)


def softmax_cross_entropy_backward(logits, targets, grad=1.0, weights=None):
    z, t = float64(logits, targets)
    return grad * (softmax(z) - t) * shares(len(z), weights)[:, None]


def shares(count, weights):
    """What each sample adds to a weighted mean, as a share; equal ones for None."""
    w = np.ones(count) if weights is None else float64(weights)[0]
    return w / w.sum()


# Updates: each returns the new values and changes nothing


def sgd_update(parameter, gradient, learning_rate, weight_decay=0.0):
    parameter, gradient = float64(parameter, gradient)
    return shrunk(parameter, learning_rate, weight_decay) - learning_rate * gradient


def momentum_update(
    parameter, gradient, velocity, learning_rate, momentum, nesterov=False, weight_decay=0.0
):
    """(parameter, velocity)."""
    parameter, gradient, velocity = float64(parameter, gradient, velocity)
    velocity = momentum * velocity + gradient
    direction = gradient + momentum * velocity if nesterov else velocity
    return shrunk(parameter, learning_rate, weight_decay) - learning_rate * direction, velocity


def adam_update(
    parameter, gradient, first, second, step, learning_rate, beta1, beta2, epsilon, weight_decay=0.0
):
    """(parameter, first moment, second moment), as in algorithm 1 of Kingma and Ba (2015).

    `step` counts from 1.
    """
    parameter, gradient, first, second = float64(parameter, gradient, first, second)
    first = beta1 * first + (1 - beta1) * gradient
    second = beta2 * second + (1 - beta2) * gradient**2
    unbiased_first = first / (1 - beta1**step)
    unbiased_second = second / (1 - beta2**step)
    direction = unbiased_first / (np.sqrt(unbiased_second) + epsilon)
    parameter = shrunk(parameter, learning_rate, weight_decay) - learning_rate * direction
    return parameter, first, second


def lion_update(parameter, gradient, moment, learning_rate, beta1, beta2, weight_decay=0.0):
    """(parameter, moment), as in algorithm 2 of Chen et al. (2023)."""
    parameter, gradient, moment = float64(parameter, gradient, moment)
    direction = np.sign(beta1 * moment + (1 - beta1) * gradient)
    parameter = shrunk(parameter, learning_rate, weight_decay) - learning_rate * direction
    return parameter, beta2 * moment + (1 - beta2) * gradient


def average_update(average, parameter, decay):
    average, parameter = float64(average, parameter)
    return decay * average + (1 - decay) * parameter


def shrunk(parameter, learning_rate, weight_decay):
    """Decoupled weight decay (Loshchilov and Hutter 2019)."""
    return parameter * (1 - learning_rate * weight_decay)
