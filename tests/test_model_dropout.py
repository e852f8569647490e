"""Dropout in a model: drawn by the key of a step, layer by layer, and gone at inference."""

import numpy as np
import pytest

from ferrocnn import CNN, SGD
from model_cases import reference_of

SHAPE = (12, 12, 3)
RANDOM = np.random.default_rng(0)
X = RANDOM.integers(0, 256, (20, *SHAPE), dtype=np.uint8)
TARGETS = RANDOM.integers(0, 2, (20, 1)).astype(np.float32)


def network(**arguments: object) -> CNN:
    """Smooth, so that the reference's loss is near whatever the rounding decides."""
    chosen = {"dropout": 0.4, "spatial_dropout": 0.2} | arguments
    return CNN(SHAPE, [(8, 3), (9, 3)], [7, 1], activation="silu", seed=0, **chosen)


@pytest.mark.parametrize("key", [0, 1, 2**63, 2**64 - 1])
def test_a_step_drops_by_its_key(key: int) -> None:
    model = network()
    expected = reference_of(model, key).loss(model.parameters(), X, TARGETS)
    loss, _ = model.train_step(X, TARGETS, SGD(0.1), key=key)
    assert loss == pytest.approx(expected, rel=1e-5)
    other = reference_of(network(), key ^ 1).loss(network().parameters(), X, TARGETS)
    assert abs(other - expected) > 1e-4


def test_layers_of_a_step_draw_differently() -> None:
    model = network()
    keys = set(reference_of(model, 2**64 - 1).keys.values())
    assert len(keys) == len(model.layers)


def test_gradients_draw_as_a_step_with_key_0() -> None:
    model = network()
    expected = model.gradients(X, TARGETS)[0]
    assert model.gradients(X, TARGETS)[0] == expected
    assert model.train_step(X, TARGETS, SGD(0.1), key=0)[0] == expected


def test_inference_drops_nothing() -> None:
    model, plain = network(), network(dropout=0, spatial_dropout=0)
    np.testing.assert_array_equal(model.logits(X), plain.logits(X))


def test_a_dropout_of_zero_has_no_layers() -> None:
    assert not any(
        "dropout" in layer.name for layer in network(dropout=0, spatial_dropout=0).layers
    )
