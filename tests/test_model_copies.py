"""Copies and pickles of a model: the same model, with weights of its own."""

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest

import ferrocnn

RANDOM = np.random.default_rng(0)
X = RANDOM.integers(0, 256, (20, 12, 10, 3), dtype=np.uint8)
y = RANDOM.integers(0, 2, 20)


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))]
)
def test_a_copy_is_the_same_model_with_its_own_weights(
    duplicate: Callable[[ferrocnn.CNN], ferrocnn.CNN],
) -> None:
    model = ferrocnn.CNN((12, 10, 3), [(8, 3), (5, 3)], [7, 1], seed=0)
    model.class_names = ("Cat", "Dog")
    ferrocnn.train(model, X, y, epochs=1, seed=0, progress=False)
    other = duplicate(model)
    assert (other.config(), other.class_names) == (model.config(), model.class_names)
    assert other.training == model.training
    before = model.forward(X)
    np.testing.assert_array_equal(other.forward(X), before)
    other.backward(X, y, learning_rate=0.1)
    np.testing.assert_array_equal(model.forward(X), before)
    assert (other.forward(X) != before).any()
