"""The textbook way: im2col, matrix products and masks in plain NumPy."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from benches.networks import EPSILON, LEARNING_RATE, NEWEST, running_moments
from benches.peers import Predictor, Trainer

NAME = "NumPy im2col"
TRAINING = ("im2col",)
INFERENCE = ("im2col",)


def versions():
    return {"numpy": np.__version__}


def trainer(network, parameters, variant):
    return _Trainer(network, parameters)


def predictor(network, parameters, variant, batch_size):
    return _Predictor(network, parameters)


def _columns(x):
    """(n * height * width, 9 * channels): the 3x3 window around each pixel as a row."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = sliding_window_view(padded, (3, 3), axis=(1, 2)).transpose(0, 1, 2, 4, 5, 3)
    return windows.reshape(-1, 9 * x.shape[3])


def _forward(network, p, moments, X):
    """The logits, and what backward needs of each layer. It updates the running moments."""
    x = X.astype(np.float32) * np.float32(1 / 255)
    blocks, layers = [], []
    for k in range(1, len(network.filters) + 1):
        n, height, width, _ = x.shape
        columns, weight = _columns(x), p[f"conv{k}.weight"]
        flat = columns @ weight.reshape(-1, weight.shape[3])
        if not network.batch_norm:
            flat += p[f"conv{k}.bias"]
        windows = flat.reshape(n, height // 2, 2, width // 2, 2, -1)
        outputs = pooled = windows.max(axis=(2, 4))
        normal = deviation = None
        if network.batch_norm:
            normal, deviation = _normalise(f"norm{k}", moments, pooled)
            outputs = normal * p[f"norm{k}.gamma"] + p[f"norm{k}.beta"]
        blocks.append((x.shape, columns, windows, pooled, normal, deviation, outputs))
        x = np.maximum(outputs, 0)
    x = x.reshape(len(x), -1)
    for k in range(1, len(network.dense) + 1):
        inputs = x
        x = inputs @ p[f"dense{k}.weight"] + p[f"dense{k}.bias"]
        if k < len(network.dense):
            x = np.maximum(x, 0)
        layers.append((inputs, x))
    return x[:, 0], blocks, layers


def _normalise(name, moments, x):
    """x with mean 0 and variance 1 in each channel, and the deviation that it had."""
    n = x.size // x.shape[3]
    mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    for key, newest in (("running_mean", mean), ("running_var", variance * (n / (n - 1)))):
        moments[f"{name}.{key}"] += NEWEST * (newest - moments[f"{name}.{key}"])
    deviation = np.sqrt(variance + EPSILON)
    return (x - mean) / deviation, deviation


def _loss_and_gradients(network, p, moments, X, y):
    logits, blocks, layers = _forward(network, p, moments, X)
    loss = np.mean(np.logaddexp(0, logits) - y * logits)
    gradients = {}
    grad = ((1 / (1 + np.exp(-logits)) - y) / len(y))[:, None]
    for k in range(len(layers), 0, -1):
        inputs, outputs = layers[k - 1]
        if k < len(layers):
            grad = grad * (outputs > 0)
        gradients[f"dense{k}.weight"] = inputs.T @ grad
        gradients[f"dense{k}.bias"] = grad.sum(axis=0)
        grad = grad @ p[f"dense{k}.weight"].T
    for k in range(len(blocks), 0, -1):
        shape, columns, windows, pooled, normal, deviation, outputs = blocks[k - 1]
        grad = grad.reshape(outputs.shape) * (outputs > 0)
        if network.batch_norm:
            gradients[f"norm{k}.gamma"] = dgamma = (grad * normal).sum(axis=(0, 1, 2))
            gradients[f"norm{k}.beta"] = dbeta = grad.sum(axis=(0, 1, 2))
            count = np.float32(grad.size / grad.shape[3])
            grad = grad - (normal * dgamma + dbeta) / count
            grad *= p[f"norm{k}.gamma"] / deviation
        spread = np.where(windows == pooled[:, :, None, :, None], grad[:, :, None, :, None], 0)
        flat = spread.reshape(len(columns), -1)
        weight = p[f"conv{k}.weight"]
        gradients[f"conv{k}.weight"] = (columns.T @ flat).reshape(weight.shape)
        if not network.batch_norm:
            gradients[f"conv{k}.bias"] = flat.sum(axis=0)
        if k > 1:
            grad = _fold(flat @ weight.reshape(-1, weight.shape[3]).T, shape)
    return loss, gradients


def _fold(columns, shape):
    """The sum of all windows at their places: the transpose of `_columns`."""
    n, height, width, channels = shape
    windows = columns.reshape(n, height, width, 3, 3, channels)
    padded = np.zeros((n, height + 2, width + 2, channels), np.float32)
    for i, j in np.ndindex(3, 3):
        padded[:, i : i + height, j : j + width] += windows[:, :, :, i, j]
    return padded[:, 1:-1, 1:-1]


class _Trainer(Trainer):
    def __init__(self, network, parameters):
        self._network = network
        self._parameters = {name: p.copy() for name, p in parameters.items()}
        self._moments = running_moments(network)

    def place(self, X, y):
        return X, y

    def step(self, batch):
        _, gradients = self.gradients(batch)
        for name, gradient in gradients.items():
            self._parameters[name] -= LEARNING_RATE * gradient

    def gradients(self, batch):
        return _loss_and_gradients(self._network, self._parameters, self._moments, *batch)


class _Predictor(Predictor):
    def __init__(self, network, parameters):
        self._network, self._parameters = network, parameters

    def place(self, X):
        return X

    def predict(self, batch):
        logits, _, _ = _forward(self._network, self._parameters, {}, batch)
        return 1 / (1 + np.exp(-logits))
