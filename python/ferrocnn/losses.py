"""Losses from logits, and what logits mean as probabilities."""

import numpy as np
from numpy.typing import NDArray

from ferrocnn import _kernels

_Floats = NDArray[np.float32]


class SigmoidCrossEntropy:
    """Binary cross-entropy of one logit an image; the mean over the batch, in nats."""

    def loss(self, logits: _Floats, targets: _Floats) -> float:
        """Return the loss. logits: (n, 1); targets: (n, 1) in 0..1."""
        return _kernels.sigmoid_cross_entropy(logits, targets)

    def gradient(self, logits: _Floats, targets: _Floats, out: _Floats) -> None:
        """Write the gradient with respect to the logits into `out`, (n, 1)."""
        _kernels.sigmoid_cross_entropy_backward(logits, targets, 1.0, out)

    def probabilities(self, logits: _Floats) -> _Floats:
        """Return the probability of label 1 for each logit, a new array."""
        probabilities = logits.copy()
        _kernels.sigmoid(probabilities)
        return probabilities
