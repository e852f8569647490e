"""How good a model is on labelled images."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferrocnn.checks import Images, check_fraction, check_images
from ferrocnn.labels import check_classes
from ferrocnn.losses import make_loss

if TYPE_CHECKING:
    from ferrocnn.images import ImageDataset
    from ferrocnn.model import CNN

_Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluate` found, for k classes; all shares are 0 to 1.

    Attributes:
        count: number of images.
        loss: mean cross-entropy, in nats.
        accuracy: share of the images named rightly.
        balanced_accuracy: mean recall of the classes that have images.
        f1: harmonic mean of precision and recall: of two classes that of label 1, of more the
            mean over all of them.
        auc: area under the ROC curve: the probability that an image of label 1 scores above one
            of label 0, equal scores counted half (Hanley & McNeil 1982). Of more than two classes
            the mean over each class against the rest. NaN where a class has no images, or all.
        confusion: (k, k) int64 counts; the row is the true label, the column the predicted one.
        precision: (k,) share of the images taken for the class that are of it; 0 if there are none.
        recall: (k,) share of the images of the class that are taken for it; 0 if there are none.
        support: (k,) int64, images of the class.
    """

    count: int
    loss: float
    accuracy: float
    balanced_accuracy: float
    f1: float
    auc: float
    confusion: NDArray[np.int64]
    precision: _Values
    recall: _Values
    support: NDArray[np.int64]

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, as JSON can hold them; None for what is not finite."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value if math.isfinite(value) else None


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
        y: labels from 0 to k - 1, (n,), (n, 1) or one-hot (n, k); None with an ImageDataset.
        threshold: probability from which on an image is taken for a 1, between 0 and 1; for a
            model with one output.

    Raises:
        ValueError, TypeError: an argument cannot be used; the message says which and why.
    """
    check_model(model)
    threshold = check_fraction("threshold", threshold)
    images, labels = images_and_labels(model, X, y)
    return judge(model.infer(images), labels, threshold)


def images_and_labels(
    model: "CNN", X: "ArrayLike | ImageDataset", y: ArrayLike | None
) -> tuple[Images, NDArray[np.int64]]:
    """Return the images and labels of `evaluate`, checked: (n, height, width, channels), (n,)."""
    dataset = as_dataset(X)
    if (dataset is None) == (y is None):
        raise TypeError("y: expected labels with an array X, and None with an ImageDataset")
    if dataset is not None:
        check_class_names("X", dataset, model)
        X, y = dataset.images, dataset.labels
    images = check_images(cast(ArrayLike, X), model.input_shape)
    return images, check_classes(cast(ArrayLike, y), len(images), model.classes)


def check_class_names(name: str, dataset: "ImageDataset", model: "CNN") -> None:
    """Raise ValueError unless the data set has the model's classes, by name where it has names."""
    expected = model.class_names
    if expected is None:
        if len(dataset.class_names) == model.classes:
            return
        wanted = f"{model.classes} classes, as fc_layers ends with {model.fc_layers[-1]}"
    elif dataset.class_names == expected:
        return
    else:
        wanted = f"the model's classes {', '.join(expected)}"
    raise ValueError(
        f"{name}: expected {wanted}, got {len(dataset.class_names)}: "
        f"{', '.join(dataset.class_names)}; load_images(..., class_names=model.class_names) reads "
        "a folder in the model's order"
    )


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
    logits: NDArray[np.float32],
    labels: NDArray[np.int64] | NDArray[np.float32],
    threshold: float = 0.5,
) -> Evaluation:
    """Compare logits with labels from 0 to k - 1, (n,).

    logits: (n, k); or (n, 1) for two classes, of which label 1 is predicted from `threshold` on.
    """
    loss, classes = make_loss(logits.shape[1]), max(logits.shape[1], 2)
    labels = labels.astype(np.int64)
    pairs = labels * classes + loss.labels(logits, threshold)
    confusion = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    support = confusion.sum(axis=1)
    precision = _share(np.diag(confusion), confusion.sum(axis=0))
    recall = _share(np.diag(confusion), support)
    f1 = _f1(precision, recall)
    return Evaluation(
        count=len(labels),
        loss=loss.loss(logits, loss.targets(labels)),
        accuracy=float(np.trace(confusion) / len(labels)),
        balanced_accuracy=float(recall[support > 0].mean()),
        f1=float(f1[1] if classes == 2 else f1.mean()),
        auc=_auc(loss.probabilities(logits), labels),
        confusion=confusion,
        precision=precision,
        recall=recall,
        support=support,
    )


def report(evaluation: Evaluation, class_names: Sequence[str]) -> str:
    """Return a table with precision, recall, F1 and number of images of each class."""
    e = evaluation
    if isinstance(class_names, str) or len(class_names) != len(e.support):
        raise ValueError(f"class_names: expected {len(e.support)} names, got {class_names!r}")
    width = max(len(name) for name in ("class", *class_names))
    lines = [f"{'class':{width}}  precision  recall      F1  images"]
    rows = zip(
        class_names, e.precision, e.recall, _f1(e.precision, e.recall), e.support, strict=True
    )
    for name, precision, recall, f1, images in rows:
        lines.append(f"{name:{width}}  {precision:9.4f}  {recall:6.4f}  {f1:6.4f}  {images:6,}")
    return "\n".join(lines)


def _share(part: NDArray[Any], whole: NDArray[Any]) -> _Values:
    """Return part / whole; 0 where both are 0."""
    return part / np.where(whole == 0, 1, whole)


def _f1(precision: _Values, recall: _Values) -> _Values:
    return _share(2 * precision * recall, precision + recall)


def _auc(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    if probabilities.shape[1] <= 2:
        return _area(probabilities[:, -1], labels == 1)
    areas = [_area(scores, labels == label) for label, scores in enumerate(probabilities.T)]
    return float(np.mean(areas))


def _area(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> float:
    """Return the share of pairs of a positive and another in which the positive scores higher.

    Equal scores count half. This is the Mann-Whitney statistic, from the ranks of the scores.
    """
    positives = int(positive.sum())
    pairs = positives * (len(positive) - positives)
    if pairs == 0 or np.isnan(scores).any():
        return math.nan
    _, place, ties = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(ties) - (ties - 1) / 2  # from 1; equal scores share the middle of theirs
    return float((ranks[place][positive].sum() - positives * (positives + 1) / 2) / pairs)
