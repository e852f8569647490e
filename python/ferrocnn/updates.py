"""The updates of optimisers as functions on NumPy arrays, in place; `ops` offers them.

All take contiguous float32 arrays of one shape, each with memory of its own: a converted copy would
be updated and lost. Others raise TypeError or ValueError, and nothing is changed.

`weight_decay` is decoupled from the gradient (Loshchilov & Hutter 2019): besides its step, each
update takes `learning_rate * weight_decay` of the old parameter away. For `sgd_update` that equals
the gradient of an L2 penalty, `gradient + weight_decay * parameter`; for the others it does not.
"""

from ferrocnn import _kernels
from ferrocnn.arguments import Floats, check_in_place
from ferrocnn.checks import (
    check_decay,
    check_not_negative,
    check_positive_float,
    check_positive_int,
)


def sgd_update(
    parameter: Floats, gradient: Floats, learning_rate: float, weight_decay: float = 0.0
) -> None:
    """Update in place: `parameter -= learning_rate * (gradient + weight_decay * parameter)`.

    Contiguous float32 arrays of one shape.
    """
    check_in_place({"parameter": parameter}, {"gradient": gradient})
    _kernels.sgd_update(
        parameter,
        gradient,
        check_positive_float("learning_rate", learning_rate),
        check_not_negative("weight_decay", weight_decay),
    )


def momentum_update(
    parameter: Floats,
    gradient: Floats,
    velocity: Floats,
    learning_rate: float,
    momentum: float,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> None:
    """Update in place: `velocity = momentum * velocity + gradient`, then `parameter -= rate * it`.

    With `nesterov` the step is `gradient + momentum * velocity` in place of the velocity (Sutskever
    et al. 2013, in the form that deep-learning libraries use). Contiguous float32 arrays of one
    shape. Decoupled weight decay.
    """
    check_in_place({"parameter": parameter, "velocity": velocity}, {"gradient": gradient})
    _kernels.momentum_update(
        parameter,
        gradient,
        velocity,
        check_positive_float("learning_rate", learning_rate),
        check_decay("momentum", momentum),
        bool(nesterov),
        check_not_negative("weight_decay", weight_decay),
    )


def adam_update(
    parameter: Floats,
    gradient: Floats,
    first_moment: Floats,
    second_moment: Floats,
    step: int,
    learning_rate: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
) -> None:
    """Update in place by Adam (Kingma & Ba 2015, algorithm 1). `step` counts from 1.

    With weight decay, which is decoupled, this is AdamW (Loshchilov & Hutter 2019). Contiguous
    float32 arrays of one shape; the moments start as zeros.
    """
    moments = {"first_moment": first_moment, "second_moment": second_moment}
    check_in_place({"parameter": parameter, **moments}, {"gradient": gradient})
    _kernels.adam_update(
        parameter,
        gradient,
        first_moment,
        second_moment,
        check_positive_int("step", step),
        check_positive_float("learning_rate", learning_rate),
        check_decay("beta1", beta1),
        check_decay("beta2", beta2),
        check_positive_float("epsilon", epsilon),
        check_not_negative("weight_decay", weight_decay),
    )


def lion_update(
    parameter: Floats,
    gradient: Floats,
    moment: Floats,
    learning_rate: float,
    beta1: float = 0.9,
    beta2: float = 0.99,
    weight_decay: float = 0.0,
) -> None:
    """Update in place by Lion (Chen et al. 2023).

    The step is the sign of `beta1 * moment + (1 - beta1) * gradient`, 0 for 0; then
    `moment = beta2 * moment + (1 - beta2) * gradient`. Contiguous float32 arrays of one shape; the
    moment starts as zeros. Decoupled weight decay.
    """
    check_in_place({"parameter": parameter, "moment": moment}, {"gradient": gradient})
    _kernels.lion_update(
        parameter,
        gradient,
        moment,
        check_positive_float("learning_rate", learning_rate),
        check_decay("beta1", beta1),
        check_decay("beta2", beta2),
        check_not_negative("weight_decay", weight_decay),
    )


def average_update(average: Floats, parameter: Floats, decay: float) -> None:
    """Update an exponential moving average: `average += (1 - decay) * (parameter - average)`.

    Contiguous float32 arrays of one shape.
    """
    check_in_place({"average": average}, {"parameter": parameter})
    _kernels.average_update(average, parameter, check_decay("decay", decay))
