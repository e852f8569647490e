"""The whole network in plain NumPy, float64, built from `reference.py`.

(convolution -> max pool 2x2 "valid" -> ReLU) per block, flatten,
(dense -> ReLU) per hidden layer, dense with one logit, mean binary cross-entropy
"""

import math
from dataclasses import dataclass

import numpy as np

import reference


@dataclass(frozen=True)
class ReferenceNetwork:
    """`parameters`, in every method, maps conv1.weight, conv1.bias, ... to arrays."""

    conv_filters: tuple[tuple[int, int], ...]
    fc_layers: tuple[int, ...]
    padding: str = "same"

    def logits(self, parameters, x):
        """(n, 1) float64 from (n, h, w, c) pixels; uint8 means 0..255."""
        return self._forward(parameters, x)[0]

    def loss(self, parameters, x, y):
        return reference.sigmoid_cross_entropy(self.logits(parameters, x), np.reshape(y, (-1, 1)))

    def gradients(self, parameters, x, y):
        """(loss, gradients by name)."""
        targets = np.reshape(y, (-1, 1))
        logits, blocks, layers, feature_shape = self._forward(parameters, x)
        gradients = {}
        grad = reference.sigmoid_cross_entropy_backward(logits, targets)
        for k in range(len(layers), 0, -1):
            inputs, outputs = layers[k - 1]
            if k < len(layers):
                grad = reference.relu_backward(grad, outputs)
            grad, dweight, dbias = reference.dense_backward(
                grad, inputs, parameters[f"dense{k}.weight"]
            )
            gradients |= {f"dense{k}.weight": dweight, f"dense{k}.bias": dbias}
        grad = grad.reshape(feature_shape)
        for k in range(len(blocks), 0, -1):
            inputs, convolved, pooled, winners = blocks[k - 1]
            grad = reference.relu_backward(grad, pooled)
            grad = reference.max_pool2d_backward(grad, winners, convolved.shape)
            grad, dweight, dbias = reference.conv2d_backward(
                grad, inputs, parameters[f"conv{k}.weight"], padding=self.padding
            )
            gradients |= {f"conv{k}.weight": dweight, f"conv{k}.bias": dbias}
        return reference.sigmoid_cross_entropy(logits, targets), gradients

    def distance_to_kink(self, parameters, x):
        """How little a value may move, in any layer, before a winner or a ReLU's sign changes.

        Only where this exceeds the rounding errors does float32 have to give the same gradient.
        """
        _, blocks, layers, _ = self._forward(parameters, x)
        distance = math.inf
        for _, convolved, pooled, _ in blocks:
            n, height, width, c = convolved.shape
            even = convolved[:, : height // 2 * 2, : width // 2 * 2]
            windows = even.reshape(n, height // 2, 2, width // 2, 2, c).swapaxes(2, 3)
            best = np.sort(windows.reshape(n, height // 2, width // 2, 4, c), axis=3)[:, :, :, 2:]
            distance = min(distance, np.diff(best, axis=3).min(), np.abs(pooled).min())
        for _, outputs in layers[:-1]:
            distance = min(distance, np.abs(outputs).min())
        return distance

    def _forward(self, parameters, x):
        activation = x / 255.0 if x.dtype == np.uint8 else np.asarray(x, dtype=np.float64)
        blocks, layers = [], []
        for k in range(1, len(self.conv_filters) + 1):
            inputs = activation
            convolved = reference.conv2d(
                inputs,
                parameters[f"conv{k}.weight"],
                parameters[f"conv{k}.bias"],
                padding=self.padding,
            )
            pooled, winners = reference.max_pool2d(convolved)
            activation = reference.relu(pooled)
            blocks.append((inputs, convolved, pooled, winners))
        feature_shape = activation.shape
        activation = activation.reshape(len(x), -1)
        for k in range(1, len(self.fc_layers) + 1):
            inputs = activation
            outputs = reference.dense(
                inputs, parameters[f"dense{k}.weight"], parameters[f"dense{k}.bias"]
            )
            activation = reference.relu(outputs) if k < len(self.fc_layers) else outputs
            layers.append((inputs, outputs))
        return activation, blocks, layers, feature_shape


def random_parameters(rng, input_shape, conv_filters, fc_layers, padding):
    """He-normal float64 weights and small biases, named and shaped as the model's."""
    height, width, channels = input_shape
    parameters = {}
    for k, (filters, size) in enumerate(conv_filters, start=1):
        fan_in = size * size * channels
        shape = (size, size, channels, filters)
        parameters[f"conv{k}.weight"] = rng.normal(0, math.sqrt(2 / fan_in), shape)
        parameters[f"conv{k}.bias"] = rng.normal(0, 0.1, filters)
        if padding == "valid":
            height, width = height - size + 1, width - size + 1
        height, width, channels = height // 2, width // 2, filters
    features = height * width * channels
    for k, units in enumerate(fc_layers, start=1):
        parameters[f"dense{k}.weight"] = rng.normal(0, math.sqrt(2 / features), (features, units))
        parameters[f"dense{k}.bias"] = rng.normal(0, 0.1, units)
        features = units
    return parameters
