"""The `CNN`: a list of layers, forward, backward, predict."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferrocnn import checkpoint, summary
from ferrocnn.architecture import Conv, build_layers, check_architecture
from ferrocnn.checks import Images, check_fraction, check_images, check_int
from ferrocnn.errors import DivergedError
from ferrocnn.gradients import as_array, clip, is_finite
from ferrocnn.labels import check_classes
from ferrocnn.layers import Layer
from ferrocnn.losses import make_loss
from ferrocnn.network import Network
from ferrocnn.optimizers import SGD, Optimizer
from ferrocnn.pictures import Prediction, as_pictures
from ferrocnn.turns import Turn

if TYPE_CHECKING:
    from ferrocnn.pictures import Picture
    from ferrocnn.preprocessing import Preprocessing

Floats = NDArray[np.float32]


class CNN:
    """A convolutional network for two or more classes.

    Blocks of convolution -> max pool 2x2 -> [batch norm] -> activation -> [spatial dropout], then
    dense layers with the activation between them and dropout before each.

    input_shape: (height, width, channels). conv_filters: (filters, kernel size) of each block, or
    a `Conv` that says more. fc_layers: units of each dense layer; the last has 1, whose sigmoid is
    the probability of label 1, or k >= 2 for k classes, whose softmax are theirs. padding: "same"
    or "valid", of the convolutions. activation: "relu", "leaky_relu", "elu", "gelu", "silu",
    "tanh", "sigmoid" or "identity". batch_norm: whether blocks have one. dropout,
    spatial_dropout: probability that training zeros an input of a dense layer, or a whole channel
    of a block. global_average_pool: whether the dense layers get the mean of each channel in place
    of all pixels. seed: of the initial weights; None draws one.

    class_names (the names of the labels from 0 up), preprocessing (how pictures become arrays),
    flip_average (whether inference takes the mean of an image's logits and its mirror image's)
    and training (a record of how the weights came about) go into the model's file.
    """

    def __init__(
        self,
        input_shape: Sequence[int] = (64, 64, 3),
        conv_filters: Sequence[tuple[int, int] | Conv] = ((16, 3), (32, 3)),
        fc_layers: Sequence[int] = (128, 64, 1),
        padding: str = "same",
        *,
        activation: str = "relu",
        batch_norm: bool = False,
        dropout: float = 0.0,
        spatial_dropout: float = 0.0,
        global_average_pool: bool = False,
        seed: int | None = None,
    ) -> None:
        self.architecture = check_architecture(
            input_shape,
            conv_filters,
            fc_layers,
            padding,
            activation,
            batch_norm,
            dropout,
            spatial_dropout,
            global_average_pool,
        )
        self.seed = None if seed is None else check_int("seed", seed, 0)
        self.class_names: tuple[str, ...] | None = None
        self.preprocessing: Preprocessing | None = None
        self.flip_average = False
        self.training: dict[str, Any] = {}
        layers = build_layers(self.architecture, np.random.default_rng(self.seed))
        self._loss = make_loss(self.fc_layers[-1])
        self._network = Network(layers, self._loss)
        self._turn = Turn()

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.config().items())
        return f"CNN({arguments})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles have weights of their own: those of the model between two steps."""
        records = (self.class_names, self.preprocessing, self.flip_average, dict(self.training))
        return _rebuild, (self.config(), self.snapshot(), *records)

    @property
    def layers(self) -> list[Layer]:
        """From the first convolution to the last dense layer."""
        return self._network.layers

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.architecture.input_shape

    @property
    def conv_filters(self) -> tuple[tuple[int, int] | Conv, ...]:
        """(filters, kernel size) or a `Conv` for each block."""
        return self.architecture.conv_filters

    @property
    def fc_layers(self) -> tuple[int, ...]:
        """Units of each dense layer."""
        return self.architecture.fc_layers

    @property
    def padding(self) -> str:
        """Of the convolutions."""
        return self.architecture.padding

    @property
    def classes(self) -> int:
        """Number of classes."""
        return max(self.fc_layers[-1], 2)

    def config(self) -> dict[str, Any]:
        """Return the arguments that build this architecture again, as JSON can hold them."""
        return self.architecture.config() | {"seed": self.seed}

    def parameters(self) -> dict[str, Floats]:
        """Return the live parameters by name, "conv1.weight" to the last "dense.bias"."""
        return {name: p for layer in self.layers for name, p in layer.parameters().items()}

    def state(self) -> dict[str, Floats]:
        """Return the live parameters and the running statistics of batch norms by name."""
        statistics = {name: s for layer in self.layers for name, s in layer.statistics().items()}
        return self.parameters() | statistics

    def set_parameters(self, values: Mapping[str, ArrayLike]) -> None:
        """Copy `values` into the parameters. All are checked first; an error changes nothing."""
        self._set(self.parameters(), values)

    def set_state(self, values: Mapping[str, ArrayLike]) -> None:
        """Copy `values` into parameters and statistics, as `set_parameters` does."""
        self._set(self.state(), values)

    def _set(self, own: dict[str, Floats], values: Mapping[str, ArrayLike]) -> None:
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
            if name.endswith(".running_var") and array.min() < 0:
                raise ValueError(f"{name}: expected values of at least 0, got {array.min():g}")
        with self._turn:
            for name, array in arrays.items():
                own[name][...] = array

    def snapshot(self) -> dict[str, Floats]:
        """Return copies of `state` between two steps, never in the middle of one."""
        with self._turn:
            return {name: value.copy() for name, value in self.state().items()}

    def resized(self, height: int, width: int) -> CNN:
        """Return a model for images of another size that shares this one's weights and statistics.

        What trains the one trains the other. Class names, flip_average and preprocessing are
        copied, the last with the new size; the record `training` is not. ValueError where the
        architecture does not fit the size, or its dense layers take single pixels:
        global_average_pool=True makes them not.
        """
        shape = (height, width, self.input_shape[2])
        other = CNN(**self.config() | {"input_shape": shape})
        try:
            for layer, own in zip(other.layers, self.layers, strict=True):
                layer.share(own)
        except ValueError as error:
            raise ValueError(
                f"global_average_pool: expected True, as dense layers that take single pixels do "
                f"not fit images of {height}x{width} ({error})"
            ) from None
        other._turn = self._turn
        other.class_names, other.flip_average = self.class_names, self.flip_average
        if self.preprocessing is not None:
            other.preprocessing = replace(self.preprocessing, image_size=other.input_shape[:2])
        return other

    def logits(self, X: ArrayLike) -> Floats:
        """Return the last layer's output before sigmoid or softmax, (n, units)."""
        return self.infer(check_images(X, self.input_shape))

    def infer(self, X: Images) -> Floats:
        """Return the logits of images that are as `check_images` returns them, (n, units)."""
        with self._turn:
            return self._network.infer(X, self.flip_average)

    def forward(self, X: ArrayLike) -> Floats:
        """Return the probability of label 1 for each image, (n, 1); of each of k classes, (n, k).

        X: (n, height, width, channels), uint8 (0..255) or float (taken as it is).
        """
        return self._loss.probabilities(self.logits(X))

    def predict_proba(self, X: ArrayLike | Picture | Sequence[Picture]) -> Floats:
        """Return the probability of label 1 for each image, (n, 1); of each of k classes, (n, k).

        X: as for `forward`; or a path, a PIL image, or a list of them.
        """
        pictures = as_pictures(X)
        return self.forward(cast(ArrayLike, X) if pictures is None else self._prepare(pictures))

    def predict(
        self, X: ArrayLike | Picture | Sequence[Picture], threshold: float = 0.5
    ) -> NDArray[np.int64] | Prediction | list[Prediction]:
        """Return the label of each image: the most probable.

        With one unit that is 1 where its probability reaches `threshold`.

        X: an array as for `forward` gives labels, (n,) int64. A path or a PIL image gives a
        `Prediction`, a list of them a list: the class's name and its own probability.
        """
        threshold = check_fraction("threshold", threshold)
        pictures = as_pictures(X)
        probabilities = self.predict_proba(X)
        if probabilities.shape[1] == 1:
            labels = (probabilities[:, 0] >= threshold).astype(np.int64)
            probabilities = np.hstack([1 - probabilities, probabilities])
        else:
            labels = probabilities.argmax(axis=1)
        if pictures is None:
            return labels
        names = self.class_names or tuple(map(str, range(self.classes)))
        predictions = [
            Prediction(names[label], float(row[label]))
            for label, row in zip(labels, probabilities, strict=True)
        ]
        return predictions if isinstance(X, (list, tuple)) else predictions[0]

    def gradients(self, X: ArrayLike, y: ArrayLike) -> tuple[float, dict[str, Floats]]:
        """Return the mean cross-entropy and its gradients by parameter name.

        X: as for `forward`; y: labels from 0 up, (n,) or (n, 1), or one-hot (n, k). Nothing is
        updated; dropout draws as `train_step` does with key 0.
        """
        images = check_images(X, self.input_shape)
        targets = self._loss.targets(check_classes(y, len(images), self.classes))
        with self._turn, self._network as network:
            loss, _ = network.backward(images, targets, None, key=0)
            return loss, {name: as_array(g) for name, g in network.gradients().items()}

    def backward(self, X: ArrayLike, y: ArrayLike, learning_rate: float = 0.001) -> float:
        """Do one step of gradient descent on the mean cross-entropy; return the loss.

        The loss is that before the step. Where it is not finite, DivergedError, and no change.
        """
        optimizer = SGD(learning_rate)
        images = check_images(X, self.input_shape)
        targets = self._loss.targets(check_classes(y, len(images), self.classes))
        loss, _ = self.train_step(images, targets, optimizer)
        return loss

    def train_step(
        self,
        X: Images,
        targets: Floats,
        optimizer: Optimizer,
        *,
        weights: Floats | None = None,
        key: int = 0,
        clip_norm: float | None = None,
    ) -> tuple[float, int]:
        """Do one step of `optimizer` on one batch; return the loss and the number of hits.

        For training loops: X must be as `check_images` returns it. targets: (n, units), as the
        loss makes them of labels; weights: (n,), of the images. key: below 2^64; dropout draws by
        it. clip_norm: the largest norm of all gradients together. Where the loss or a gradient is
        not finite, DivergedError, and no change.
        """
        with self._turn, self._network as network:
            targets = targets.reshape(len(X), -1)
            loss, hits = network.backward(X, targets, weights, key=key)
            gradients = network.gradients()
            if not math.isfinite(loss) or not all(map(is_finite, gradients.values())):
                raise DivergedError(
                    f"learning_rate: expected a finite loss and gradient, got loss {loss} with "
                    f"rate {optimizer.learning_rate:g}; try {optimizer.learning_rate / 10:g}"
                )
            if clip_norm is not None:
                gradients = clip(gradients, clip_norm)
            optimizer.step(self.parameters(), gradients)
            network.count()
        return loss, hits

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

    def _prepare(self, pictures: Sequence[Any]) -> NDArray[np.uint8]:
        if self.preprocessing is None:
            raise ValueError(
                "X: expected an array, got a picture; this model does not know how pictures "
                "become arrays: train it on load_images(...), or set model.preprocessing"
            )
        return np.stack([self.preprocessing(picture) for picture in pictures])


def _rebuild(
    config: dict[str, Any],
    state: dict[str, Floats],
    class_names: tuple[str, ...] | None,
    preprocessing: Preprocessing | None,
    flip_average: bool,
    training: dict[str, Any],
) -> CNN:
    model = CNN(**config)
    model.set_state(state)
    model.class_names, model.preprocessing, model.training = class_names, preprocessing, training
    model.flip_average = flip_average
    return model
