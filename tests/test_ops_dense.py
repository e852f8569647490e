"""Dense layers and ReLU against the reference."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from ferrocnn import ops
from ops_cases import assert_rounded, assert_same_bits, channels, normal, seeds

features = st.integers(1, 70) | st.sampled_from([128, 300])


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 20), features, channels, seeds)
def test_dense_matches_reference(batch, inputs, outputs, seed):
    x, weight, bias, grad = normal(
        seed, (batch, inputs), (inputs, outputs), (outputs,), (batch, outputs)
    )
    magnitude = reference.dense(abs(x), abs(weight), abs(bias))
    assert_rounded(
        ops.dense(x, weight, bias), reference.dense(x, weight, bias), magnitude, inputs + 1
    )
    assert_rounded(ops.dense(x, weight), reference.dense(x, weight), magnitude, inputs)
    actual = ops.dense_backward(grad, x, weight)
    expected = reference.dense_backward(grad, x, weight)
    magnitudes = reference.dense_backward(abs(grad), abs(x), abs(weight))
    for arguments in zip(actual, expected, magnitudes, (outputs, batch, batch), strict=True):
        assert_rounded(*arguments)


def test_a_row_has_the_same_bits_in_any_batch():
    x, weight, bias = normal(0, (13, 200), (200, 37), (37,))
    together = ops.dense(x, weight, bias)
    for k in range(len(x)):
        assert_same_bits(ops.dense(x[k : k + 1], weight, bias), together[k : k + 1])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), seeds)
def test_relu_matches_reference(shape, seed):
    x, grad = normal(seed, shape, shape)
    np.testing.assert_array_equal(ops.relu(x), reference.relu(x))
    np.testing.assert_array_equal(ops.relu_backward(grad, x), reference.relu_backward(grad, x))
    assert ops.relu(x).dtype == ops.relu_backward(grad, x).dtype == np.float32


def test_relu_at_its_special_points():
    x = np.array([-np.inf, -0.0, 0.0, 1e-45, np.inf, np.nan], dtype=np.float32)
    np.testing.assert_array_equal(ops.relu(x), [0, 0, 0, x[3], np.inf, np.nan])
    grad = np.ones_like(x)
    np.testing.assert_array_equal(ops.relu_backward(grad, x)[:5], [0, 0, 0, 1, 1])
