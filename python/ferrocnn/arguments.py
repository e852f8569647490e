"""What the functions of `ops` accept, turned into what the kernels take."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferrocnn._kernels import ConvGeometry, PoolGeometry
from ferrocnn.checks import as_array, check_positive_int, check_size

Floats = NDArray[np.float32]
Pair = int | Sequence[int]
Padding = str | int | Sequence[int] | Sequence[Sequence[int]]

# Shares of a thousand classes, each rounded to float32, sum to 1 within a hundredth of this.
_SUM_TOLERANCE = 1e-5


def floats(name: str, value: ArrayLike, ndim: int | None = None) -> Floats:
    """Return a contiguous float32 array of the given rank, with at least one element."""
    array = as_array(value, name)
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"{name}: expected a float array, got {array.dtype}")
    _check_rank(name, array, ndim)
    return np.require(array, np.float32, ["C", "A"])


def check_in_place(written: Mapping[str, Floats], read: Mapping[str, Floats]) -> None:
    """Raise unless an update can work on these arrays as they are, all shaped as the first.

    A converted copy would be updated and lost.
    """
    arrays = {**written, **read}
    first = next(iter(arrays.values()))
    for name, array in arrays.items():
        usable = isinstance(array, np.ndarray) and array.dtype == np.float32
        if not usable or not (array.flags.c_contiguous and array.flags.aligned):
            raise TypeError(f"{name}: expected a contiguous float32 array, got {_describe(array)}")
        if name in written and not array.flags.writeable:
            raise ValueError(
                f"{name}: expected an array that can be written to, got a read-only one"
            )
        check_same_shape(name, array, first)
    for (name, array), (other, second) in combinations(arrays.items(), 2):
        if np.may_share_memory(array, second):
            raise ValueError(f"{other}: expected memory of its own, got that of {name}")


def check_targets(targets: Floats, logits: Floats) -> None:
    """Raise unless targets are in 0..1 and shaped as logits."""
    check_same_shape("targets", targets, logits)
    if not ((targets >= 0) & (targets <= 1)).all():
        raise ValueError("targets: expected values in 0..1, got others")


def check_distributions(targets: Floats, logits: Floats) -> None:
    """Raise unless targets are shaped as logits, (n, k >= 2), and each row is a distribution."""
    if logits.shape[1] == 1:
        raise ValueError(
            f"logits: expected a column for each of two or more classes, got {logits.shape}; the "
            "softmax of one is always 1, so take sigmoid_cross_entropy for a single logit"
        )
    check_targets(targets, logits)
    sums = targets.sum(axis=1, dtype=np.float64)
    wrong = abs(sums - 1) > _SUM_TOLERANCE
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(f"targets: expected rows that sum to 1, got {sums[row]:g} in row {row}")


def _describe(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.shape} {value.dtype} with strides {value.strides}"
    return type(value).__name__


def images(name: str, value: ArrayLike) -> NDArray[Any]:
    """Return a contiguous uint8 or float32 array of rank 4."""
    array = as_array(value, name)
    if array.dtype != np.uint8:
        return floats(name, array, 4)
    _check_rank(name, array, 4)
    return np.ascontiguousarray(array)


def _check_rank(name: str, array: NDArray[Any], ndim: int | None) -> None:
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name}: expected {ndim} dimensions, got shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name}: expected at least one element, got shape {array.shape}")


def optional_floats(name: str, value: ArrayLike | None, ndim: int) -> Floats | None:
    """Return `floats`, or None for None."""
    return None if value is None else floats(name, value, ndim)


def check_same_shape(name: str, array: Floats, other: Floats) -> None:
    """Raise unless both arrays have one shape."""
    if array.shape != other.shape:
        raise ValueError(f"{name}: expected shape {other.shape}, got {array.shape}")


def check_input_shape(shape: Sequence[int], batch: int) -> tuple[int, int, int, int]:
    """Return (n, h, w, c) as integers; n must be that of the gradient."""
    if not isinstance(shape, Sequence) or len(shape) != 4 or shape[0] != batch:
        raise ValueError(f"input_shape: expected ({batch}, height, width, channels), got {shape}")
    n, h, w, c = (check_positive_int("input_shape", size) for size in shape)
    return n, h, w, c


def conv_geometry(x: NDArray[Any], weight: Floats, stride: Pair, padding: Padding) -> ConvGeometry:
    """Return the geometry of a convolution of x with these weights."""
    kh, kw, channels, filters = weight.shape
    if x.shape[3] != channels:
        raise ValueError(
            f"weight: expected (kernel_h, kernel_w, {x.shape[3]}, filters) to fit the channels "
            f"of x, got {weight.shape}"
        )
    return ConvGeometry(x.shape[1:], (kh, kw), filters, _pair("stride", stride), _padding(padding))


def pool_geometry(
    shape: Sequence[int], window: Pair, stride: Pair | None, padding: Padding
) -> PoolGeometry:
    """Return the geometry of a pooling of images of shape (h, w, c)."""
    h, w, c = shape
    size = _pair("window", window)
    steps = size if stride is None else _pair("stride", stride)
    return PoolGeometry((h, w, c), size, steps, _padding(padding))


def winner_dtype(window: Pair) -> type[np.uint8] | type[np.uint32]:
    """Return the dtype that holds every index into a window."""
    h, w = _pair("window", window)
    return np.uint8 if h * w <= 256 else np.uint32


def _pair(name: str, value: Pair) -> tuple[int, int]:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, Sequence):
        number = check_positive_int(name, value)
        return number, number
    if isinstance(value, str) or len(value) != 2:
        raise ValueError(f"{name}: expected an integer or two of them, got {value!r}")
    return check_positive_int(name, value[0]), check_positive_int(name, value[1])


def _padding(padding: Padding) -> str | tuple[int, int, int, int]:
    if isinstance(padding, str):
        return padding
    if not isinstance(padding, Sequence):
        padding = (padding, padding)
    if len(padding) != 2:
        raise ValueError(f"padding: expected a name, an integer or two of them, got {padding!r}")
    sides = []
    for side in padding:
        ends = side if isinstance(side, Sequence) else (side, side)
        if isinstance(ends, str) or len(ends) != 2:
            raise ValueError(f"padding: expected (before, after) for each axis, got {side!r}")
        sides += [check_size("padding", end, 0) for end in ends]
    return cast(tuple[int, int, int, int], tuple(sides))
