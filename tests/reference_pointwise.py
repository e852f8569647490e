"""Activations, dropout and batch norm: what `reference.py` is for the other layers."""

import math

import numpy as np

from augmentation_reference import Draws, bits
from reference import float64, sigmoid

_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def activation(x, kind):
    (x,) = float64(x)
    below = np.minimum(x, 0)
    with np.errstate(invalid="ignore"):  # infinity times 0, which `where` does not choose
        return {
            "identity": lambda: x,
            "relu": lambda: np.maximum(x, 0),
            "leaky_relu": lambda: np.where(x > 0, x, 0.01 * x),
            "elu": lambda: np.where(x > 0, x, np.expm1(below)),
            "gelu": lambda: np.where(x == -np.inf, 0, x * _normal_below(x)),
            "silu": lambda: np.where(x == -np.inf, 0, x * sigmoid(x)),
            "tanh": lambda: np.tanh(x),
            "sigmoid": lambda: sigmoid(x),
        }[kind]()


def slope(x, kind):
    """The derivative of `activation`; at 0, where there is none, that from below."""
    (x,) = float64(x)
    below = np.minimum(x, 0)
    near = np.clip(x, -1e3, 1e3)  # infinity times 0
    density = np.exp(-near * near / 2) / math.sqrt(2 * math.pi)
    s = sigmoid(x)
    return {
        "identity": np.ones_like(x),
        "relu": np.where(x > 0, 1.0, 0),
        "leaky_relu": np.where(x > 0, 1, 0.01),
        "elu": np.where(x > 0, 1, np.exp(below)),
        "gelu": _normal_below(x) + near * density,
        "silu": s + near * s * sigmoid(-x),
        "tanh": np.cosh(np.clip(x, -300, 300)) ** -2,
        "sigmoid": s * sigmoid(-x),
    }[kind]


def _normal_below(x):
    """P(N <= x) for a standard normal N."""
    return _erfc(-x / math.sqrt(2)) / 2


def batch_norm(x, gamma, beta, epsilon=1e-5, moments=None):
    """(y, mean, variance). The last two, (c,), are those of x unless they are given."""
    x, gamma, beta = float64(x, gamma, beta)
    axes = tuple(range(x.ndim - 1))
    mean, variance = (x.mean(axes), x.var(axes)) if moments is None else float64(*moments)
    return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta, mean, variance


def batch_norm_backward(grad, x, gamma, epsilon=1e-5):
    """(dx, dgamma, dbeta), by the chain rule through mean and variance, one step after the other.

    As in section 3 of Ioffe and Szegedy (2015).
    """
    grad, x, gamma = float64(grad, x, gamma)
    axes, m = tuple(range(x.ndim - 1)), x.size / x.shape[-1]
    centred = x - x.mean(axes)
    spread = x.var(axes) + epsilon
    dnormed = grad * gamma
    dvariance = (dnormed * centred).sum(axes) * -0.5 * spread**-1.5
    dmean = -(dnormed / np.sqrt(spread)).sum(axes) - dvariance * 2 * centred.mean(axes)
    dx = dnormed / np.sqrt(spread) + dvariance * 2 * centred / m + dmean / m
    return dx, (grad * centred / np.sqrt(spread)).sum(axes), grad.sum(axes)


def dropout_factor(shape, rate, key, spatial=False):
    """What `dropout` multiplies the elements of (n, ..., c) with: 0, or 1 / (1 - rate)."""
    rate = float(np.float32(rate))
    place_count = shape[-1] if spatial else math.prod(shape[1:])
    drawn = [
        [bits(Draws(key, index).key, place) >> 32 for place in range(place_count)]
        for index in range(shape[0])
    ]
    kept = np.array(drawn) >= int(rate * 2**32)
    if spatial:
        kept = kept.reshape(shape[0], *[1] * (len(shape) - 2), shape[-1])
    else:
        kept = kept.reshape(shape)
    return np.broadcast_to(kept, shape) / (1 - rate)
