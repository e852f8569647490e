"""Training and inference share the arrays of the layers, and do not disturb each other."""

import numpy as np
import pytest

from ferrocnn import CNN, Conv


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("count", [2, 16, 70])
def test_inference_on_any_number_of_images_between_two_steps_changes_no_bit(
    count: int, batch_norm: bool
) -> None:
    generator = np.random.default_rng(0)
    X = generator.integers(0, 256, (16, 8, 8, 3), np.uint8)
    others = generator.integers(0, 256, (count, 8, 8, 3), np.uint8)
    y = np.arange(16) % 2
    results = []
    for inference in (False, True):
        model = CNN(
            (8, 8, 3), [(4, 3), Conv(4, pool="avg")], [5, 1],
            activation="silu", batch_norm=batch_norm, seed=0,
        )  # fmt: skip
        for rows in (slice(16), slice(3), slice(16)):
            model.backward(X[rows], y[rows], 0.1)
            if inference:
                model.forward(others)
        results.append((model.snapshot(), model.forward(others)))
    (states, outputs) = zip(*results, strict=True)
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])
    assert np.array_equal(*outputs)
