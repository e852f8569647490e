"""Losses from logits, and what logits mean as probabilities and labels."""

import numpy as np
from numpy.typing import NDArray

from ferrocnn import _kernels
from ferrocnn.checks import check_decay, check_int

_Floats = NDArray[np.float32]
_Labels = NDArray[np.int64]


class SigmoidCrossEntropy:
    """Binary cross-entropy of one logit an image; the mean over the batch, in nats.

    label_smoothing: s in 0..1 takes a target t to `t * (1 - s) + s / 2` (Szegedy et al. 2016).
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = check_decay("label_smoothing", label_smoothing)

    def targets(self, labels: _Labels) -> _Floats:
        """Return the targets, (n, 1), of labels 0 and 1, (n,)."""
        s = self.label_smoothing
        return (labels * (1 - s) + s / 2).astype(np.float32).reshape(-1, 1)

    def loss(self, logits: _Floats, targets: _Floats, weights: _Floats | None = None) -> float:
        """Return the loss. logits: (n, 1); targets: (n, 1) in 0..1.

        weights: (n,) of at least 0, for a weighted mean; 0 where all of them are.
        """
        return _kernels.sigmoid_cross_entropy(logits, targets, weights)

    def gradient(
        self, logits: _Floats, targets: _Floats, out: _Floats, weights: _Floats | None = None
    ) -> None:
        """Write the gradient with respect to the logits into `out`, (n, 1)."""
        _kernels.sigmoid_cross_entropy_backward(logits, targets, weights, 1.0, out)

    def probabilities(self, logits: _Floats) -> _Floats:
        """Return the probability of label 1 for each logit, a new array."""
        probabilities = logits.copy()
        _kernels.sigmoid(probabilities)
        return probabilities

    def labels(self, logits: _Floats, threshold: float = 0.5) -> _Labels:
        """Return the predicted labels, (n,): 1 where the probability reaches `threshold`."""
        return (self.probabilities(logits)[:, 0] >= threshold).astype(np.int64)


class SoftmaxCrossEntropy:
    """Categorical cross-entropy of `classes` logits an image; the mean over the batch, in nats.

    label_smoothing: s in 0..1 takes a one-hot target t to `t * (1 - s) + s / classes` (Szegedy et
    al. 2016).
    """

    def __init__(self, classes: int, label_smoothing: float = 0.0) -> None:
        self.classes = check_int("classes", classes, 2)
        self.label_smoothing = check_decay("label_smoothing", label_smoothing)

    def targets(self, labels: _Labels) -> _Floats:
        """Return the targets, (n, classes), of labels from 0 to classes - 1, (n,)."""
        s = self.label_smoothing
        targets = np.full((len(labels), self.classes), s / self.classes, np.float32)
        targets[np.arange(len(labels)), labels] = 1 - s + s / self.classes
        return targets

    def loss(self, logits: _Floats, targets: _Floats, weights: _Floats | None = None) -> float:
        """Return the loss. logits: (n, classes); targets: (n, classes), rows that sum to 1.

        weights: (n,) of at least 0, for a weighted mean; 0 where all of them are.
        """
        return _kernels.softmax_cross_entropy(logits, targets, weights)

    def gradient(
        self, logits: _Floats, targets: _Floats, out: _Floats, weights: _Floats | None = None
    ) -> None:
        """Write the gradient with respect to the logits into `out`, (n, classes)."""
        _kernels.softmax_cross_entropy_backward(logits, targets, weights, 1.0, out)

    def probabilities(self, logits: _Floats) -> _Floats:
        """Return the probability of each class, (n, classes), a new array; rows sum to 1."""
        probabilities = logits.copy()
        _kernels.softmax(probabilities)
        return probabilities

    def labels(self, logits: _Floats, threshold: float = 0.5) -> _Labels:
        """Return the most probable labels, (n,), of equals the first; no threshold plays a part."""
        labels: _Labels = logits.argmax(axis=1)
        return labels


Loss = SigmoidCrossEntropy | SoftmaxCrossEntropy


def make_loss(units: int, label_smoothing: float = 0.0) -> Loss:
    """Return the loss of a network whose last layer has this many units: one has a sigmoid."""
    if check_int("units", units, 1) == 1:
        return SigmoidCrossEntropy(label_smoothing)
    return SoftmaxCrossEntropy(units, label_smoothing)
