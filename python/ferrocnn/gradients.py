"""Gradients of parameters: an array, or a product that is made where it is used.

The gradient of a dense layer's weights is `x^T grad`. That of the first dense layer is as large as
the rest of a network together, so optimisers take the pair, and update each block of weights from
its block of the product, which is never in memory as a whole.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ferrocnn._kernels import dense_weight_gradient, finite_range, squared_norm
from ferrocnn.checks import check_positive_float

Floats = NDArray[np.float32]

# An array of the parameter's shape, or (x, grad), of shapes (n, in) and (n, out).
Gradient = Floats | tuple[Floats, Floats]

_LARGEST = float(np.finfo(np.float32).max)


def as_array(gradient: Gradient) -> Floats:
    """Return the gradient as an array of the parameter's shape, the caller's own.

    gradient: what an `Optimizer` is given: an array, or the pair (x, grad) of shapes (n, in) and
    (n, out) whose product `x^T grad` it is.
    """
    if not isinstance(gradient, tuple):
        return gradient.copy()
    x, grad = gradient
    array = np.empty((x.shape[1], grad.shape[1]), np.float32)
    dense_weight_gradient(grad, x, array)
    return array


def is_finite(gradient: Gradient) -> bool:
    """Return whether all elements are finite."""
    if not isinstance(gradient, tuple):
        return finite_range(gradient) is not None
    ranges = [finite_range(factor) for factor in gradient]
    if None in ranges:
        return False
    x, grad = (max(-low, high) for low, high in filter(None, ranges))
    # No sum of so many such products overflows, rounding included; where one might, look at all.
    within = len(gradient[0]) * x * grad < _LARGEST / 2
    return within or finite_range(as_array(gradient)) is not None


def global_norm(gradients: Mapping[str, Gradient]) -> float:
    """Return the Euclidean norm of all gradients as one vector, summed in float64.

    The product of a pair is made block by block, and never in memory as a whole.
    """
    return math.sqrt(math.fsum(squared_norm(gradient) for gradient in gradients.values()))


def clip(gradients: Mapping[str, Gradient], max_norm: float) -> dict[str, Gradient]:
    """Return the gradients, scaled by one factor where their global norm exceeds `max_norm`.

    Pascanu, Mikolov & Bengio 2013. Arrays are scaled in place and returned as they are; a pair is
    returned with another `grad`, as its own may serve elsewhere.

    Raises:
        ValueError: `max_norm` is not above 0, or a gradient is not finite. Nothing is scaled.
    """
    max_norm = check_positive_float("max_norm", max_norm)
    norm = global_norm(gradients)
    if not math.isfinite(norm):
        raise ValueError(f"gradients: expected finite values, got a norm of {norm}")
    if norm <= max_norm:
        return dict(gradients)
    factor = np.float32(max_norm / norm)
    return {name: _scaled(gradient, factor) for name, gradient in gradients.items()}


def _scaled(gradient: Gradient, factor: np.float32) -> Gradient:
    if isinstance(gradient, tuple):
        x, grad = gradient
        return x, grad * factor
    gradient *= factor
    return gradient
