"""Optimisers: rules that move parameters against their gradients, in place."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ferrocnn import _kernels
from ferrocnn.checks import check_decay, check_positive_float
from ferrocnn.gradients import Gradient

_Arrays = Mapping[str, NDArray[np.float32]]
_Gradients = Mapping[str, Gradient]


class Optimizer(ABC):
    """What all optimisers share. The state of each parameter is kept under the parameter's name.

    A rule of your own needs `step`; `name` is what the model's record calls it::

        class SignDescent(ferrocnn.Optimizer):
            def step(self, parameters, gradients):
                for name, parameter in parameters.items():
                    gradient = ferrocnn.as_array(gradients[name])
                    parameter -= self.learning_rate * np.sign(gradient)
    """

    name: ClassVar[str]

    def __init_subclass__(cls) -> None:
        if "name" not in vars(cls):
            cls.name = cls.__name__.lower()

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = check_positive_float("learning_rate", learning_rate)

    @abstractmethod
    def step(self, parameters: _Arrays, gradients: _Gradients) -> None:
        """Update every parameter in place from the gradient of the same name.

        A gradient is an array, or the pair (x, grad) whose product `x^T grad` it is: `as_array`
        makes either an array.
        """


class SGD(Optimizer):
    """Gradient descent: `w -= learning_rate * g`."""

    name = "sgd"

    def step(self, parameters: _Arrays, gradients: _Gradients) -> None:
        """Update every parameter in place from the gradient of the same name."""
        for name, parameter in parameters.items():
            _kernels.sgd_update(parameter, gradients[name], self.learning_rate)


class Momentum(Optimizer):
    """Gradient descent with momentum: `v = momentum * v + g; w -= learning_rate * v`.

    Sutskever et al. 2013, in the form that deep-learning libraries use.
    """

    name = "momentum"

    def __init__(self, learning_rate: float, momentum: float = 0.9) -> None:
        super().__init__(learning_rate)
        self.momentum = check_decay("momentum", momentum)
        self._velocity: dict[str, NDArray[np.float32]] = {}

    def step(self, parameters: _Arrays, gradients: _Gradients) -> None:
        """Update every parameter in place from the gradient of the same name."""
        _prepare(self._velocity, parameters)
        for name, parameter in parameters.items():
            _kernels.momentum_update(
                parameter,
                gradients[name],
                self._velocity[name],
                self.learning_rate,
                self.momentum,
            )


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1), with bias correction."""

    name = "adam"

    def __init__(
        self,
        learning_rate: float,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__(learning_rate)
        self.beta1 = check_decay("beta1", beta1)
        self.beta2 = check_decay("beta2", beta2)
        self.epsilon = check_positive_float("epsilon", epsilon)
        self._steps = 0
        self._first: dict[str, NDArray[np.float32]] = {}
        self._second: dict[str, NDArray[np.float32]] = {}

    def step(self, parameters: _Arrays, gradients: _Gradients) -> None:
        """Update every parameter in place from the gradient of the same name."""
        _prepare(self._first, parameters)
        _prepare(self._second, parameters)
        self._steps += 1
        for name, parameter in parameters.items():
            _kernels.adam_update(
                parameter,
                gradients[name],
                self._first[name],
                self._second[name],
                self._steps,
                self.learning_rate,
                self.beta1,
                self.beta2,
                self.epsilon,
            )


def _prepare(state: dict[str, NDArray[np.float32]], parameters: _Arrays) -> None:
    """Start the state of new parameters at zero; ValueError where one has changed its shape."""
    for name, parameter in parameters.items():
        if name not in state:
            state[name] = np.zeros_like(parameter)
        elif state[name].shape != parameter.shape:
            raise ValueError(
                f"optimizer: expected the model of its earlier steps, with {name} of shape "
                f"{state[name].shape}, got {parameter.shape}; make a new one for each model"
            )


_OPTIMIZERS: dict[str, type[Optimizer]] = {rule.name: rule for rule in (SGD, Momentum, Adam)}


def make_optimizer(optimizer: str | Optimizer, learning_rate: float) -> Optimizer:
    """Return the optimiser of this name with this rate, or the given one as it is."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    if not isinstance(optimizer, str) or optimizer not in _OPTIMIZERS:
        raise ValueError(
            f"optimizer: expected one of {', '.join(_OPTIMIZERS)}, or an instance of Optimizer, "
            f"got {optimizer!r}"
        )
    return _OPTIMIZERS[optimizer](learning_rate)
