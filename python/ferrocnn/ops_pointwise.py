"""Activations, dropout and batch norm of `ferrocnn.ops`, forward and backward."""

import numpy as np
from numpy.typing import ArrayLike

from ferrocnn import _kernels
from ferrocnn.arguments import Floats, check_same_shape, floats
from ferrocnn.checks import check_bool, check_decay, check_int, check_positive_float


def activation(x: ArrayLike, kind: str) -> Floats:
    """Return the activation of each element; NaN stays NaN. Any shape.

    kind:
        "identity": x.
        "relu": max(x, 0).
        "leaky_relu": x, below zero 0.01 x (Maas et al. 2013).
        "elu": x, below zero exp(x) - 1 (Clevert et al. 2016).
        "gelu": x P(N <= x) for a standard normal N (Hendrycks and Gimpel 2016), the exact form.
        "silu": x sigmoid(x) (Ramachandran et al. 2017).
        "tanh": the hyperbolic tangent.
        "sigmoid": 1 / (1 + exp(-x)).

    In units of the last place of float32: within 3 for all but "gelu", results below 1e-36 aside;
    "gelu" within 3e-7 times the larger of |x| and 1.
    """
    x = floats("x", x)
    out = np.empty_like(x)
    _kernels.activation(_check_kind(kind), x, out)
    return out


def activation_backward(grad: ArrayLike, x: ArrayLike, kind: str) -> Floats:
    """Return dx of `activation`: `grad` times the derivative at x.

    At 0, where those of "relu" and "leaky_relu" have none, it is the one from below.
    """
    grad, x = floats("grad", grad), floats("x", x)
    check_same_shape("grad", grad, x)
    out = grad.copy()
    _kernels.activation_backward(_check_kind(kind), out, x)
    return out


def dropout(x: ArrayLike, rate: float, key: int, spatial: bool = False) -> Floats:
    """Zero elements, each with probability `rate`; divide the others by `1 - rate`.

    Srivastava et al. 2014. With `spatial` all pixels of a channel of an image share one fate
    (Tompson et al. 2015).

    x: (n, ..., c), n images. rate: at least 0, below 1. key: below 2^64. What is drawn depends on
    the key, the number of the image and the place in it alone.
    """
    x = _batch("x", x)
    out = np.empty_like(x)
    _kernels.dropout(*_check_draw(rate, key, spatial), x, out)
    return out


def dropout_backward(grad: ArrayLike, rate: float, key: int, spatial: bool = False) -> Floats:
    """Return dx of `dropout` with the same arguments: zeroed and divided as x was."""
    out = _batch("grad", grad).copy()
    _kernels.dropout_backward(*_check_draw(rate, key, spatial), out)
    return out


def batch_norm(
    x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, epsilon: float = 1e-5
) -> tuple[Floats, Floats, Floats]:
    """Return `(x - mean) / sqrt(variance + epsilon) * gamma + beta`, the mean and the variance.

    Ioffe and Szegedy 2015, algorithm 1: mean and variance (over m elements, not m - 1) are those
    of each channel in the batch. x: (n, ..., c); gamma, beta and what is returned besides y: (c,).
    Derivation: docs/backprop.md.
    """
    x, gamma, beta = _batch("x", x), floats("gamma", gamma, 1), floats("beta", beta, 1)
    _check_channels(x, {"gamma": gamma, "beta": beta})
    out, mean, variance = np.empty_like(x), np.empty_like(gamma), np.empty_like(gamma)
    _kernels.batch_norm(
        gamma,
        beta,
        check_positive_float("epsilon", epsilon),
        "identity",
        x,
        mean,
        variance,
        True,
        out,
    )
    return out, mean, variance


def batch_norm_inference(
    x: ArrayLike,
    gamma: ArrayLike,
    beta: ArrayLike,
    mean: ArrayLike,
    variance: ArrayLike,
    epsilon: float = 1e-5,
) -> Floats:
    """Return `batch_norm` with a given mean and a given variance of at least 0, both (c,)."""
    x, gamma, beta = _batch("x", x), floats("gamma", gamma, 1), floats("beta", beta, 1)
    mean, variance = floats("mean", mean, 1), _check_variance(variance)
    _check_channels(x, {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance})
    out = np.empty_like(x)
    _kernels.batch_norm(
        gamma,
        beta,
        check_positive_float("epsilon", epsilon),
        "identity",
        x,
        mean,
        variance,
        False,
        out,
    )
    return out


def batch_norm_backward(
    grad: ArrayLike,
    x: ArrayLike,
    gamma: ArrayLike,
    mean: ArrayLike,
    variance: ArrayLike,
    epsilon: float = 1e-5,
) -> tuple[Floats, Floats, Floats]:
    """Return (dx, dgamma, dbeta) of `batch_norm`. mean and variance are those that it returned."""
    grad, x, gamma = floats("grad", grad), _batch("x", x), floats("gamma", gamma, 1)
    check_same_shape("grad", grad, x)
    mean, variance = floats("mean", mean, 1), _check_variance(variance)
    _check_channels(x, {"gamma": gamma, "mean": mean, "variance": variance})
    dx, dgamma, dbeta = grad.copy(), np.empty_like(gamma), np.empty_like(gamma)
    beta = np.zeros_like(gamma)  # plays no part without an activation
    epsilon = check_positive_float("epsilon", epsilon)
    _kernels.batch_norm_backward(
        gamma, beta, epsilon, "identity", dx, x, mean, variance, dgamma, dbeta
    )
    return dx, dgamma, dbeta


def _check_kind(kind: str) -> str:
    if kind not in _kernels.ACTIVATIONS:
        raise ValueError(f"kind: expected one of {', '.join(_kernels.ACTIVATIONS)}, got {kind!r}")
    return kind


def _check_draw(rate: float, key: int, spatial: bool) -> tuple[float, int, bool]:
    key = check_int("key", key, 0)
    if key >= 2**64:
        raise ValueError(f"key: expected a number below 2^64, got {key}")
    return check_decay("rate", rate), key, check_bool("spatial", spatial)


def _batch(name: str, value: ArrayLike) -> Floats:
    array = floats(name, value)
    if array.ndim < 2:
        raise ValueError(f"{name}: expected (n, ..., channels), got shape {array.shape}")
    return array


def _check_channels(x: Floats, vectors: dict[str, Floats]) -> None:
    for name, vector in vectors.items():
        if len(vector) != x.shape[-1]:
            raise ValueError(f"{name}: expected shape ({x.shape[-1]},), got {vector.shape}")


def _check_variance(variance: ArrayLike) -> Floats:
    array = floats("variance", variance, 1)
    if (array < 0).any():
        raise ValueError(f"variance: expected values of at least 0, got {array.min():g}")
    return array
