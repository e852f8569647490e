"""How good a model is on labelled images."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferrocnn.checks import check_fraction, check_labels
from ferrocnn.losses import SigmoidCrossEntropy

if TYPE_CHECKING:
    from ferrocnn.images import ImageDataset
    from ferrocnn.model import CNN


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        count: number of images.
        loss: mean binary cross-entropy, in nats.
        accuracy: share of the images named rightly, 0 to 1.
        confusion: (2, 2) int64 counts; the row is the true label, the column the predicted one.
    """

    count: int
    loss: float
    accuracy: float
    confusion: NDArray[np.int64]

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, as JSON can hold them."""
        return {
            "count": self.count,
            "loss": self.loss,
            "accuracy": self.accuracy,
            "confusion": self.confusion.tolist(),
        }


def evaluate(
    model: "CNN",
    X: "ArrayLike | ImageDataset",
    y: ArrayLike | None = None,
    threshold: float = 0.5,
) -> Evaluation:
    """Compare a model's answers with the truth. The model is not changed.

    Args:
        model: the model to judge.
        X: (n, height, width, channels) images, uint8 (0..255) or float (taken as it is); or an
            ImageDataset.
        y: (n,) or (n, 1) labels, 0 or 1; None with an ImageDataset.
        threshold: probability from which on an image is taken for a 1, between 0 and 1.

    Raises:
        ValueError, TypeError: an argument cannot be used; the message says which and why.
    """
    check_model(model)
    threshold = check_fraction("threshold", threshold)
    dataset = as_dataset(X)
    if (dataset is None) == (y is None):
        raise TypeError("y: expected labels with an array X, and None with an ImageDataset")
    images, labels = (X, y) if dataset is None else (dataset.images, dataset.labels)
    logits = model.logits(cast(ArrayLike, images))
    return judge(logits, check_labels(cast(ArrayLike, labels), len(logits)), threshold)


def check_model(model: object) -> None:
    """Raise TypeError unless this is a `CNN`."""
    from ferrocnn.model import CNN

    if not isinstance(model, CNN):
        raise TypeError(f"model: expected a CNN, got {type(model).__name__}")


def as_dataset(value: object) -> "ImageDataset | None":
    """Return `value` where it is an ImageDataset, else None."""
    images = sys.modules.get("ferrocnn.images")  # not loaded: nobody has made a data set
    return value if images is not None and isinstance(value, images.ImageDataset) else None


def judge(
    logits: NDArray[np.float32], labels: NDArray[np.float32], threshold: float = 0.5
) -> Evaluation:
    """Compare logits, (n, 1), with labels of 0 and 1, (n,)."""
    loss = SigmoidCrossEntropy()
    predicted = loss.probabilities(logits)[:, 0] >= threshold
    confusion = np.zeros((2, 2), np.int64)
    np.add.at(confusion, (labels.astype(np.int64), predicted.astype(np.int64)), 1)
    return Evaluation(
        count=len(labels),
        loss=loss.loss(logits, labels.reshape(-1, 1)),
        accuracy=float(np.trace(confusion) / len(labels)),
        confusion=confusion,
    )
