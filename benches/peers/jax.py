"""JAX: one jitted step whose weights are donated, so that they are updated in place.

Batch norm is written as Flax has it, which takes the variance as the mean square less the squared
mean: one pass over the batch.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benches.networks import EPSILON, LEARNING_RATE, NEWEST, running_moments
from benches.peers import Predictor, Trainer

NAME = "JAX"
# Two ways to write the pool: XLA's own, whose gradient searches each window again, and a maximum
# over an axis of four, whose gradient is a comparison.
TRAINING = ("reduce_window", "reshape")
INFERENCE = TRAINING


def versions():
    return {"jax": jax.__version__}


def trainer(network, parameters, variant):
    return _Trainer(network, parameters, _POOLS[variant])


def predictor(network, parameters, variant, batch_size):
    return _Predictor(network, parameters, _POOLS[variant])


def _pool_by_window(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def _pool_by_reshape(x):
    n, height, width, channels = x.shape
    return x.reshape(n, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))


_POOLS = {"reduce_window": _pool_by_window, "reshape": _pool_by_reshape}


def _logits(network, pool, parameters, moments, X):
    """The logits, and the running moments after this batch."""
    moments = dict(moments)
    x = X.astype(jnp.float32) * (1 / 255)
    for k in range(1, len(network.filters) + 1):
        weight = parameters[f"conv{k}.weight"]
        x = lax.conv_general_dilated(
            x, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        if network.batch_norm:
            x = _batch_norm(f"norm{k}", parameters, moments, pool(x))
        else:
            x = pool(x + parameters[f"conv{k}.bias"])
        x = jax.nn.relu(x)
    x = x.reshape(len(x), -1)
    for k in range(1, len(network.dense) + 1):
        x = x @ parameters[f"dense{k}.weight"] + parameters[f"dense{k}.bias"]
        if k < len(network.dense):
            x = jax.nn.relu(x)
    return x[:, 0], moments


def _batch_norm(name, parameters, moments, x):
    """In training; it replaces the running moments."""
    n = x.size // x.shape[3]
    mean = x.mean((0, 1, 2))
    variance = jnp.maximum((x * x).mean((0, 1, 2)) - mean * mean, 0)
    for key, newest in (("running_mean", mean), ("running_var", variance * (n / (n - 1)))):
        old = moments[f"{name}.{key}"]
        moments[f"{name}.{key}"] = old + NEWEST * (newest - old)
    factor = parameters[f"{name}.gamma"] * lax.rsqrt(variance + EPSILON)
    return (x - mean) * factor + parameters[f"{name}.beta"]


class _Trainer(Trainer):
    def __init__(self, network, parameters, pool):
        self._parameters = jax.tree.map(jnp.array, parameters)
        self._moments = jax.tree.map(jnp.array, running_moments(network))

        def loss(parameters, moments, X, y):
            logits, moments = _logits(network, pool, parameters, moments, X)
            return jnp.mean(jnp.logaddexp(0, logits) - y * logits), moments

        self._gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))

        def step(parameters, moments, X, y):
            gradients, moments = jax.grad(loss, has_aux=True)(parameters, moments, X, y)
            updated = jax.tree.map(lambda p, g: p - LEARNING_RATE * g, parameters, gradients)
            return updated, moments

        self._step = jax.jit(step, donate_argnums=(0, 1))

    def place(self, X, y):
        return jnp.array(X), jnp.array(y)

    def step(self, batch):
        self._parameters, self._moments = self._step(self._parameters, self._moments, *batch)

    def finish(self):
        jax.block_until_ready(self._parameters)

    def gradients(self, batch):
        (loss, _), gradients = self._gradients(self._parameters, self._moments, *batch)
        return float(loss), {name: np.asarray(g) for name, g in gradients.items()}


class _Predictor(Predictor):
    def __init__(self, network, parameters, pool):
        weights = jax.tree.map(jnp.array, parameters)

        def probabilities(X):
            return jax.nn.sigmoid(_logits(network, pool, weights, {}, X)[0])

        self._probabilities = jax.jit(probabilities)

    def place(self, X):
        return jnp.array(X)

    def predict(self, batch):
        return np.asarray(self._probabilities(batch))
