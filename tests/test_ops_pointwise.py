"""Activations and dropout against the reference, forward and backward."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference_pointwise as reference
from ferrocnn import _kernels, ops
from ops_cases import assert_same_bits, normal, seeds

KINDS = ["identity", "relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"]
SHAPES = st.lists(st.integers(1, 9), min_size=2, max_size=4).map(tuple)
INFINITY, NAN = math.inf, math.nan

# How far a result may be from the exact one: what `ops.activation` promises of units in the last
# place, and an absolute error, here a multiple of the largest magnitude on the way.
UNITS = {"gelu": 0}
SLOPE_UNITS = {"gelu": 0, "silu": 0}
ABSOLUTE = 3e-7


def floats_of_all_sizes():
    """Every magnitude of float32, subnormal to largest, of both signs; and the usual numbers."""
    magnitudes = np.arange(0, 0x7F800000, 49_999, dtype=np.uint32).view(np.float32)
    usual = np.linspace(-20, 20, 40_001, dtype=np.float32)
    return np.concatenate([magnitudes, -magnitudes, usual, usual * np.float32(5.5)])


def assert_near(actual, expected, units, absolute):
    """Within `units` in the last place and, for results below 1e-36, a unit of that."""
    expected_size = np.abs(expected).astype(np.float32)
    allowed = units * np.maximum(np.spacing(expected_size), 1e-43) + absolute
    error = np.abs(actual.astype(np.float64) - expected)
    worst = int(np.argmax(error - allowed))
    assert (error <= allowed).all(), (actual.flat[worst], expected.flat[worst])


def test_the_names_are_those_of_the_kernels():
    assert _kernels.ACTIVATIONS == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_activations_are_as_exact_as_promised(kind):
    x = floats_of_all_sizes()
    absolute = ABSOLUTE * np.maximum(np.minimum(np.abs(x), 20), 1) if kind == "gelu" else 0
    units = UNITS.get(kind, 3)
    y = ops.activation(x, kind)
    assert y.dtype == np.float32
    large = (np.abs(x) > 20) & (kind == "gelu")  # exact there: 0 or x
    np.testing.assert_array_equal(y[large], np.maximum(x, 0)[large])
    expected = np.where(large, np.maximum(x, 0), reference.activation(x, kind))
    assert_near(y, expected, units, absolute)


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_are_exact_to_a_few_units(kind):
    x = floats_of_all_sizes()
    slope = ops.activation_backward(np.ones_like(x), x, kind)
    # Those of GELU and SiLU cross 0, a sum of terms of both signs.
    crosses = kind in SLOPE_UNITS
    absolute, units = (4e-7, 0) if crosses else (0, 5)
    assert_near(slope, reference.slope(x, kind), units, absolute)


@settings(deadline=None, max_examples=50)
@given(SHAPES, st.sampled_from(KINDS), seeds)
def test_activations_take_any_shape_and_scale_the_gradient(shape, kind, seed):
    x, grad = normal(seed, shape, shape)
    y, dx = ops.activation(x, kind), ops.activation_backward(grad, x, kind)
    assert y.shape == dx.shape == shape
    np.testing.assert_allclose(y, reference.activation(x, kind), rtol=5e-7, atol=5e-7)
    np.testing.assert_allclose(dx, grad * reference.slope(x, kind), rtol=1e-6, atol=2e-6)


LIMITS = {  # of -infinity and infinity
    "identity": (-INFINITY, INFINITY),
    "relu": (0, INFINITY),
    "leaky_relu": (-INFINITY, INFINITY),
    "elu": (-1, INFINITY),
    "gelu": (0, INFINITY),
    "silu": (0, INFINITY),
    "tanh": (-1, 1),
    "sigmoid": (0, 1),
}
SLOPE_LIMITS = {
    "identity": (1, 1),
    "relu": (0, 1),
    "leaky_relu": (np.float32(0.01), 1),
    "elu": (0, 1),
    "gelu": (0, 1),
    "silu": (0, 1),
    "tanh": (0, 0),
    "sigmoid": (0, 0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_activations_at_their_extremes(kind):
    """From 1e4 on all are their limits, or the straight line that they come near."""
    low, high = LIMITS[kind]
    far = np.float32([-1e4, -3e38, 1e4, 3e38])
    expected = [
        *(far[:2] * (np.float32(0.01) if kind == "leaky_relu" else 1) if low < -1 else [low] * 2),
        *(far[2:] if high > 1 else [high] * 2),
    ]
    np.testing.assert_array_equal(ops.activation(far, kind), np.float32(expected))
    ends = np.float32([-INFINITY, INFINITY])
    np.testing.assert_array_equal(ops.activation(ends, kind), np.float32([low, high]))
    slopes = np.float32(SLOPE_LIMITS[kind])
    ones = np.ones(2, np.float32)
    np.testing.assert_array_equal(ops.activation_backward(ones, ends, kind), slopes)
    np.testing.assert_array_equal(ops.activation_backward(ones, far[::2], kind), slopes)


@pytest.mark.parametrize("kind", KINDS)
def test_nan_stays_nan_and_touches_no_neighbour(kind):
    x = np.linspace(-3, 3, 70, dtype=np.float32)
    with_nan = x.copy()
    with_nan[::7] = NAN
    y = ops.activation(with_nan, kind)
    expected = ops.activation(x, kind)
    expected[::7] = NAN
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("kind", ["elu", "tanh", "leaky_relu", "silu", "gelu"])
def test_the_smallest_numbers_are_not_lost(kind):
    """Next to 0 these are straight lines."""
    slope = {"elu": 1, "tanh": 1, "leaky_relu": 0.01, "silu": 0.5, "gelu": 0.5}[kind]
    x = -np.float32([1e-6, 1e-10, 1e-30, 1e-38, 1e-41])
    expected = slope * x.astype(np.float64)
    np.testing.assert_allclose(ops.activation(x, kind), expected, rtol=2e-5, atol=1e-45)


def test_relu_and_sigmoid_are_the_activations_of_that_name():
    (x,) = normal(0, (100,))
    assert_same_bits(ops.relu(x), ops.activation(x, "relu"))
    assert_same_bits(ops.relu_backward(x[::-1], x), ops.activation_backward(x[::-1], x, "relu"))
    assert_same_bits(ops.sigmoid(x), ops.activation(x, "sigmoid"))


@pytest.mark.parametrize("kind", ["swish", "ReLU", "", None, 3])
def test_an_unknown_activation_lists_the_known(kind):
    for call in (
        lambda: ops.activation([1.0], kind),
        lambda: ops.activation_backward([1.0], [1.0], kind),
    ):
        with pytest.raises(
            (ValueError, TypeError), match=rf"^kind: expected one of {', '.join(KINDS)}, got "
        ):
            call()


# Dropout


@settings(deadline=None, max_examples=100)
@given(
    SHAPES,
    st.sampled_from([0.0, 0.1, 0.5, 0.75, 0.999]),
    st.integers(0, 2**64 - 1),
    st.booleans(),
    seeds,
)
def test_dropout_draws_as_splitmix64_says_and_scales_exactly(shape, rate, key, spatial, seed):
    x, grad = normal(seed, shape, shape)
    kept = reference.dropout_factor(shape, rate, key, spatial) != 0
    factor = np.float32(1) / (np.float32(1) - np.float32(rate))
    expected = np.where(kept, x * factor, np.float32(0))
    assert_same_bits(abs(ops.dropout(x, rate, key, spatial)), abs(expected))
    expected = np.where(kept, grad * factor, np.float32(0))
    assert_same_bits(abs(ops.dropout_backward(grad, rate, key, spatial)), abs(expected))


@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("rate", [0.01, 0.2, 0.5, 0.9])
def test_the_rate_is_kept_and_neither_key_nor_image_repeats(rate, spatial):
    """Five standard deviations of a binomial number: one in three million is further off."""
    x = np.ones((64, 5, 7, 40), np.float32)
    drawn = x[:, 0, 0] if spatial else x

    def dropped(key):
        y = ops.dropout(x, rate, key, spatial)
        return (y[:, 0, 0] if spatial else y) == 0

    def assert_share(hits, share):
        deviation = math.sqrt(share * (1 - share) / hits.size)
        assert abs(hits.mean() - share) < 5 * deviation + 1 / hits.size

    masks = [dropped(key) for key in (0, 1, 2**32, 2**64 - 1)]
    for mask in masks:
        assert mask.shape == drawn.shape
        assert_share(mask, rate)
        assert_share(mask[1:] & mask[:-1], rate**2)  # images
        assert_share(mask[..., 1:] & mask[..., :-1], rate**2)  # channels
    for one, other in itertools.pairwise(masks):
        assert_share(one & other, rate**2)


def test_what_is_dropped_depends_on_key_and_image_alone():
    (x,) = normal(3, (6, 4, 5, 3))
    y = ops.dropout(x, 0.4, 9)
    assert_same_bits(ops.dropout(x[:2], 0.4, 9), y[:2])
    assert_same_bits(ops.dropout(x * 2, 0.4, 9), y * 2)
    assert (ops.dropout(x, 0.4, 10) != y).any()
    assert ((y[0] == 0) != (y[1] == 0)).any()


def test_spatial_dropout_takes_whole_channels():
    x = np.ones((40, 3, 4, 5), np.float32)
    y = ops.dropout(x, 0.5, 1, spatial=True)
    assert (y == y[:, :1, :1]).all()
    assert 0 < (y[:, 0, 0] == 0).sum() < 200


def test_a_rate_of_zero_changes_nothing():
    (x,) = normal(3, (6, 4))
    assert_same_bits(ops.dropout(x, 0, 1), x)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rate": 1}, "rate: expected at least 0 and below 1, got 1"),
        ({"rate": 0.999_999_99}, "rate: expected at least 0 and below 1, got 0.99999999"),
        ({"rate": -0.1}, "rate: expected at least 0 and below 1, got -0.1"),
        ({"rate": NAN}, "rate: expected at least 0 and below 1, got nan"),
        ({"rate": "0.5"}, "rate: expected a number, got '0.5'"),
        ({"key": -1}, "key: expected at least 0, got -1"),
        ({"key": 2**64}, "key: expected a number below 2.64, got 18446744073709551616"),
        ({"key": 1.5}, "key: expected an integer, got 1.5"),
        ({"spatial": 1}, "spatial: expected True or False, got 1"),
    ],
)
def test_dropout_that_makes_no_sense(changes, says):
    arguments = {"rate": 0.5, "key": 0, "spatial": False} | changes
    for call in (ops.dropout, ops.dropout_backward):
        with pytest.raises((ValueError, TypeError), match=f"^{says}"):
            call(np.ones((2, 3), np.float32), **arguments)


def test_dropout_of_something_else_than_a_batch():
    with pytest.raises(ValueError, match=r"^x: expected \(n, \.\.\., channels\), got shape \(3,\)"):
        ops.dropout([1.0, 2.0, 3.0], 0.5, 0)
    with pytest.raises(ValueError, match=r"^grad: expected \(n, \.\.\., channels\), got shape"):
        ops.dropout_backward([1.0, 2.0, 3.0], 0.5, 0)
