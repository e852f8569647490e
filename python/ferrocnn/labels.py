"""Checks of labels of two or more classes, and of what a class or an image weighs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferrocnn.checks import as_array, check_positive_float

_Floats = NDArray[np.float32]


def check_classes(y: ArrayLike, count: int, classes: int, name: str = "y") -> NDArray[np.int64]:
    """Return labels as int64 of shape (count,), each from 0 to classes - 1.

    y: (count,) or (count, 1) of bool, int or whole floats; or one-hot, (count, classes), with two
    or more classes.
    """
    array = as_array(y, name)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{name}: expected integers from 0 to {classes - 1} or one-hot rows, got "
            f"{array.dtype}; give each class name its number"
        )
    if classes > 1 and array.shape == (count, classes):
        return _from_one_hot(array, name)
    if array.shape not in ((count,), (count, 1)):
        advice = ""
        if array.ndim == 2 and len(array) == count:
            advice = f"; one-hot rows of {array.shape[1]} want fc_layers that end with as many"
        raise ValueError(
            f"{name}: expected ({count},), ({count}, 1) or one-hot ({count}, {classes}), "
            f"got {array.shape}{advice}"
        )
    array = array.reshape(count)
    if array.dtype.kind == "f":
        broken = array != np.trunc(array)  # NaN included
        if broken.any():
            raise ValueError(f"{name}: expected whole numbers, got {array[broken][0]}")
    outside = (array < 0) | (array >= classes)
    if outside.any():
        raise ValueError(
            f"{name}: expected labels from 0 to {classes - 1}, as there are {classes} classes, "
            f"got {array[outside][0]}; number the classes from 0, or let fc_layers end with their "
            "number"
        )
    return array.astype(np.int64)


def _from_one_hot(array: NDArray[Any], name: str) -> NDArray[np.int64]:
    wrong = ((array != 0) & (array != 1)).any(axis=1) | ((array == 1).sum(axis=1) != 1)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{name}: expected one-hot rows, a single 1 among zeros, got {array[row]} in row {row}"
        )
    labels: NDArray[np.int64] = array.argmax(axis=1)
    return labels


def check_class_weight(
    weight: str | Mapping[Any, float] | Sequence[float] | NDArray[Any] | None,
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    name: str = "class_weight",
) -> _Floats:
    """Return what an image of each class weighs, (k,) above 0, for k class names.

    weight: None (1 each); "balanced", `n / (k * count)` of n labels, `count` of them of the class
    (King & Zeng 2001, as in scikit-learn); a mapping from labels or class names to numbers above
    0, where a class that is left out weighs 1; or k numbers above 0.
    labels: (n,), as `check_classes` returns them.
    """
    classes = len(class_names)
    if weight is None:
        return np.ones(classes, np.float32)
    if isinstance(weight, str):
        if weight != "balanced":
            raise ValueError(
                f"{name}: expected None, 'balanced', a mapping or {classes} numbers, got {weight!r}"
            )
        return _balanced(labels, class_names, name)
    if isinstance(weight, Mapping):
        weights: list[Any] = [1.0] * classes
        given: set[int] = set()
        for key, value in weight.items():
            label = _label(key, class_names, name)
            if label in given:
                raise ValueError(f"{name}: expected one weight a class, got two for {key!r}")
            given.add(label)
            weights[label] = value
    elif isinstance(weight, Sequence | np.ndarray):
        shape = as_array(weight, name).shape
        if shape != (classes,):
            raise ValueError(f"{name}: expected ({classes},) numbers, got {shape}")
        weights = list(weight)
    else:
        raise TypeError(
            f"{name}: expected None, 'balanced', a mapping or {classes} numbers, "
            f"got {type(weight).__name__}"
        )
    return np.array([check_positive_float(name, value) for value in weights], np.float32)


def _balanced(labels: NDArray[np.int64], class_names: Sequence[str], name: str) -> _Floats:
    counts = np.bincount(labels, minlength=len(class_names))
    missing = [of for of, count in zip(class_names, counts, strict=True) if count == 0]
    if missing:
        raise ValueError(
            f"{name}: expected an image of every class for 'balanced', got none of "
            f"{', '.join(missing)}; add some, or give the weights"
        )
    return (len(labels) / (len(class_names) * counts)).astype(np.float32)


def _label(key: object, class_names: Sequence[str], name: str) -> int:
    if isinstance(key, str) and key in class_names:
        return class_names.index(key)
    is_number = isinstance(key, int | np.integer) and not isinstance(key, bool)
    if is_number and key in range(len(class_names)):
        return cast(int, key)
    raise ValueError(
        f"{name}: expected labels from 0 to {len(class_names) - 1} or the classes "
        f"{', '.join(class_names)}, got {key!r}"
    )


def check_sample_weight(w: ArrayLike, count: int, name: str = "sample_weight") -> _Floats:
    """Return weights as float32 of shape (count,): finite, none below 0, not all 0.

    w: (count,) of bool, int or float.
    """
    array = as_array(w, name)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: expected numbers, got {array.dtype}")
    if array.shape != (count,):
        raise ValueError(f"{name}: expected ({count},), one for each image, got {array.shape}")
    with np.errstate(over="ignore", under="ignore"):  # what overflows is found as infinite below
        weights = np.require(array, np.float32, ["C", "A"])
    wrong = ~((weights >= 0) & (weights < math.inf))
    if wrong.any():
        raise ValueError(f"{name}: expected finite numbers of at least 0, got {array[wrong][0]:g}")
    if not weights.any():
        raise ValueError(f"{name}: expected a weight above 0, got zeros alone")
    return weights
