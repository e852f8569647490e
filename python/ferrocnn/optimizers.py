"""Optimisers: rules that move parameters against their gradients, in place.

All that are here take `weight_decay`, decoupled from the gradient (Loshchilov & Hutter 2019): a
step takes `learning_rate * weight_decay` of each weight away, beside its move. Only weights shrink,
the parameters whose name ends in ".weight": biases, and the gamma and beta of a normalisation, set
where a layer's outputs lie, and to pull them to zero does not make a network simpler. For `SGD`
that is the same as an L2 penalty of `weight_decay / 2 * w^2` in the loss; for the other rules it is
not, as there a penalty would go through the moments.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ferrocnn import _kernels
from ferrocnn.checks import check_decay, check_not_negative, check_positive_float
from ferrocnn.configs import build
from ferrocnn.gradients import Floats, Gradient
from ferrocnn.moments import Moments, named, prepare, restored, restored_count

_Arrays = Mapping[str, Floats]
_Gradients = Mapping[str, Gradient]
_State = Mapping[str, NDArray[Any]]
_Own = list[Floats]


class Optimizer(ABC):
    """What all optimisers share. The state of each parameter is kept under the parameter's name.

    `learning_rate` may be set between steps, as a schedule does.

    A rule of your own needs `step`; `name` is what the model's record calls it. One that keeps
    something from step to step needs `state` and `set_state` as well, to be resumed::

        class SignDescent(ferrocnn.Optimizer):
            def step(self, parameters, gradients):
                for name, parameter in parameters.items():
                    gradient = ferrocnn.as_array(gradients[name])
                    parameter -= self.learning_rate * np.sign(gradient)
    """

    name: str

    def __init_subclass__(cls) -> None:
        if "name" not in vars(cls):
            cls.name = cls.__name__.lower()

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = check_positive_float("learning_rate", learning_rate)
        self._given_rate = self.learning_rate

    @abstractmethod
    def step(self, parameters: _Arrays, gradients: _Gradients) -> None:
        """Update every parameter in place from the gradient of the same name.

        A gradient is an array, or the pair (x, grad) whose product `x^T grad` it is: `as_array`
        makes either an array.
        """

    def state(self) -> dict[str, NDArray[Any]]:
        """Return copies of what the rule keeps from step to step, to go on from exactly there.

        Arrays are named by kind and parameter, as "velocity/conv1.weight", float32 and of the
        parameter's shape; a rule that counts has "steps", a 0-d int64 array. The learning rate is
        not part of it.
        """
        return {}

    def set_state(self, state: _State, parameters: _Arrays) -> None:
        """Go on from a state that `state` returned, with copies of its arrays.

        parameters: those that the next step will be given, by name.

        Raises:
            ValueError, TypeError: an array is unknown, missing, of another shape or dtype, or not
                finite. Its key is named, and the optimiser is unchanged.
        """
        restored(state, (), parameters)

    def config(self) -> dict[str, Any]:
        """Return the name and the arguments of the constructor, for `optimizer_from_config`.

        The learning rate is the one that was given there, whatever a schedule has made of it since.
        """
        return {"name": self.name, "learning_rate": self._given_rate}


class _Rule(Optimizer):
    """What the rules of this module share: weight decay, and arrays for each parameter."""

    _kinds: ClassVar[tuple[str, ...]] = ()

    def __init__(self, learning_rate: float, weight_decay: float) -> None:
        super().__init__(learning_rate)
        self.weight_decay = check_not_negative("weight_decay", weight_decay)
        self._steps = 0
        self._moments: Moments = {kind: {} for kind in self._kinds}

    def step(self, parameters: _Arrays, gradients: _Gradients) -> None:
        prepare(self._moments, parameters)
        self._steps += 1
        for name, parameter in parameters.items():
            own = [arrays[name] for arrays in self._moments.values()]
            decay = self.weight_decay if name.endswith(".weight") else 0.0
            self._update(parameter, gradients[name], own, decay)

    @abstractmethod
    def _update(self, parameter: Floats, gradient: Gradient, own: _Own, decay: float) -> None:
        """Update one parameter. `own`: what is kept for it, in the order of `_kinds`."""

    def state(self) -> dict[str, NDArray[Any]]:
        return named(self._moments)

    def set_state(self, state: _State, parameters: _Arrays) -> None:
        self._moments = restored(state, self._kinds, parameters)

    def config(self) -> dict[str, Any]:
        return super().config() | {"weight_decay": self.weight_decay}


class SGD(_Rule):
    """Gradient descent: `w -= learning_rate * (g + weight_decay * w)`."""

    name = "sgd"

    def __init__(self, learning_rate: float, weight_decay: float = 0.0) -> None:
        super().__init__(learning_rate, weight_decay)

    def _update(self, parameter: Floats, gradient: Gradient, own: _Own, decay: float) -> None:
        _kernels.sgd_update(parameter, gradient, self.learning_rate, decay)


class Momentum(_Rule):
    """Gradient descent with momentum: `v = momentum * v + g; w -= learning_rate * v`.

    With `nesterov` the step is along `g + momentum * v` in place of v, and the name is "nesterov".
    Sutskever et al. 2013, in the form that deep-learning libraries use.
    """

    name = "momentum"
    _kinds = ("velocity",)

    def __init__(
        self,
        learning_rate: float,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        self.momentum = check_decay("momentum", momentum)
        self.nesterov = bool(nesterov)
        if nesterov:
            self.name = "nesterov"

    def _update(self, parameter: Floats, gradient: Gradient, own: _Own, decay: float) -> None:
        (velocity,) = own
        constants = (self.learning_rate, self.momentum, self.nesterov, decay)
        _kernels.momentum_update(parameter, gradient, velocity, *constants)

    def config(self) -> dict[str, Any]:
        """Return the name and the arguments of the constructor."""
        return super().config() | {"momentum": self.momentum, "nesterov": self.nesterov}


class Adam(_Rule):
    """Adam (Kingma & Ba 2015, algorithm 1), with bias correction.

    Its weight decay is decoupled, as that of AdamW: no L2 penalty as in Adam of some libraries.
    """

    name = "adam"
    _kinds = ("first_moment", "second_moment")

    def __init__(
        self,
        learning_rate: float,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        self.beta1 = check_decay("beta1", beta1)
        self.beta2 = check_decay("beta2", beta2)
        self.epsilon = check_positive_float("epsilon", epsilon)

    def _update(self, parameter: Floats, gradient: Gradient, own: _Own, decay: float) -> None:
        first, second = own
        constants = (self.learning_rate, self.beta1, self.beta2, self.epsilon, decay)
        _kernels.adam_update(parameter, gradient, first, second, self._steps, *constants)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return copies of the moments, and "steps", the number of steps, a 0-d int64 array."""
        return {"steps": np.array(self._steps, np.int64), **super().state()}

    def set_state(self, state: _State, parameters: _Arrays) -> None:
        """Go on from a state that `state` returned; see `Optimizer.set_state`."""
        steps = restored_count(state, "steps")
        moments = {key: array for key, array in state.items() if key != "steps"}
        if bool(steps) != bool(moments):
            raise ValueError(f"state: expected moments after {steps} steps, got {len(moments)}")
        super().set_state(moments, parameters)
        self._steps = steps

    def config(self) -> dict[str, Any]:
        """Return the name and the arguments of the constructor."""
        settings = {"beta1": self.beta1, "beta2": self.beta2, "epsilon": self.epsilon}
        return super().config() | settings


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019): `Adam` with another default."""

    name = "adamw"

    def __init__(
        self,
        learning_rate: float,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay)


class Lion(_Rule):
    """Lion (Chen et al. 2023): a step of one length for every weight, along the sign of a mean.

    It wants a learning rate 3 to 10 times lower than Adam, and a weight decay as much higher.
    """

    name = "lion"
    _kinds = ("moment",)

    def __init__(
        self,
        learning_rate: float,
        beta1: float = 0.9,
        beta2: float = 0.99,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        self.beta1 = check_decay("beta1", beta1)
        self.beta2 = check_decay("beta2", beta2)

    def _update(self, parameter: Floats, gradient: Gradient, own: _Own, decay: float) -> None:
        (moment,) = own
        constants = (self.learning_rate, self.beta1, self.beta2, decay)
        _kernels.lion_update(parameter, gradient, moment, *constants)

    def config(self) -> dict[str, Any]:
        """Return the name and the arguments of the constructor."""
        return super().config() | {"beta1": self.beta1, "beta2": self.beta2}


_OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "nesterov": partial(Momentum, nesterov=True),
    "adam": Adam,
    "adamw": AdamW,
    "lion": Lion,
}


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


def optimizer_from_config(config: Mapping[str, Any]) -> Optimizer:
    """Return a new optimiser of the settings that `Optimizer.config` returned, without its state.

    Raises:
        ValueError, TypeError: the name is not one of this module, or a setting is unknown, missing
            or cannot be used.
    """
    return build("optimizer", _OPTIMIZERS, config)
