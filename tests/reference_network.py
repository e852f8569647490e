"""The whole network in plain NumPy, float64, built from the other references.

(convolution -> pool -> [batch norm] -> activation -> [spatial dropout]) per block, global average
pool or flatten, ([dropout] -> dense -> activation) per dense layer, the last without activation,
mean cross-entropy: of one logit's sigmoid, or of the softmax of several.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

import reference
import reference_pointwise as pointwise

# Activations whose derivative jumps at 0.
_KINKED = ("relu", "leaky_relu")


@dataclass(frozen=True)
class Block:
    filters: int
    size: int
    pool: str | None = "max"
    stride: int = 1
    batch_norm: bool | None = None


Backward = Callable[[np.ndarray, bool], tuple[np.ndarray, dict[str, np.ndarray]]]


@dataclass
class Pass:
    """A batch on its way forward, and what takes its gradient back."""

    x: np.ndarray
    # Each takes the gradient of a layer's output to that of its input, and to those of parameters,
    # or to their magnitudes.
    backward: list[Backward] = field(default_factory=list)
    # How little a value may move before a winner or the sign of a ReLU's input changes.
    distance: float = math.inf
    moments: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, y, backward):
        self.x = y
        self.backward.append(backward)


@dataclass(frozen=True)
class ReferenceNetwork:
    """`parameters`, in every method, maps conv1.weight, norm1.gamma, dense1.bias ... to arrays.

    keys: of the dropout layers by name, dropout1 ... and dense1.dropout ..., for training.
    """

    conv_filters: tuple[Any, ...]
    fc_layers: tuple[int, ...]
    padding: str = "same"
    activation: str = "relu"
    batch_norm: bool = False
    dropout: float = 0.0
    spatial_dropout: float = 0.0
    global_average_pool: bool = False
    keys: Mapping[str, int] = field(default_factory=dict)

    def blocks(self):
        """(number, block, whether it has a batch norm)."""
        for number, block in enumerate(self.conv_filters, start=1):
            b = Block(*block) if isinstance(block, tuple) else block
            yield number, b, self.batch_norm if b.batch_norm is None else b.batch_norm

    def logits(self, parameters, x):
        """(n, units) float64 from (n, h, w, c) pixels; uint8 means 0..255. As in training."""
        return self._forward(parameters, x).x

    def inference(self, state, x):
        """The logits with the running statistics that `state` holds besides the parameters."""
        return self._forward(state, x, training=False).x

    def loss(self, parameters, x, y, weights=None):
        logits = self.logits(parameters, x)
        return self._loss("")(logits, self._targets(y), weights=weights)

    def gradients(self, parameters, x, y, weights=None):
        """(loss, gradients by name)."""
        return self._backward(self._forward(parameters, x), y, weights)

    def magnitudes(self, parameters, x, y):
        """By name, the gradients' sums over absolute values: what was summed before it cancelled.

        An input counts as 1 at least: it is a sum of values of that order, which may have cancelled
        as well. What goes through the means and variances of batch norms is left out: it cancels
        the rest.
        """
        return self._backward(self._forward(parameters, x), y, absolute=True)[1]

    def _backward(self, run, y, weights=None, absolute=False):
        targets = self._targets(y)
        grad, gradients = self._loss("_backward")(run.x, targets, weights=weights), {}
        for backward in reversed(run.backward):
            grad, own = backward(grad, absolute)
            gradients |= own
        return self._loss("")(run.x, targets, weights=weights), gradients

    def moments(self, parameters, x):
        """{norm1.mean: ..., norm1.variance: ...} of a batch in training, over n, not n - 1."""
        return self._forward(parameters, x).moments

    def distance_to_kink(self, parameters, x):
        """How little a value may move, in any layer, before a winner or a ReLU's sign changes.

        Only where this exceeds the rounding errors does float32 have to give the same gradient.
        """
        return self._forward(parameters, x).distance

    def random_parameters(self, rng, input_shape):
        """He-normal float64 weights, small biases, gammas of both signs."""
        height, width, channels = input_shape
        parameters = {}
        for k, block, normed in self.blocks():
            shape = (block.size, block.size, channels, block.filters)
            deviation = math.sqrt(2 / math.prod(shape[:3]))
            parameters[f"conv{k}.weight"] = rng.normal(0, deviation, shape)
            if normed:
                signs = rng.choice([-1, 1], block.filters)
                parameters[f"norm{k}.gamma"] = signs * rng.uniform(0.5, 1.5, block.filters)
                parameters[f"norm{k}.beta"] = rng.normal(0, 0.3, block.filters)
            else:
                parameters[f"conv{k}.bias"] = rng.normal(0, 0.1, block.filters)
            rows, columns = reference.axes(height, width, block.size, block.stride, self.padding)
            halves = 2 if block.pool else 1
            height, width, channels = rows.output // halves, columns.output // halves, block.filters
        features = channels if self.global_average_pool else height * width * channels
        for k, units in enumerate(self.fc_layers, start=1):
            deviation = math.sqrt(2 / features)
            parameters[f"dense{k}.weight"] = rng.normal(0, deviation, (features, units))
            parameters[f"dense{k}.bias"] = rng.normal(0, 0.1, units)
            features = units
        return parameters

    def _loss(self, direction):
        kind = "sigmoid" if self.fc_layers[-1] == 1 else "softmax"
        return getattr(reference, f"{kind}_cross_entropy{direction}")

    def _targets(self, y):
        units = self.fc_layers[-1]
        return np.reshape(y, (-1, 1)) if units == 1 else np.eye(units)[np.ravel(y).astype(int)]

    def _forward(self, parameters, x, training=True):
        run = Pass(x / 255.0 if x.dtype == np.uint8 else np.asarray(x, dtype=np.float64))
        for k, block, normed in self.blocks():
            self._convolve(run, parameters, k, block, normed)
            _pool(run, block.pool)
            if normed:
                self._normalise(run, parameters, f"norm{k}", training)
            _activate(run, self.activation)
            if self.spatial_dropout and training:
                self._drop(run, f"dropout{k}", self.spatial_dropout, spatial=True)
        if self.global_average_pool:
            _average_all(run)
        for k in range(1, len(self.fc_layers) + 1):
            if self.dropout and training:
                self._drop(run, f"dense{k}.dropout", self.dropout, spatial=False)
            _connect(run, parameters, f"dense{k}")
            if k < len(self.fc_layers):
                _activate(run, self.activation)
        return run

    def _convolve(self, run, parameters, k, block, normed):
        x, weight = run.x, parameters[f"conv{k}.weight"]
        bias = None if normed else parameters[f"conv{k}.bias"]

        def backward(grad, absolute):
            of = partial(reference.conv2d_backward, stride=block.stride, padding=self.padding)
            dx, dweight, dbias = of(grad, x, weight)
            if absolute:
                _, dweight, dbias = of(np.abs(grad), _at_least_1(x), weight)
            own = {f"conv{k}.weight": dweight}
            return dx, own if normed else own | {f"conv{k}.bias": dbias}

        run.add(reference.conv2d(x, weight, bias, block.stride, self.padding), backward)

    def _normalise(self, run, parameters, name, training):
        x, gamma, beta = run.x, parameters[f"{name}.gamma"], parameters[f"{name}.beta"]
        moments = None
        if not training:
            moments = parameters[f"{name}.running_mean"], parameters[f"{name}.running_var"]
        y, mean, variance = pointwise.batch_norm(x, gamma, beta, moments=moments)

        def backward(grad, absolute):
            dx, dgamma, dbeta = pointwise.batch_norm_backward(grad, x, gamma)
            if absolute:
                deviation = np.sqrt(variance + 1e-5)
                dx = grad * gamma / deviation
                dgamma = (np.abs(grad) * _at_least_1((x - mean) / deviation)).sum((0, 1, 2))
                dbeta = np.abs(grad).sum((0, 1, 2))
            return dx, {f"{name}.gamma": dgamma, f"{name}.beta": dbeta}

        run.moments |= {f"{name}.mean": mean, f"{name}.variance": variance}
        run.add(y, backward)

    def _drop(self, run, name, rate, spatial):
        factor = pointwise.dropout_factor(run.x.shape, rate, self.keys[name], spatial)
        run.add(run.x * factor, lambda grad, _: (grad * factor, {}))


def _at_least_1(x):
    return np.maximum(np.abs(x), 1)


def _pool(run, kind):
    shape = run.x.shape
    if kind == "max":
        n, height, width, c = shape
        even = run.x[:, : height // 2 * 2, : width // 2 * 2]
        windows = even.reshape(n, height // 2, 2, width // 2, 2, c).swapaxes(2, 3)
        best = np.sort(windows.reshape(n, height // 2, width // 2, 4, c), axis=3)[:, :, :, 2:]
        run.distance = min(run.distance, np.diff(best, axis=3).min())
        y, winners = reference.max_pool2d(run.x)
        run.add(y, lambda grad, _: (reference.max_pool2d_backward(grad, winners, shape), {}))
    elif kind == "avg":
        y = reference.avg_pool2d(run.x)
        run.add(y, lambda grad, _: (reference.avg_pool2d_backward(grad, shape), {}))


def _activate(run, kind):
    x = run.x
    if kind in _KINKED:
        run.distance = min(run.distance, np.abs(x).min())
    run.add(pointwise.activation(x, kind), lambda grad, _: (grad * pointwise.slope(x, kind), {}))


def _average_all(run):
    shape = run.x.shape
    y = reference.global_avg_pool2d(run.x)
    run.add(y, lambda grad, _: (reference.global_avg_pool2d_backward(grad, shape), {}))


def _connect(run, parameters, name):
    shape, weight = run.x.shape, parameters[f"{name}.weight"]
    x = run.x.reshape(len(run.x), -1)

    def backward(grad, absolute):
        dx, dweight, dbias = reference.dense_backward(grad, x, weight)
        if absolute:
            _, dweight, dbias = reference.dense_backward(np.abs(grad), _at_least_1(x), weight)
        return dx.reshape(shape), {f"{name}.weight": dweight, f"{name}.bias": dbias}

    run.add(reference.dense(x, weight, parameters[f"{name}.bias"]), backward)
