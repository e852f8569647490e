"""Pooling against the reference, forward and backward."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from ferrocnn import ops
from ops_cases import assert_rounded, channels, geometries, normal, seeds

batches = st.integers(1, 3)


def overlap(window, stride):
    """In how many windows an element can lie."""
    return math.prod(-(-w // s) for w, s in zip(window, stride, strict=True))


def assert_max_pool(x, window, stride, padding):
    y, winners = ops.max_pool2d(x, window, stride, padding)
    expected_y, expected_winners = reference.max_pool2d(x, window, stride, padding)
    assert y.dtype == np.float32
    assert winners.dtype == (np.uint8 if math.prod(window) <= 256 else np.uint32)
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(winners, expected_winners)
    return winners


# Few distinct values make ties; both zeros tie as well.
VALUES = {
    "ties": [-1.0, -0.0, 0.0, 1.0],
    "NaN": [-1.0, 0.0, 1.0, np.nan],
    "-inf": [-np.inf, -np.inf, -np.inf, -1.0],
    "all": [-np.inf, -2.0, -0.0, 0.0, 3.0, np.inf, np.nan],
}


@settings(deadline=None, max_examples=150)
@given(geometries(pooling=True), batches, channels, st.sampled_from([None, *VALUES]), seeds)
def test_max_pool2d_matches_reference(geometry, batch, c, values, seed):
    size, window, stride, padding = geometry
    shape = (batch, *size, c)
    if values is None:
        (x,) = normal(seed, shape)
    else:
        rng = np.random.default_rng(seed)
        x = rng.choice(np.array(VALUES[values], dtype=np.float32), shape)
    assert_max_pool(x, window, stride, padding)


@settings(deadline=None, max_examples=150)
@given(geometries(pooling=True), batches, channels, seeds)
def test_max_pool2d_backward_matches_reference(geometry, batch, c, seed):
    size, window, stride, padding = geometry
    shape = (batch, *size, c)
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 3, shape).astype(np.float32)
    y, winners = ops.max_pool2d(x, window, stride, padding)
    (grad,) = normal(seed, y.shape)
    arguments = (winners, shape, window, stride, padding)
    # A sum of k gradients is rounded k - 1 times; where windows do not overlap, never.
    assert_rounded(
        ops.max_pool2d_backward(grad, *arguments),
        reference.max_pool2d_backward(grad, *arguments),
        reference.max_pool2d_backward(abs(grad), *arguments),
        overlap(window, stride) - 1,
    )


@pytest.mark.parametrize("value", [-np.inf, np.nan, 0.0, np.inf])
@pytest.mark.parametrize("padding", ["valid", "same", 1])
def test_the_first_of_equal_elements_wins(value, padding):
    x = np.full((1, 6, 7, 18), value, dtype=np.float32)
    winners = assert_max_pool(x, (3, 2), (2, 2), padding)
    assert winners[0, 1, 1, 0] == 0


def test_all_minus_infinity_passes_gradient_to_the_image_not_the_padding():
    x = np.full((1, 4, 4, 2), -np.inf, dtype=np.float32)
    y, winners = ops.max_pool2d(x, 2, 2, 1)
    dx = ops.max_pool2d_backward(np.ones_like(y), winners, x.shape, 2, 2, 1)
    assert dx.sum() == y.size


@pytest.mark.parametrize(("window", "dtype"), [((16, 16), np.uint8), ((17, 16), np.uint32)])
def test_winner_dtype_grows_with_the_window(window, dtype):
    x = np.arange(20 * 18, dtype=np.float32).reshape(1, 20, 18, 1)
    winners = assert_max_pool(x, window, (1, 1), "valid")
    assert winners.dtype == dtype
    assert (winners == math.prod(window) - 1).all()
    y = np.ones(winners.shape, dtype=np.float32)
    np.testing.assert_array_equal(
        ops.max_pool2d_backward(y, winners, x.shape, window, 1),
        reference.max_pool2d_backward(y, winners, x.shape, window, 1),
    )


@settings(deadline=None, max_examples=100)
@given(geometries(pooling=True), batches, channels, seeds)
def test_avg_pool2d_matches_reference(geometry, batch, c, seed):
    size, window, stride, padding = geometry
    (x,) = normal(seed, (batch, *size, c))
    # The sum, and the division: at most two roundings, as a product with a rounded reciprocal.
    assert_rounded(
        ops.avg_pool2d(x, window, stride, padding),
        reference.avg_pool2d(x, window, stride, padding),
        reference.avg_pool2d(abs(x), window, stride, padding),
        math.prod(window) + 1,
    )


@settings(deadline=None, max_examples=100)
@given(geometries(pooling=True), batches, channels, seeds)
def test_avg_pool2d_backward_matches_reference(geometry, batch, c, seed):
    size, window, stride, padding = geometry
    shape = (batch, *size, c)
    output = reference.avg_pool2d(np.zeros(shape), window, stride, padding).shape
    (grad,) = normal(seed, output)
    arguments = (shape, window, stride, padding)
    assert_rounded(
        ops.avg_pool2d_backward(grad, *arguments),
        reference.avg_pool2d_backward(grad, *arguments),
        reference.avg_pool2d_backward(abs(grad), *arguments),
        overlap(window, stride) + 1,
    )


@settings(deadline=None, max_examples=50)
@given(st.tuples(batches, st.integers(1, 20), st.integers(1, 20), channels), seeds)
def test_global_avg_pool2d_matches_reference(shape, seed):
    (x,) = normal(seed, shape)
    assert_rounded(
        ops.global_avg_pool2d(x),
        reference.global_avg_pool2d(x),
        reference.global_avg_pool2d(abs(x)),
        shape[1] * shape[2] + 1,
    )
    (grad,) = normal(seed, (shape[0], shape[3]))
    expected = reference.global_avg_pool2d_backward(grad, shape)
    assert_rounded(ops.global_avg_pool2d_backward(grad, shape), expected, abs(expected), 2)


def test_the_stride_defaults_to_the_window():
    (x,) = normal(0, (2, 7, 9, 3))
    assert_max_pool(x, (2, 3), (2, 3), "valid")
    np.testing.assert_array_equal(
        ops.max_pool2d(x, (2, 3))[0], ops.max_pool2d(x, (2, 3), (2, 3))[0]
    )
    np.testing.assert_array_equal(ops.avg_pool2d(x), ops.avg_pool2d(x, 2, 2, "valid"))


def test_an_odd_last_row_and_column_get_no_gradient():
    (x,) = normal(0, (1, 5, 7, 4))
    y, winners = ops.max_pool2d(x)
    assert y.shape == (1, 2, 3, 4)
    dx = ops.max_pool2d_backward(np.ones_like(y), winners, x.shape)
    assert dx.sum() == y.size
    assert not dx[:, 4].any()
    assert not dx[:, :, 6].any()
