"""Gradients of parameters: an array, or a product that is made where it is used.

The gradient of a dense layer's weights is `x^T grad`. That of the first dense layer is as large as
the rest of a network together, so optimisers take the pair, and update each block of weights from
its block of the product, which is never in memory as a whole.
"""

import numpy as np
from numpy.typing import NDArray

from ferrocnn._kernels import dense_weight_gradient, finite_range

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
