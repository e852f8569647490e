"""The losses of `ferrocnn.ops`, forward and backward."""

import numpy as np
from numpy.typing import ArrayLike

from ferrocnn import _kernels
from ferrocnn.arguments import Floats, check_distributions, check_targets, floats
from ferrocnn.checks import check_float
from ferrocnn.labels import check_sample_weight


def sigmoid_cross_entropy(
    logits: ArrayLike, targets: ArrayLike, weights: ArrayLike | None = None
) -> float:
    """Return the mean binary cross-entropy in nats, computed from logits.

    logits, targets: any equal shapes, targets in 0..1. Finite for every finite logit.
    weights: (n,) for n logits, finite and not negative; the mean is then weighted,
    `sum(weights * losses) / sum(weights)`.
    """
    logits, targets = floats("logits", logits), floats("targets", targets)
    check_targets(targets, logits)
    return _kernels.sigmoid_cross_entropy(logits, targets, _weights(weights, logits.size))


def sigmoid_cross_entropy_backward(
    logits: ArrayLike, targets: ArrayLike, grad: float = 1.0, weights: ArrayLike | None = None
) -> Floats:
    """Return dlogits of `sigmoid_cross_entropy`: `grad * (sigmoid(logits) - targets) / count`.

    With weights `weights / sum(weights)` takes the place of `1 / count`.
    """
    logits, targets = floats("logits", logits), floats("targets", targets)
    check_targets(targets, logits)
    out = np.empty_like(logits)
    _kernels.sigmoid_cross_entropy_backward(
        logits, targets, _weights(weights, logits.size), check_float("grad", grad), out
    )
    return out


def softmax_cross_entropy(
    logits: ArrayLike, targets: ArrayLike, weights: ArrayLike | None = None
) -> float:
    """Return the mean categorical cross-entropy in nats, computed from logits.

    logits, targets: (n, k) for k of at least 2; each row of targets is a distribution over the k
    classes (one-hot, smoothed or mixed), in 0..1 with the sum 1. Finite for every finite logit.
    weights: (n,), finite and not negative; the mean is then weighted,
    `sum(weights * losses) / sum(weights)`.
    """
    logits, targets = floats("logits", logits, 2), floats("targets", targets, 2)
    check_distributions(targets, logits)
    return _kernels.softmax_cross_entropy(logits, targets, _weights(weights, len(logits)))


def softmax_cross_entropy_backward(
    logits: ArrayLike, targets: ArrayLike, grad: float = 1.0, weights: ArrayLike | None = None
) -> Floats:
    """Return dlogits of `softmax_cross_entropy`: `grad * (softmax(logits) - targets) / n`.

    With weights `weights / sum(weights)` takes the place of `1 / n`, row by row.
    """
    logits, targets = floats("logits", logits, 2), floats("targets", targets, 2)
    check_distributions(targets, logits)
    out = np.empty_like(logits)
    _kernels.softmax_cross_entropy_backward(
        logits, targets, _weights(weights, len(logits)), check_float("grad", grad), out
    )
    return out


def _weights(weights: ArrayLike | None, count: int) -> Floats | None:
    if weights is None:
        return None
    return check_sample_weight(floats("weights", weights, 1), count, "weights")
