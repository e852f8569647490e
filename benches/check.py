"""Whether a peer computes the same: loss, gradients and probabilities against float64 NumPy."""

import sys
from functools import cache
from pathlib import Path

import numpy as np

from benches.networks import images, parameters

sys.path.append(str(Path(__file__).parent.parent / "tests"))
import reference
from reference_network import ReferenceNetwork

IMAGES = 16
# Far more than the rounding of loss and probabilities: 1e-6, and up to 1e-5 behind batch norms.
# There a variance over n - 1 moves the loss by 3e-4 or more. Gradients jump where the winner of a
# pool or a ReLU falls the other way: of a million windows there are always some whose two best
# values are equal in float32. One such window was seen to move a gradient by 5e-3 of its size.
TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 2e-2


@cache
def _truth(network):
    X, y = images(IMAGES)
    weights = parameters(network)
    reference_network = ReferenceNetwork(
        network.conv_filters, network.dense, batch_norm=network.batch_norm
    )
    loss, gradients = reference_network.gradients(weights, X, y)
    return loss, gradients, reference.sigmoid(reference_network.logits(weights, X))[:, 0]


def errors(worker, kind, network, variant):
    """The largest error of what is continuous, and of the gradients (0 for inference).

    Each is relative to the size of the true values.
    """
    loss, gradients, probabilities = _truth(network)
    X, y = images(IMAGES)
    weights = parameters(network)
    if kind == "inference":
        return _relative(worker.probabilities(network, weights, variant, X), probabilities), 0.0
    their_loss, theirs = worker.gradients(network, weights, variant, X, y)
    worst = max(_relative(theirs[name], gradients[name]) for name in gradients)
    return _relative(their_loss, loss), worst


def _relative(got, expected):
    got = np.asarray(got, np.float64)
    if got.shape != np.shape(expected):
        return np.inf
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))
