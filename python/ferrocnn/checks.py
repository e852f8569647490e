"""Checks of arguments. Each names the argument, what was expected and what came."""

import math
import operator
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferrocnn import _kernels

Images = NDArray[np.uint8] | NDArray[np.float32]

# Standardised pixels stay within about +-5; pixels that nobody scaled reach 255.
_LARGEST_SCALED_PIXEL = 10.0
_LARGEST_SIZE = 2**31 - 1


def check_int(name: str, value: object, least: int) -> int:
    """Return `value` as an int of at least `least`. Booleans and floats are not ints."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {value!r}") from None
    if number < least:
        raise ValueError(f"{name}: expected at least {least}, got {number}")
    return number


def check_size(name: str, value: object, least: int) -> int:
    """Return `value` as an int of at least `least` that the kernels can count with."""
    number = check_int(name, value, least)
    if number > _LARGEST_SIZE:
        raise ValueError(
            f"{name}: expected at most {_LARGEST_SIZE}, got {check_float(name, number):g}"
        )
    return number


def check_positive_int(name: str, value: object) -> int:
    """Return `value` as a size of at least 1."""
    return check_size(name, value, 1)


def check_bool(name: str, value: object) -> bool:
    """Return `value`, which must be True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected True or False, got {value!r}")
    return bool(value)


def check_float(name: str, value: Any) -> float:
    """Return `value` as a float; integers beyond all floats become infinite."""
    try:
        if isinstance(value, (bool, str, bytes)):
            raise TypeError
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a number, got {value!r}") from None


def check_positive_float(name: str, value: Any) -> float:
    """Return `value` as a finite float above 0."""
    number = check_float(name, value)
    with np.errstate(over="ignore", under="ignore"):
        if not 0 < np.float32(number) < math.inf:  # the kernels compute with float32
            raise ValueError(f"{name}: expected a finite number above 0, got {number:g}")
    return number


def check_not_negative(name: str, value: Any) -> float:
    """Return `value` as a finite float of at least 0."""
    number = check_float(name, value)
    with np.errstate(over="ignore"):
        if not 0 <= np.float32(number) < math.inf:
            raise ValueError(f"{name}: expected a finite number of at least 0, got {number:g}")
    return number


def check_fraction(name: str, value: Any) -> float:
    """Return `value` as a float strictly between 0 and 1."""
    number = check_positive_float(name, value)
    if number >= 1:
        raise ValueError(f"{name}: expected a number between 0 and 1, got {number}")
    return number


def check_decay(name: str, value: Any) -> float:
    """Return `value` as a float of at least 0 and below 1, also when rounded to float32."""
    number = check_float(name, value)
    if not 0 <= number < 1 or np.float32(number) == 1:
        raise ValueError(f"{name}: expected at least 0 and below 1, got {number}")
    return number


def check_images(X: ArrayLike, input_shape: Sequence[int], name: str = "X") -> Images:
    """Return a batch of images as a C-contiguous array that the kernels take.

    X: (n, height, width, channels), n >= 1; uint8 stays, other floats become float32. NaN,
    infinite values, another shape or dtype raise. Floats that look like 0..255 warn.
    """
    array = as_array(X, name)
    shape = tuple(input_shape)
    if array.dtype == np.uint8 and array.shape[1:] == shape and len(array) > 0:
        return np.ascontiguousarray(array)
    expected = f"expected (batch, {', '.join(map(str, shape))}) uint8 or float"
    got = f"got {array.shape} {array.dtype}"
    if array.dtype != np.uint8 and not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"{name}: {expected}, {got}")
    if array.shape == shape:
        raise ValueError(f"{name}: {expected}, {got}; add a batch axis with {name}[None]")
    if array.shape[1:] != shape:
        raise ValueError(f"{name}: {expected}, {got}")
    if array.shape[0] == 0:
        raise ValueError(f"{name}: expected at least one image, {got}")
    with np.errstate(over="ignore"):  # what overflows is found as infinite below
        floats = np.require(array, np.float32, ["C", "A"])
    value_range = _kernels.finite_range(floats)
    if value_range is None:
        raise ValueError(f"{name}: expected finite pixels, got NaN or infinity")
    if max(-value_range[0], value_range[1]) > _LARGEST_SCALED_PIXEL:
        warnings.warn(
            f"{name}: float pixels are taken as they are, and these reach "
            f"{value_range[1]:g}; scale them to 0..1, or pass uint8",
            stacklevel=_calls_inside() + 1,
        )
    return floats


def _calls_inside() -> int:
    """Return how many calls, from the caller's up, lie within this package."""
    package = os.path.dirname(__file__) + os.sep
    count, frame = 0, sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(package):
        count, frame = count + 1, frame.f_back  # type: ignore[assignment]
    return count


def as_array(value: ArrayLike, name: str) -> NDArray[Any]:
    """Return `value` as an array; ValueError where it is ragged."""
    try:
        return np.asarray(value)
    except ValueError as error:  # a ragged list
        raise ValueError(f"{name}: expected an array, got {error}") from None
