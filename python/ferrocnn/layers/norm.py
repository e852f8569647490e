"""Batch norm, and the activation behind it."""

import numpy as np

from ferrocnn import _kernels
from ferrocnn._kernels import Step
from ferrocnn.gradients import Gradient
from ferrocnn.layers.base import Floats, Layer

_EPSILON = 1e-5
# Share of the newest batch in the running mean and variance.
_NEWEST = np.float32(0.1)


class BatchNorm(Layer):
    """Batch norm (Ioffe and Szegedy 2015) over all pixels of a batch -> activation.

    gamma and beta are trained. Inference takes the running mean and the running variance (over
    n - 1), each a tenth of the newest batch's and nine tenths of what it was.
    """

    arrays = ("gamma", "beta", "running_mean", "running_var")

    def __init__(self, name: str, shape: tuple[int, int, int], activation: str) -> None:
        self.activation = activation
        self.relu = activation == "relu"
        channels = shape[2]
        self.gamma, self.beta = np.ones(channels, np.float32), np.zeros(channels, np.float32)
        self.dgamma, self.dbeta = np.zeros_like(self.gamma), np.zeros_like(self.beta)
        self.running_mean, self.running_var = np.zeros_like(self.beta), np.ones_like(self.gamma)
        self._mean, self._variance = np.zeros_like(self.beta), np.zeros_like(self.gamma)
        # Factor and addend of each channel: the whole norm at inference.
        self.affine = np.ones_like(self.gamma), np.zeros_like(self.beta)
        self._folded = False
        after = "" if activation == "identity" else f" -> {LABELS.get(activation, activation)}"
        super().__init__(name, "batch norm" + after, shape)

    def leave(self) -> None:
        """Leave the norm and a ReLU to the layer before, at inference."""
        self._folded = True

    def parameters(self) -> dict[str, Floats]:
        """See `Layer.parameters`."""
        return {f"{self.name}.gamma": self.gamma, f"{self.name}.beta": self.beta}

    def statistics(self) -> dict[str, Floats]:
        """See `Layer.statistics`."""
        return {
            f"{self.name}.running_mean": self.running_mean,
            f"{self.name}.running_var": self.running_var,
        }

    def gradients(self) -> dict[str, Gradient]:
        """See `Layer.gradients`."""
        return {f"{self.name}.gamma": self.dgamma, f"{self.name}.beta": self.dbeta}

    def steps(self, room: int, *, training: bool) -> list[Step]:
        """See `Layer.steps`. Input and output (n, *shape)."""
        self._y = self._buffers.get("y", room, self.output_shape)
        if self._folded and not training:
            if self.activation in ("relu", "identity"):
                return []
            return [Step.activation(self.activation, self._y)]
        mean, variance = (
            (self._mean, self._variance) if training else (self.running_mean, self.running_var)
        )
        return [
            Step.batch_norm(
                self.gamma, self.beta, _EPSILON, self.activation, mean, variance, training, self._y
            )
        ]

    def prepare(self) -> None:
        """See `Layer.prepare`."""
        factor, addend = self.affine
        deviation = np.sqrt(self.running_var.astype(np.float64) + _EPSILON)
        exact = self.gamma / deviation
        factor[...] = exact
        addend[...] = self.beta - self.running_mean * exact

    def count(self) -> None:
        """See `Layer.count`."""
        n = self._x.size // len(self.gamma)
        with np.errstate(over="ignore", invalid="ignore"):  # found at the end of the epoch
            self.running_mean += _NEWEST * (self._mean - self.running_mean)
            unbiased = self._variance * np.float32(n / max(n - 1, 1))
            self.running_var += _NEWEST * (unbiased - self.running_var)

    def backward(self, grad: Floats, *, need_dx: bool) -> Floats | None:
        """See `Layer.backward`. grad and dx: (n, *shape)."""
        _kernels.batch_norm_backward(
            self.gamma,
            self.beta,
            _EPSILON,
            self.activation,
            grad,
            self._x,
            self._mean,
            self._variance,
            self.dgamma,
            self.dbeta,
        )
        return grad


# As tables name them.
LABELS = {
    "relu": "ReLU",
    "leaky_relu": "leaky ReLU",
    "elu": "ELU",
    "gelu": "GELU",
    "silu": "SiLU",
}
