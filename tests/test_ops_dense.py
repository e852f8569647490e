"""Dense layers, activations and the loss against the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from ferrocnn import ops
from ops_cases import assert_rounded, assert_same_bits, channels, normal, seeds

# exp, log1p and division are within a unit or two each; a loss or a sigmoid chains three of them.
ELEMENTARY = 8

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


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 200), st.sampled_from([0.1, 1, 10, 40]), seeds)
def test_sigmoid_and_loss_match_reference(count, scale, seed):
    logits = normal(seed, (count, 1))[0] * np.float32(scale)
    targets = np.random.default_rng(seed).integers(0, 2, (count, 1)).astype(np.float32)
    probability = reference.sigmoid(logits)
    assert_rounded(ops.sigmoid(logits), probability, probability, ELEMENTARY)

    loss = ops.sigmoid_cross_entropy(logits, targets)
    assert isinstance(loss, float)
    magnitude = np.mean(abs(logits)) + 1
    assert_rounded(
        np.float32(loss),
        reference.sigmoid_cross_entropy(logits, targets),
        magnitude,
        count + ELEMENTARY,
    )
    assert_rounded(
        ops.sigmoid_cross_entropy_backward(logits, targets, 0.75),
        reference.sigmoid_cross_entropy_backward(logits, targets, 0.75),
        (probability + targets) / count,
        ELEMENTARY,
    )


def test_extreme_logits_stay_finite():
    logits = np.array([[1e4], [-1e4], [1e4], [-1e4], [3e38], [-3e38]], dtype=np.float32)
    right = np.array([[1], [0], [1], [0], [1], [0]], dtype=np.float32)
    assert ops.sigmoid_cross_entropy(logits, right) == 0
    assert not ops.sigmoid_cross_entropy_backward(logits, right).any()
    assert ops.sigmoid_cross_entropy(logits[:4], 1 - right[:4]) == 1e4
    np.testing.assert_array_equal(
        ops.sigmoid_cross_entropy_backward(logits[:4], 1 - right[:4]), (2 * right[:4] - 1) / 4
    )
    np.testing.assert_array_equal(ops.sigmoid(logits), right)


@pytest.mark.parametrize("logit", [-87.0, -30.0, -17.0, 17.0, 30.0])
def test_confident_and_right_still_has_a_loss_and_a_gradient(logit):
    """Computed from the logit: from the rounded probability both would be 0 above 17."""
    logits = np.array([[logit]], dtype=np.float32)
    targets = np.array([[float(logit > 0)]], dtype=np.float32)
    loss = reference.sigmoid_cross_entropy(logits, targets)
    assert 0 < loss < 1e-7
    assert ops.sigmoid_cross_entropy(logits, targets) == pytest.approx(loss, rel=1e-6)


def test_the_gradient_scale_defaults_to_one():
    logits, targets = normal(0, (5, 1))[0], np.ones((5, 1), dtype=np.float32)
    assert_same_bits(
        ops.sigmoid_cross_entropy_backward(logits, targets),
        ops.sigmoid_cross_entropy_backward(logits, targets, grad=1.0),
    )
