"""Gradients that are products: the same as arrays, and as carefully checked."""

import numpy as np
import pytest

import ferrocnn
from ferrocnn.gradients import Gradient, as_array, clip, global_norm, is_finite
from ferrocnn.optimizers import SGD, make_optimizer

RANDOM = np.random.default_rng(0)


def pair(batch: int = 9) -> tuple[np.ndarray, np.ndarray]:
    x = RANDOM.standard_normal((batch, 300), dtype=np.float32)
    x[:, ::3] = 0  # as behind a ReLU
    return x, RANDOM.standard_normal((batch, 5), dtype=np.float32)


def test_a_pair_is_its_product() -> None:
    x, grad = pair()
    expected = x.astype(np.float64).T @ grad
    np.testing.assert_allclose(as_array((x, grad)), expected, rtol=0, atol=1e-5)


def test_an_array_is_copied() -> None:
    gradient = np.ones(3, np.float32)
    copied = as_array(gradient)
    copied[0] = 2
    assert gradient[0] == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("factor", [0, 1])
def test_what_is_not_finite_is_found_in_either_factor(value: float, factor: int) -> None:
    gradient = pair()
    assert is_finite(gradient)
    gradient[factor][3, 2] = value
    assert not is_finite(gradient)


def test_finite_factors_whose_product_overflows_are_found() -> None:
    x, grad = (np.full((2, 1), 1e20, np.float32) for _ in range(2))
    assert not is_finite((x, grad))


def test_large_factors_that_do_not_meet_are_finite() -> None:
    x = np.array([[1e20, 0], [0, 1]], np.float32)
    grad = np.array([[0], [1e20]], np.float32)
    assert is_finite((x, grad))


@pytest.mark.parametrize("batch", [1, 2, 9, 70])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("rule", ["sgd", "momentum", "nesterov", "adam", "adamw", "lion"])
def test_an_update_has_the_same_bits_from_a_pair_and_from_its_array(
    rule: str, decay: float, batch: int
) -> None:
    gradient, name = pair(batch), "dense1.weight"
    weights = [np.ones((300, 5), np.float32) for _ in range(2)]
    rules = [make_optimizer(rule, 0.1) for _ in range(2)]
    for each in rules:
        each.weight_decay = decay
    for _ in range(2):
        rules[0].step({name: weights[0]}, {name: gradient})
        rules[1].step({name: weights[1]}, {name: as_array(gradient)})
    assert weights[0].tobytes() == weights[1].tobytes()


def test_factors_that_do_not_fit_are_named_and_nothing_is_written() -> None:
    x, grad = pair()
    weight = np.ones((300, 4), np.float32)
    with pytest.raises(ValueError, match=r"grad: expected shape \[9, 4\], got \[9, 5\]"):
        SGD(0.1).step({"w": weight}, {"w": (x, grad)})
    assert (weight == 1).all()


def mixed() -> dict[str, Gradient]:
    """Arrays of one task and of several, and a pair."""
    shapes = {"conv1.weight": (3, 3, 3, 8), "conv1.bias": (8,), "large": (70_000,)}
    arrays = {name: RANDOM.standard_normal(s, dtype=np.float32) for name, s in shapes.items()}
    return {**arrays, "dense1.weight": pair()}


def float64_norm(gradients: dict[str, Gradient]) -> float:
    arrays = [
        g[0].astype(np.float64).T @ g[1] if isinstance(g, tuple) else g for g in gradients.values()
    ]
    return float(np.sqrt(sum(np.square(array, dtype=np.float64).sum() for array in arrays)))


def test_the_norm_is_that_of_all_gradients_together() -> None:
    gradients = mixed()
    # The pair's product is made in float32, all sums in float64.
    np.testing.assert_allclose(global_norm(gradients), float64_norm(gradients), rtol=1e-7)
    only_arrays = {name: g for name, g in gradients.items() if name != "dense1.weight"}
    np.testing.assert_allclose(global_norm(only_arrays), float64_norm(only_arrays), rtol=1e-13)


@pytest.mark.parametrize("batch", [0, 1, 9, 70])
@pytest.mark.parametrize("features", [1, 127, 128, 129, 1500])
def test_the_norm_of_a_pair_is_that_of_its_array(batch: int, features: int) -> None:
    x = RANDOM.standard_normal((batch, features), dtype=np.float32)
    grad = RANDOM.standard_normal((batch, 3), dtype=np.float32)
    array = as_array((x, grad))
    # Equal elements, whose squares are added in another order.
    np.testing.assert_allclose(global_norm({"w": (x, grad)}), global_norm({"w": array}), rtol=1e-13)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_norm_of_tiny_and_huge_elements_neither_vanishes_nor_overflows(scale: float) -> None:
    array = np.full(40_000, scale, np.float32)
    np.testing.assert_allclose(global_norm({"w": array}), 200 * float(array[0]), rtol=1e-13)


def test_the_norm_has_the_same_bits_for_any_number_of_threads() -> None:
    gradients = mixed()
    before = ferrocnn.get_num_threads()
    try:
        norms = set()
        for threads in (1, 2, 5):
            ferrocnn.set_num_threads(threads)
            norms.add(global_norm(gradients))
    finally:
        ferrocnn.set_num_threads(before)
    assert len(norms) == 1


def test_gradients_that_are_too_long_are_scaled_to_the_norm_and_keep_their_direction() -> None:
    gradients = mixed()
    expected = {name: as_array(g).astype(np.float64) for name, g in gradients.items()}
    factor = 2.5 / float64_norm(gradients)
    grad = gradients["dense1.weight"][1]
    kept = grad.copy()
    clipped = clip(gradients, 2.5)
    np.testing.assert_allclose(float64_norm(clipped), 2.5, rtol=1e-6)
    for name, gradient in clipped.items():
        np.testing.assert_allclose(
            as_array(gradient), factor * expected[name], rtol=1e-5, atol=1e-7
        )
    assert list(clipped) == list(gradients)
    assert clipped["large"] is gradients["large"]
    np.testing.assert_array_equal(grad, kept)


def test_gradients_that_are_short_enough_stay_as_they_are() -> None:
    gradients = mixed()
    bits = {name: as_array(g).tobytes() for name, g in gradients.items()}
    clipped = clip(gradients, 1.001 * float64_norm(gradients))
    assert {name: as_array(g).tobytes() for name, g in clipped.items()} == bits
    zeros = {"w": np.zeros(3, np.float32)}
    assert (clip(zeros, 1e-3)["w"] == 0).all()


def test_what_cannot_be_clipped_is_named_and_stays() -> None:
    gradient = np.array([3, np.nan], np.float32)
    with pytest.raises(ValueError, match="gradients: expected finite values, got a norm of nan"):
        clip({"w": gradient}, 1.0)
    assert gradient[0] == 3
    with pytest.raises(ValueError, match="max_norm: expected a finite number above 0, got 0"):
        clip({"w": np.ones(3, np.float32)}, 0)
