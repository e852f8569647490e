"""Training and inference take turns on one model, and neither changes the other."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ferrocnn
from ferrocnn import CNN, Conv

SHAPE = (10, 8, 3)
X = np.random.default_rng(0).integers(0, 256, (100, *SHAPE), dtype=np.uint8)
TARGETS = np.eye(3, dtype=np.float32)[np.arange(100) % 3]

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "plain": {},
    "batch norm": {"batch_norm": True},
    "batch norm and gelu": {"batch_norm": True, "activation": "gelu"},
    "dropout": {"dropout": 0.3, "spatial_dropout": 0.2, "activation": "tanh"},
    "stride": {"conv_filters": [Conv(4, stride=2), Conv(4, pool="avg")], "batch_norm": True},
    "global pool": {"global_average_pool": True},
}


def network(name: str) -> CNN:
    options = {"conv_filters": [(4, 3), (4, 3)], "fc_layers": [6, 3]} | ARCHITECTURES[name]
    return CNN(SHAPE, seed=0, **options)


def bits(model: CNN) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in model.state().items()}


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(list(ARCHITECTURES)),
    st.lists(st.tuples(st.booleans(), st.sampled_from([1, 2, 5, 30, 64, 70, 100])), max_size=8),
)
def test_in_any_order_and_of_any_size(name: str, calls: list[tuple[bool, int]]) -> None:
    model, trained = network(name), network(name)
    for number, (training, count) in enumerate(calls):
        if training:
            for either in (model, trained):  # this one never infers
                rule = ferrocnn.SGD(0.05)
                either.train_step(X[:count], TARGETS[:count], rule, key=number)
            assert bits(model) == bits(trained)
        else:
            fresh = network(name)  # and this one never trains
            fresh.set_state(model.state())
            np.testing.assert_array_equal(model.forward(X[:count]), fresh.forward(X[:count]))


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_validation_plays_no_part_in_training(name: str) -> None:
    models = []
    for validation in (None, (X, np.arange(100) % 3)):
        model = network(name)
        ferrocnn.train(
            model, X[:20], np.arange(20) % 3, epochs=3, batch_size=8, seed=0,
            learning_rate=0.05, validation_data=validation, progress=False,
        )  # fmt: skip
        models.append(bits(model))
    assert models[0] == models[1]
