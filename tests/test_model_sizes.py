"""Models of other sizes that share their weights: `CNN.resized`."""

from typing import Any

import numpy as np
import pytest

from ferrocnn import CNN, Conv
from ferrocnn.optimizers import Momentum
from ferrocnn.preprocessing import Preprocessing

LARGE, SMALL = (16, 12, 3), (8, 10, 3)
BLOCKS = [(4, 3), Conv(6, 3, "avg", batch_norm=True), Conv(5, 3, None, stride=2)]


def make(shape: tuple[int, int, int] = LARGE, seed: int = 0, **options: Any) -> CNN:
    return CNN(shape, BLOCKS, [7, 3], global_average_pool=True, seed=seed, **options)


def images(shape: tuple[int, int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(seed).integers(0, 256, (6, *shape), np.uint8), np.arange(6) % 3


def step(model: CNN, optimizer: Momentum, seed: int = 0) -> None:
    X, y = images(model.input_shape, seed)
    model.train_step(X, np.eye(3, dtype=np.float32)[y], optimizer)


def alone(model: CNN, shape: tuple[int, int, int]) -> CNN:
    """A model of that size with copies of the weights and statistics."""
    other = make(shape, seed=9, batch_norm=True)
    other.set_state(model.snapshot())
    return other


def test_what_trains_the_one_trains_the_other() -> None:
    """Both ways, in turns, with the bits of a model that is made anew for each step."""
    large = make(batch_norm=True)
    small = large.resized(*SMALL[:2])
    assert small.input_shape == SMALL
    shared, copied = Momentum(0.05), Momentum(0.05)
    by_hand = alone(large, LARGE)
    for number, model in enumerate((small, large, small, small, large)):
        by_hand = alone(by_hand, model.input_shape)
        before = large.snapshot()
        step(model, shared, number)
        step(by_hand, copied, number)
        for other in (large, small):
            for name, value in other.state().items():
                np.testing.assert_array_equal(value, by_hand.state()[name])
                assert (value != before[name]).any()
            X = images(other.input_shape)[0]
            expected = alone(by_hand, other.input_shape).logits(X)
            np.testing.assert_array_equal(other.logits(X), expected)


def test_values_that_are_set_are_those_of_both() -> None:
    large = make(batch_norm=True)
    small = large.resized(*SMALL[:2])
    for model, seed in ((large, 3), (small, 4)):
        given = make(seed=seed, batch_norm=True).snapshot()
        given["norm2.running_var"][:] = seed
        model.set_state(given)
        for other in (large, small):
            X = images(other.input_shape)[0]
            expected = make(other.input_shape, seed=9, batch_norm=True)
            expected.set_state(given)
            np.testing.assert_array_equal(other.logits(X), expected.logits(X))


def test_names_and_preprocessing_are_copied() -> None:
    large = make(seed=4)
    large.class_names, large.flip_average = ("a", "b", "c"), True
    large.preprocessing = Preprocessing(LARGE[:2], exif_orientation=False)
    large.training = {"epochs": 3}
    small = large.resized(*SMALL[:2])
    assert small.config() == large.config() | {"input_shape": list(SMALL)}
    assert (small.class_names, small.flip_average) == (("a", "b", "c"), True)
    assert small.preprocessing == Preprocessing(SMALL[:2], exif_orientation=False)
    assert small.training == {}
    small.class_names, small.flip_average, small.preprocessing = None, False, None
    assert (large.class_names, large.flip_average) == (("a", "b", "c"), True)
    assert large.preprocessing == Preprocessing(LARGE[:2], exif_orientation=False)


def test_dense_layers_of_single_pixels_fit_one_size_alone() -> None:
    model = CNN((8, 8, 3), [(4, 3)], [5, 1], seed=0)
    with pytest.raises(ValueError, match=r"^global_average_pool: expected True.*12x8.*dense1"):
        model.resized(12, 8)
    same = model.resized(8, 8)
    assert same.parameters()["dense1.weight"] is model.parameters()["dense1.weight"]
    # 9x9 leaves as many pixels behind the pool as 8x8.
    assert model.resized(9, 9).input_shape == (9, 9, 3)


@pytest.mark.parametrize("size", [(0, 8), (8, -1), (1, 8), (8.5, 8), ("8", 8)])
def test_a_size_that_does_not_fit_is_named(size: tuple[Any, Any]) -> None:
    model = CNN((8, 8, 3), [(4, 3)], [1], global_average_pool=True, seed=0)
    before = model.snapshot()
    with pytest.raises((ValueError, TypeError), match=r"^(input_shape|conv_filters): expected"):
        model.resized(*size)
    for name, value in model.state().items():
        np.testing.assert_array_equal(value, before[name])
