"""TensorFlow: raw operations and variables under one `tf.function`, which beats a Keras model."""

import numpy as np
import tensorflow as tf

from benches.networks import EPSILON, LEARNING_RATE, NEWEST, running_moments
from benches.peers import Predictor, Trainer

NAME = "TensorFlow"
# Without batch norm, ReLU before the pool gives the same numbers, and can be fused into the
# convolution. With it, that is another network, which the check turns away.
TRAINING = ("oneDNN", "oneDNN, ReLU first", "XLA")
INFERENCE = TRAINING


def versions():
    return {"tensorflow": tf.__version__, "keras": tf.keras.__version__}


def trainer(network, parameters, variant):
    return _Trainer(network, parameters, variant)


def predictor(network, parameters, variant, batch_size):
    return _Predictor(network, parameters, variant)


def _logits(network, variant, variables, moments, X):
    relu_first = variant.endswith("ReLU first")
    x = tf.cast(X, tf.float32) * (1 / 255)
    for k in range(1, len(network.filters) + 1):
        x = tf.nn.conv2d(x, variables[f"conv{k}.weight"], 1, "SAME")
        if not network.batch_norm:
            x = tf.nn.bias_add(x, variables[f"conv{k}.bias"])
        x = tf.nn.max_pool2d(tf.nn.relu(x) if relu_first else x, 2, 2, "VALID")
        if network.batch_norm:
            x = _batch_norm(f"norm{k}", variables, moments, x)
        x = x if relu_first else tf.nn.relu(x)
    x = tf.reshape(x, (-1, variables["dense1.weight"].shape[0]))
    for k in range(1, len(network.dense) + 1):
        x = tf.matmul(x, variables[f"dense{k}.weight"])
        x = tf.nn.bias_add(x, variables[f"dense{k}.bias"])
        if k < len(network.dense):
            x = tf.nn.relu(x)
    return x[:, 0]


def _batch_norm(name, variables, moments, x):
    """In training; it updates the running moments."""
    mean, variance = moments[f"{name}.running_mean"], moments[f"{name}.running_var"]
    y, new_mean, new_variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=variables[f"{name}.gamma"],
        offset=variables[f"{name}.beta"],
        mean=mean,
        variance=variance,
        epsilon=EPSILON,
        exponential_avg_factor=NEWEST,
    )
    mean.assign(new_mean)
    variance.assign(new_variance)
    return y


class _Trainer(Trainer):
    def __init__(self, network, parameters, variant):
        self._variables = variables = {name: tf.Variable(p) for name, p in parameters.items()}
        moments = {name: tf.Variable(m) for name, m in running_moments(network).items()}

        def loss_and_gradients(X, y):
            with tf.GradientTape() as tape:
                logits = _logits(network, variant, variables, moments, X)
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
            return tf.sigmoid(_logits(network, variant, variables, {}, X))

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
