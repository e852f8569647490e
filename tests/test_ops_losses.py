"""Sigmoid, softmax and their losses against the reference, and where numbers are extreme."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from ferrocnn import ops
from ops_cases import UNIT_ROUNDOFF, assert_rounded, assert_same_bits, normal, seeds

# exp and division are within a unit or two each; a sigmoid chains three of them.
ELEMENTARY = 8

scales = st.sampled_from([0.1, 1, 10, 40])


def rows(seed, count, classes, scale=1.0):
    """Logits, targets that are distributions (float32), and weights of which some are 0."""
    logits = normal(seed, (count, classes))[0] * np.float32(scale)
    rng = np.random.default_rng(seed)
    targets = rng.dirichlet(np.full(classes, 0.3), count).astype(np.float32)
    weights = rng.random(count, dtype=np.float32) * rng.integers(0, 2, count)
    weights[seed % count] = 2
    return logits, targets, weights.astype(np.float32)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 200), scales, st.booleans(), seeds)
def test_sigmoid_and_loss_match_reference(count, scale, weighted, seed):
    logits, _, weights = rows(seed, count, 1, scale)
    targets = np.random.default_rng(seed).integers(0, 5, (count, 1)).astype(np.float32) / 4
    weights = weights if weighted else None
    probability = reference.sigmoid(logits)
    assert_rounded(ops.sigmoid(logits), probability, probability, ELEMENTARY)

    loss = ops.sigmoid_cross_entropy(logits, targets, weights)
    assert isinstance(loss, float)
    expected = reference.sigmoid_cross_entropy(logits, targets, weights)
    assert loss == pytest.approx(expected, rel=1e-12, abs=1e-13)
    shares = reference.shares(count, weights)[:, None]
    assert_rounded(
        ops.sigmoid_cross_entropy_backward(logits, targets, 0.75, weights),
        reference.sigmoid_cross_entropy_backward(logits, targets, 0.75, weights),
        (probability + targets) * shares,
        ELEMENTARY,
    )


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 70), st.integers(2, 12) | st.just(300), scales, st.booleans(), seeds)
def test_softmax_and_loss_match_reference(count, classes, scale, weighted, seed):
    logits, targets, weights = rows(seed, count, classes, scale)
    weights = weights if weighted else None
    probabilities = reference.softmax(logits)
    # Computed in float64: all that is left is to round the result.
    assert_rounded(ops.softmax(logits), probabilities, probabilities, 1)

    loss = ops.softmax_cross_entropy(logits, targets, weights)
    assert isinstance(loss, float)
    expected = reference.softmax_cross_entropy(logits, targets, weights)
    assert loss == pytest.approx(expected, rel=1e-12, abs=1e-13)
    shares = reference.shares(count, weights)[:, None]
    assert_rounded(
        ops.softmax_cross_entropy_backward(logits, targets, 0.75, weights),
        reference.softmax_cross_entropy_backward(logits, targets, 0.75, weights),
        (probabilities + targets) * shares,
        1,
    )


LOSSES = {
    "sigmoid": (ops.sigmoid_cross_entropy, ops.sigmoid_cross_entropy_backward, 1),
    "softmax": (ops.softmax_cross_entropy, ops.softmax_cross_entropy_backward, 4),
}


@pytest.fixture(params=LOSSES)
def case(request):
    """(loss, backward, logits, targets, weights)."""
    loss, backward, classes = LOSSES[request.param]
    return loss, backward, *rows(1, 9, classes)


@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_are_central_differences_of_the_loss(case, weighted):
    """The loss is float64, so a step of 2^-10 leaves the third derivative, under 2^-20 / 6."""
    loss, backward, logits, targets, weights = case
    weights, step = weights if weighted else None, np.float32(2.0**-10)
    logits = np.round(logits * 64) / np.float32(64)  # logits plus or minus the step are exact
    gradient = backward(logits, targets, weights=weights)
    for index in np.ndindex(logits.shape):
        above, below = logits.copy(), logits.copy()
        above[index] += step
        below[index] -= step
        change = loss(above, targets, weights) - loss(below, targets, weights)
        assert gradient[index] == pytest.approx(change / (2 * step), rel=1e-6, abs=2e-7)


def test_equal_weights_have_the_bits_of_none(case):
    loss, backward, logits, targets, _ = case
    ones = np.ones(len(logits), np.float32)
    for weights in (ones, 4 * ones):
        assert loss(logits, targets, weights) == loss(logits, targets)
        assert_same_bits(backward(logits, targets, weights=weights), backward(logits, targets))


def test_a_weight_of_zero_leaves_a_row_out_and_of_two_counts_it_twice(case):
    loss, backward, logits, targets, _ = case
    weights = np.array([1, 0, 2, 1, 0, 0, 1, 2, 1], np.float32)
    chosen = np.repeat(np.arange(9), weights.astype(int))
    expected = loss(logits[chosen], targets[chosen])
    assert loss(logits, targets, weights) == pytest.approx(expected, rel=1e-14)
    summed = np.zeros_like(logits)
    np.add.at(summed, chosen, backward(logits[chosen], targets[chosen]))
    np.testing.assert_allclose(backward(logits, targets, weights=weights), summed, rtol=1e-6)


def test_the_gradient_scale_defaults_to_one(case):
    _, backward, logits, targets, _ = case
    assert_same_bits(backward(logits, targets), backward(logits, targets, grad=1.0))
    assert_same_bits(backward(logits, targets, 4.0), 4 * backward(logits, targets))


def test_a_sigmoid_is_a_softmax_of_the_logit_and_zero():
    logits, _, weights = rows(2, 50, 1, 5.0)
    targets = np.random.default_rng(0).random((50, 1), dtype=np.float32)
    pairs = np.hstack([np.zeros_like(logits), logits])
    distributions = np.hstack([1 - targets, targets])
    np.testing.assert_allclose(ops.softmax(pairs)[:, 1:], ops.sigmoid(logits), rtol=1e-6)
    assert ops.softmax_cross_entropy(pairs, distributions, weights) == pytest.approx(
        ops.sigmoid_cross_entropy(logits, targets, weights), rel=1e-7
    )
    gradients = ops.softmax_cross_entropy_backward(pairs, distributions, weights=weights)
    np.testing.assert_allclose(
        gradients[:, 1:],
        ops.sigmoid_cross_entropy_backward(logits, targets, weights=weights),
        rtol=1e-5,
        atol=UNIT_ROUNDOFF,
    )


# Extremes


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


@pytest.mark.parametrize("size", [1e4, 1e30, 3e38])
def test_extreme_logits_of_several_classes_stay_finite(size):
    logits = np.array([[size, 0, -size], [-size, size, -size], [-size, -size, size]], np.float32)
    right = np.eye(3, dtype=np.float32)
    np.testing.assert_array_equal(ops.softmax(logits), right)
    assert ops.softmax_cross_entropy(logits, right) == 0
    assert not ops.softmax_cross_entropy_backward(logits, right).any()
    wrong = right[[2, 0, 0]]  # each 2 * size below the largest
    loss = ops.softmax_cross_entropy(logits, wrong)
    assert loss == pytest.approx(2 * float(np.float32(size)), rel=1e-12)
    np.testing.assert_array_equal(
        ops.softmax_cross_entropy_backward(logits, wrong, grad=3.0), right - wrong
    )
    # Equal logits are equally probable, however large.
    np.testing.assert_array_equal(ops.softmax(np.full((1, 4), size, np.float32)), [[0.25] * 4])


@pytest.mark.parametrize("column", [0, 1, 2])
def test_nan_logits_give_nan(column):
    logits, targets, _ = rows(0, 4, 3)
    clean = ops.softmax(logits)
    logits[2, column] = np.nan
    expected = clean.copy()
    expected[2] = np.nan
    assert_same_bits(ops.softmax(logits), expected)
    gradient = ops.softmax_cross_entropy_backward(logits, targets)
    np.testing.assert_array_equal(np.isnan(gradient), np.isnan(expected))
    for target in np.eye(3, dtype=np.float32):  # where the target is 0 as well
        targets[2] = target
        assert np.isnan(ops.softmax_cross_entropy(logits, targets))
    assert np.isnan(ops.sigmoid_cross_entropy(logits, targets))
    gradient = ops.sigmoid_cross_entropy_backward(logits, targets)
    np.testing.assert_array_equal(np.isnan(gradient), np.isnan(logits))


@pytest.mark.parametrize("logit", [-87.0, -30.0, -17.0, 17.0, 30.0])
def test_confident_and_right_still_has_a_loss(logit):
    """Computed from the logit: from the rounded probability it would be 0 above 17."""
    logits = np.array([[logit]], dtype=np.float32)
    targets = np.array([[float(logit > 0)]], dtype=np.float32)
    loss = reference.sigmoid_cross_entropy(logits, targets)
    assert 0 < loss < 1e-7
    assert ops.sigmoid_cross_entropy(logits, targets) == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("logit", [17.0, 40.0, 87.0])
def test_confident_and_right_of_several_classes_still_has_a_loss_and_a_gradient(logit):
    """Above 37 also a float64 sum of 1 and the others would be 1."""
    logits = np.array([[0, logit, 0]], dtype=np.float32)
    targets = np.array([[0, 1, 0]], dtype=np.float32)
    loss = np.log1p(2 * np.exp(-logit))
    assert ops.softmax_cross_entropy(logits, targets) == pytest.approx(loss, rel=1e-12)
    gradient = ops.softmax_cross_entropy_backward(logits, targets)[0, 0]
    assert gradient == pytest.approx(np.exp(-logit) / (1 + 2 * np.exp(-logit)), rel=1e-6)
