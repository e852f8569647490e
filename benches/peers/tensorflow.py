"""TensorFlow: raw operations and variables under one `tf.function`, which beats a Keras model."""

import numpy as np
import tensorflow as tf

from benches.networks import LEARNING_RATE
from benches.peers import Predictor, Trainer

NAME = "TensorFlow"
# ReLU before the pool gives the same numbers, and can be fused into the convolution.
TRAINING = ("oneDNN", "oneDNN, ReLU first", "XLA")
INFERENCE = TRAINING


def versions():
    return {"tensorflow": tf.__version__, "keras": tf.keras.__version__}


def trainer(network, parameters, variant):
    return _Trainer(network, parameters, variant)


def predictor(network, parameters, variant, batch_size):
    return _Predictor(network, parameters, variant)


def _logits(network, variant, variables, X):
    x = tf.cast(X, tf.float32) * (1 / 255)
    for k in range(1, len(network.filters) + 1):
        x = tf.nn.conv2d(x, variables[f"conv{k}.weight"], 1, "SAME")
        x = tf.nn.bias_add(x, variables[f"conv{k}.bias"])
        if variant.endswith("ReLU first"):
            x = tf.nn.max_pool2d(tf.nn.relu(x), 2, 2, "VALID")
        else:
            x = tf.nn.relu(tf.nn.max_pool2d(x, 2, 2, "VALID"))
    x = tf.reshape(x, (-1, variables["dense1.weight"].shape[0]))
    for k in range(1, len(network.dense) + 1):
        x = tf.matmul(x, variables[f"dense{k}.weight"])
        x = tf.nn.bias_add(x, variables[f"dense{k}.bias"])
        if k < len(network.dense):
            x = tf.nn.relu(x)
    return x[:, 0]


class _Trainer(Trainer):
    def __init__(self, network, parameters, variant):
        self._variables = variables = {name: tf.Variable(p) for name, p in parameters.items()}

        def loss_and_gradients(X, y):
            with tf.GradientTape() as tape:
                logits = _logits(network, variant, variables, X)
                losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=logits)
                loss = tf.reduce_mean(losses)
            return loss, tape.gradient(loss, variables)

        @tf.function(jit_compile=variant == "XLA")
        def step(X, y):
            loss, gradients = loss_and_gradients(X, y)
            for name, variable in variables.items():
                variable.assign_sub(LEARNING_RATE * gradients[name])
            return loss

        self._step = step
        self._gradients = tf.function(loss_and_gradients, jit_compile=variant == "XLA")

    def place(self, X, y):
        return tf.constant(X), tf.constant(y)

    def step(self, batch):
        self._loss = self._step(*batch)

    def finish(self):
        self._loss.numpy()

    def gradients(self, batch):
        loss, gradients = self._gradients(*batch)
        return float(loss), {name: g.numpy() for name, g in gradients.items()}


class _Predictor(Predictor):
    def __init__(self, network, parameters, variant):
        variables = {name: tf.constant(p) for name, p in parameters.items()}

        @tf.function(jit_compile=variant == "XLA")
        def probabilities(X):
            return tf.sigmoid(_logits(network, variant, variables, X))

        self._probabilities = probabilities

    def place(self, X):
        return tf.constant(X)

    def predict(self, batch):
        return self._probabilities(batch).numpy()


def decode_folder(folder):
    dataset = tf.keras.utils.image_dataset_from_directory(
        folder, image_size=(64, 64), batch_size=256, shuffle=False, verbose=False
    )
    # The decoded set is kept in memory, a byte a value, as its own guide to speed advises.
    batches = [(tf.cast(X, tf.uint8).numpy(), y.numpy()) for X, y in dataset]
    X, y = zip(*batches, strict=True)
    return np.concatenate(X), np.concatenate(y).astype(np.float32)
