"""The `CNN`: a list of layers, forward, backward, predict."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferrocnn import checkpoint, summary
from ferrocnn.architecture import build_layers, check_architecture
from ferrocnn.checks import Images, check_fraction, check_images, check_int, check_labels
from ferrocnn.errors import DivergedError
from ferrocnn.gradients import Gradient, as_array, is_finite
from ferrocnn.layers import Plan
from ferrocnn.losses import SigmoidCrossEntropy
from ferrocnn.optimizers import SGD, Optimizer
from ferrocnn.turns import Turn

if TYPE_CHECKING:
    from PIL.Image import Image

    from ferrocnn.preprocessing import Preprocessing

    Picture = str | os.PathLike[str] | Image

Floats = NDArray[np.float32]

# Images that inference takes at a time, so that memory stays bounded.
_CHUNK = 64


class Prediction(NamedTuple):
    """The class of a picture, and the probability that the model gives it."""

    name: str
    probability: float


class CNN:
    """A convolutional network for two classes.

    Blocks of convolution -> max pool 2x2 -> ReLU, then dense layers with ReLU between them; the
    last has one unit, whose sigmoid is the probability of label 1.

    input_shape: (height, width, channels). conv_filters: (filters, kernel size) of each block.
    fc_layers: units of each dense layer, the last 1. padding: "same" or "valid", of the
    convolutions. seed: of the initial weights; None draws one.

    class_names (the names of labels 0 and 1), preprocessing (how pictures become arrays) and
    training (a record of how the weights came about) go into the model's file.
    """

    def __init__(
        self,
        input_shape: Sequence[int] = (64, 64, 3),
        conv_filters: Sequence[tuple[int, int]] = ((16, 3), (32, 3)),
        fc_layers: Sequence[int] = (128, 64, 1),
        padding: str = "same",
        seed: int | None = None,
    ) -> None:
        architecture = check_architecture(input_shape, conv_filters, fc_layers, padding)
        self.input_shape = architecture.input_shape
        self.conv_filters = architecture.conv_filters
        self.fc_layers = architecture.fc_layers
        self.padding = architecture.padding
        self.seed = None if seed is None else check_int("seed", seed, 0)
        self.class_names: tuple[str, ...] | None = None
        self.preprocessing: Preprocessing | None = None
        self.training: dict[str, Any] = {}
        self.layers = build_layers(architecture, np.random.default_rng(self.seed))
        self._loss = SigmoidCrossEntropy()
        self._turn = Turn()
        self._plan = Plan(self.layers)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.config().items())
        return f"CNN({arguments})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles have weights of their own: those of the model between two steps."""
        records = (self.class_names, self.preprocessing, dict(self.training))
        return _rebuild, (self.config(), self.snapshot(), *records)

    def config(self) -> dict[str, Any]:
        """Return the arguments that build this architecture again, as JSON can hold them."""
        return {
            "input_shape": list(self.input_shape),
            "conv_filters": [list(block) for block in self.conv_filters],
            "fc_layers": list(self.fc_layers),
            "padding": self.padding,
            "seed": self.seed,
        }

    def parameters(self) -> dict[str, Floats]:
        """Return the live parameters by name, "conv1.weight" to the last "dense.bias"."""
        return {name: p for layer in self.layers for name, p in layer.parameters().items()}

    def set_parameters(self, values: Mapping[str, ArrayLike]) -> None:
        """Copy `values` into the parameters. All are checked first; an error changes nothing."""
        own = self.parameters()
        if not isinstance(values, Mapping) or set(values) != set(own):
            got = list(values) if isinstance(values, Mapping) else type(values).__name__
            raise ValueError(f"values: expected a mapping with the keys {list(own)}, got {got}")
        arrays = {name: np.array(values[name]) for name in own}  # copies: they may be our own
        for name, array in arrays.items():
            if array.dtype != np.float32 or array.shape != own[name].shape:
                raise ValueError(
                    f"{name}: expected {own[name].shape} float32, got {array.shape} {array.dtype}"
                )
            if not np.isfinite(array).all():
                raise ValueError(f"{name}: expected finite values, got NaN or infinity")
        with self._turn:
            for name, array in arrays.items():
                own[name][...] = array

    def snapshot(self) -> dict[str, Floats]:
        """Return copies of all parameters between two steps, never in the middle of one."""
        with self._turn:
            return {name: value.copy() for name, value in self.parameters().items()}

    def logits(self, X: ArrayLike) -> Floats:
        """Return the last layer's output before the sigmoid, (n, 1)."""
        return self.infer(check_images(X, self.input_shape))

    def infer(self, X: Images) -> Floats:
        """Return the logits of images that are as `check_images` returns them, (n, 1)."""
        logits = np.empty((len(X), 1), np.float32)
        with self._turn:
            for start in range(0, len(X), _CHUNK):
                chunk = X[start : start + _CHUNK]
                logits[start : start + len(chunk)] = self._plan.run(chunk)
        return logits

    def forward(self, X: ArrayLike) -> Floats:
        """Return the probability of label 1 for each image, (n, 1).

        X: (n, height, width, channels), uint8 (0..255) or float (taken as it is).
        """
        return self._loss.probabilities(self.logits(X))

    def predict_proba(self, X: ArrayLike | Picture | Sequence[Picture]) -> Floats:
        """Return the probability of label 1 for each image, (n, 1).

        X: as for `forward`; or a path, a PIL image, or a list of them.
        """
        pictures = _pictures(X)
        return self.forward(cast(ArrayLike, X) if pictures is None else self._prepare(pictures))

    def predict(
        self, X: ArrayLike | Picture | Sequence[Picture], threshold: float = 0.5
    ) -> NDArray[np.int64] | Prediction | list[Prediction]:
        """Return the label of each image: 1 where the probability reaches `threshold`.

        X: an array as for `forward` gives labels, (n,) int64. A path or a PIL image gives a
        `Prediction`, a list of them a list: the class's name and its own probability.
        """
        threshold = check_fraction("threshold", threshold)
        pictures = _pictures(X)
        probabilities = self.predict_proba(X)[:, 0]
        labels = (probabilities >= threshold).astype(np.int64)
        if pictures is None:
            return labels
        names = self.class_names or ("0", "1")
        predictions = [
            Prediction(names[label], float(p if label else 1 - p))
            for label, p in zip(labels, probabilities, strict=True)
        ]
        return predictions if isinstance(X, (list, tuple)) else predictions[0]

    def gradients(self, X: ArrayLike, y: ArrayLike) -> tuple[float, dict[str, Floats]]:
        """Return the mean binary cross-entropy and its gradients by parameter name.

        X: as for `forward`; y: (n,) or (n, 1) of 0 and 1. Nothing is updated.
        """
        images = check_images(X, self.input_shape)
        labels = check_labels(y, images.shape[0])
        with self._turn:
            try:
                loss, _ = self._backward(images, labels)
                return loss, {name: as_array(g) for name, g in self._gradients().items()}
            finally:
                self._forget()

    def backward(self, X: ArrayLike, y: ArrayLike, learning_rate: float = 0.001) -> float:
        """Do one step of gradient descent on the mean binary cross-entropy; return the loss.

        The loss is that before the step. Where it is not finite, DivergedError, and no change.
        """
        optimizer = SGD(learning_rate)
        images = check_images(X, self.input_shape)
        loss, _ = self.train_step(images, check_labels(y, images.shape[0]), optimizer)
        return loss

    def train_step(self, X: Images, y: Floats, optimizer: Optimizer) -> tuple[float, int]:
        """Do one step of `optimizer` on one batch; return the loss and the number of hits.

        For training loops: X and y must be as `check_images` and `check_labels` return them.
        Where the loss or a gradient is not finite, DivergedError, and no change.
        """
        with self._turn:
            try:
                loss, correct = self._backward(X, y)
                gradients = self._gradients()
                if not np.isfinite(loss) or not all(map(is_finite, gradients.values())):
                    raise DivergedError(
                        f"learning_rate: expected a finite loss and gradient, got loss {loss} with "
                        f"rate {optimizer.learning_rate:g}; try {optimizer.learning_rate / 10:g}"
                    )
                optimizer.step(self.parameters(), gradients)
            finally:
                self._forget()
        return loss, correct

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one .npz file, whole or not at all (docs/model-format.md)."""
        checkpoint.save_model(self, path)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Take weights, names and records from a file of the same architecture.

        Any other file raises ModelFileError and changes nothing. `ferrocnn.load` builds the
        model that a file describes.
        """
        checkpoint.load_into(self, path)

    def summary(self) -> str:
        """Return a table of layers, output shapes, parameters and multiply-adds an image."""
        return summary.table(self)

    def _backward(self, X: Images, y: Floats) -> tuple[float, int]:
        logits, targets = self._plan.run(X), y.reshape(-1, 1)
        x: NDArray[Any] = X
        for layer in self.layers:
            x = layer.remember(x)
        loss = self._loss.loss(logits, targets)
        correct = int(((logits >= 0) == (targets >= 0.5)).sum())
        grad: Floats | None = np.empty_like(logits)
        assert grad is not None
        self._loss.gradient(logits, targets, grad)
        for layer in reversed(self.layers):
            assert grad is not None
            grad = layer.backward(grad, need_dx=layer is not self.layers[0])
        return loss, correct

    def _forget(self) -> None:
        for layer in self.layers:
            layer.forget()

    def _gradients(self) -> dict[str, Gradient]:
        return {name: g for layer in self.layers for name, g in layer.gradients().items()}

    def _prepare(self, pictures: Sequence[Any]) -> NDArray[np.uint8]:
        if self.preprocessing is None:
            raise ValueError(
                "X: expected an array, got a picture; this model does not know how pictures "
                "become arrays: train it on load_images(...), or set model.preprocessing"
            )
        return np.stack([self.preprocessing(picture) for picture in pictures])


def _rebuild(
    config: dict[str, Any],
    parameters: dict[str, Floats],
    class_names: tuple[str, ...] | None,
    preprocessing: Preprocessing | None,
    training: dict[str, Any],
) -> CNN:
    model = CNN(**config)
    model.set_parameters(parameters)
    model.class_names, model.preprocessing, model.training = class_names, preprocessing, training
    return model


def _pictures(X: Any) -> list[Any] | None:
    """Return the paths or PIL images in X, or None where X is something else."""
    candidates = list(X) if isinstance(X, (list, tuple)) else [X]
    return candidates if candidates and all(map(_is_picture, candidates)) else None


def _is_picture(value: object) -> bool:
    pillow = sys.modules.get("PIL.Image")  # without Pillow loaded there are no PIL images
    return isinstance(value, (str, os.PathLike)) or (
        pillow is not None and isinstance(value, pillow.Image)
    )
