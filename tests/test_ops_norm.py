"""Batch norm against the reference, forward and backward."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference_pointwise as reference
from ferrocnn import _kernels, ops
from ops_cases import UNIT_ROUNDOFF, assert_same_bits, channels, normal, seeds

shapes = st.tuples(st.integers(1, 20), st.integers(1, 12), st.integers(1, 12), channels)


def tolerance(terms):
    """Of a sum of so many terms of order 1, relative to their size; see `assert_rounded`."""
    return (min(terms, 8 * math.sqrt(terms)) + 8) * UNIT_ROUNDOFF


def case(shape, offset, scale, seed):
    """x, gamma (of both signs), beta and a gradient."""
    x, grad, gamma, beta = normal(seed, shape, shape, shape[-1:], shape[-1:])
    return x * np.float32(scale) + np.float32(offset), gamma, beta, grad


@settings(deadline=None, max_examples=100)
@given(
    st.one_of(shapes, st.tuples(st.integers(2, 300), channels)),
    st.sampled_from([(0.0, 1.0), (3.0, 0.5), (-100.0, 2.0), (0.0, 1e-3), (5e4, 300.0)]),
    st.sampled_from([1e-5, 1e-3]),
    seeds,
)
def test_batch_norm_matches_reference(shape, distribution, epsilon, seed):
    offset, scale = distribution
    x, gamma, beta, grad = case(shape, offset, scale, seed)
    rounding = tolerance(x.size // shape[-1])
    expected, mean, variance = reference.batch_norm(x, gamma, beta, epsilon)
    y, own_mean, own_variance = ops.batch_norm(x, gamma, beta, epsilon)
    assert y.shape == shape
    assert own_mean.shape == own_variance.shape == gamma.shape
    assert y.dtype == own_mean.dtype == own_variance.dtype == np.float32

    # The mean is rounded to float32, beside which differences from it may be small; and the sums
    # are of differences from the mean of 64 pixels, of fewer from theirs, which may be a deviation
    # off.
    spread = 2 * variance + np.square(UNIT_ROUNDOFF * mean)
    mean_error = rounding * np.sqrt(spread) + UNIT_ROUNDOFF * np.abs(mean)
    assert (np.abs(own_mean - mean) <= mean_error).all()
    assert (np.abs(own_variance - variance) <= 2 * rounding * spread + 1e-44).all()

    deviation = np.sqrt(variance + epsilon)
    error = mean_error / deviation + 2 * rounding * (spread + epsilon) / deviation**2
    normed = np.abs((x - mean) / deviation) + 1
    allowed = np.abs(gamma) * error * normed + 4 * UNIT_ROUNDOFF * (np.abs(expected) + np.abs(beta))
    assert (np.abs(y - expected) <= allowed).all()

    dx, dgamma, dbeta = ops.batch_norm_backward(grad, x, gamma, own_mean, own_variance, epsilon)
    expected_dx, expected_dgamma, expected_dbeta = reference.batch_norm_backward(
        grad, x, gamma, epsilon
    )
    axes = tuple(range(x.ndim - 1))
    sizes = np.abs(grad).sum(axes)
    products = (np.abs(grad) * normed).sum(axes)
    assert (np.abs(dbeta - expected_dbeta) <= rounding * sizes).all()
    allowed = (2 * rounding + error) * products * (1 + error)
    assert (np.abs(dgamma - expected_dgamma) <= allowed).all()
    count = x.size // shape[-1]
    parts = np.abs(grad) + sizes / count + normed * products / count
    allowed = (2 * rounding + 3 * error) * np.abs(gamma) / deviation * parts
    assert dx.shape == shape
    assert (np.abs(dx - expected_dx) <= allowed).all()


@settings(deadline=None, max_examples=50)
@given(shapes, seeds)
def test_inference_matches_reference_and_takes_each_element_by_itself(shape, seed):
    x, gamma, beta, _ = case(shape, 0.3, 2, seed)
    mean, variance = normal(seed + 1, shape[-1:], shape[-1:])
    variance = np.square(variance)
    expected = reference.batch_norm(x, gamma, beta, moments=(mean, variance))[0]
    y = ops.batch_norm_inference(x, gamma, beta, mean, variance)
    size = np.abs((x - mean) / np.sqrt(variance + 1e-5) * gamma) + np.abs(beta)
    assert (np.abs(y - expected) <= 8 * UNIT_ROUNDOFF * size).all()
    for k in range(len(x)):
        alone = ops.batch_norm_inference(x[k : k + 1], gamma, beta, mean, variance)
        assert_same_bits(alone, y[k : k + 1])


def test_normalised_channels_have_mean_beta_and_deviation_gamma():
    x, gamma, beta, _ = case((64, 9, 9, 5), 7, 3, 0)
    y, mean, variance = ops.batch_norm(x, gamma, beta)
    np.testing.assert_allclose(y.mean((0, 1, 2), dtype=np.float64), beta, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 1, 2), dtype=np.float64), abs(gamma), rtol=1e-5)
    assert_same_bits(ops.batch_norm_inference(x, gamma, beta, mean, variance), y)


def test_a_mean_far_from_zero_costs_no_digits_of_the_variance():
    """Summed as squares of the elements, the variance would be all rounding."""
    (x,) = normal(0, (32, 8, 8, 3))
    _, _, near = ops.batch_norm(x, np.ones(3, "f"), np.zeros(3, "f"))
    x = np.float32(4096) + np.round(x * 512) / np.float32(512)  # exact in float32
    _, _, far = ops.batch_norm(x, np.ones(3, "f"), np.zeros(3, "f"))
    np.testing.assert_allclose(far, x.astype(np.float64).var((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(far, near, rtol=1e-2)


def test_a_constant_channel_is_beta_and_passes_on_no_gradient():
    x = np.full((4, 3, 3, 2), 5, np.float32)
    gamma, beta = np.float32([2, -3]), np.float32([0.5, -1])
    y, mean, variance = ops.batch_norm(x, gamma, beta)
    np.testing.assert_array_equal(y, np.broadcast_to(beta, x.shape))
    assert mean.tolist() == [5, 5]
    assert variance.tolist() == [0, 0]
    (grad,) = normal(1, x.shape)
    dx, dgamma, dbeta = ops.batch_norm_backward(grad, x, gamma, mean, variance)
    assert dgamma.tolist() == [0, 0]
    np.testing.assert_allclose(dbeta, grad.sum((0, 1, 2), dtype=np.float64), atol=1e-5)
    expected = reference.batch_norm_backward(grad, x, gamma)[0]
    np.testing.assert_allclose(dx, expected, rtol=1e-5, atol=1e-3)


def test_nan_spoils_its_own_channel_alone():
    x, gamma, beta, _ = case((3, 4, 4, 20), 0, 1, 0)
    expected = ops.batch_norm(x, gamma, beta)
    x[1, 2, 2, 7] = np.nan
    results = ops.batch_norm(x, gamma, beta)
    others = np.arange(20) != 7
    for result, before in zip(results, expected, strict=True):
        assert np.isnan(result[..., 7]).all()
        assert_same_bits(result[..., others], before[..., others])


@pytest.mark.parametrize("kind", _kernels.ACTIVATIONS)
def test_an_activation_behind_it_is_one_pass_with_the_same_bits(kind):
    """As the layers of a model call the kernels."""
    x, gamma, beta, grad = case((5, 9, 11, 19), 1, 2, 0)
    y, mean, variance = ops.batch_norm(x, gamma, beta)
    fused, moments = np.empty_like(x), (np.empty_like(gamma), np.empty_like(gamma))
    _kernels.batch_norm(gamma, beta, 1e-5, kind, x, *moments, True, fused)
    assert_same_bits(fused, ops.activation(y, kind))
    assert_same_bits(moments, (mean, variance))
    expected = ops.batch_norm_backward(
        ops.activation_backward(grad, y, kind), x, gamma, mean, variance
    )
    dx, dgamma, dbeta = grad.copy(), np.empty_like(gamma), np.empty_like(gamma)
    _kernels.batch_norm_backward(gamma, beta, 1e-5, kind, dx, x, *moments, dgamma, dbeta)
    assert_same_bits((dx, dgamma, dbeta), expected)


X, VECTOR = np.ones((2, 3, 3, 4), np.float32), np.ones(4, np.float32)


@pytest.mark.parametrize("name", ["gamma", "beta", "mean", "variance"])
@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (np.ones(3, "f"), r"expected shape \(4,\), got \(3,\)"),
        (np.ones((1, 4), "f"), "expected 1 dimensions, got shape"),
        (np.ones(4, int), "expected a float array, got int64"),
    ],
)
def test_vectors_that_do_not_fit(name, wrong, says):
    arguments = {"gamma": VECTOR, "beta": VECTOR, "mean": VECTOR, "variance": VECTOR}
    with pytest.raises((ValueError, TypeError), match=f"^{name}: {says}"):
        ops.batch_norm_inference(X, **(arguments | {name: wrong}))
    if name in ("gamma", "beta"):
        pair = {"gamma": VECTOR, "beta": VECTOR} | {name: wrong}
        with pytest.raises((ValueError, TypeError), match=f"^{name}: {says}"):
            ops.batch_norm(X, **pair)
    if name != "beta":
        rest = {"gamma": VECTOR, "mean": VECTOR, "variance": VECTOR} | {name: wrong}
        with pytest.raises((ValueError, TypeError), match=f"^{name}: {says}"):
            ops.batch_norm_backward(X, X, **rest)


def test_other_arguments_that_make_no_sense():
    with pytest.raises(ValueError, match=r"^variance: expected values of at least 0, got -1"):
        ops.batch_norm_inference(X, VECTOR, VECTOR, VECTOR, -VECTOR)
    with pytest.raises(ValueError, match=r"^grad: expected shape \(2, 3, 3, 4\), got"):
        ops.batch_norm_backward(X[:1], X, VECTOR, VECTOR, VECTOR)
    with pytest.raises(ValueError, match=r"^x: expected \(n, \.\.\., channels\), got shape \(4,\)"):
        ops.batch_norm(VECTOR, VECTOR, VECTOR)
    for epsilon in (0, -1, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"^epsilon: expected a finite number above 0"):
            ops.batch_norm(X, VECTOR, VECTOR, epsilon)


@pytest.mark.parametrize(
    ("shape", "pixel"),
    [((4, 112, 112, 2), (0, 0, 0)), ((1, 300, 300, 3), (0, 0, 0)), ((2, 64, 64, 17), (1, 63, 63))],
)
@pytest.mark.parametrize("distance", [100.0, 2000.0])
def test_a_pixel_far_off_leaves_the_variance_its_digits(shape, pixel, distance):
    (x,) = normal(1, shape)
    x += 50
    x[pixel] -= distance
    expected = x.astype(np.float64).var(axis=(0, 1, 2))
    ones, zeros = np.ones(shape[-1], np.float32), np.zeros(shape[-1], np.float32)
    _, mean, variance = ops.batch_norm(x, ones, zeros)
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(axis=(0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(variance, expected, rtol=2e-5)
