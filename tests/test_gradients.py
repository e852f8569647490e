"""Gradients that are products: the same as arrays, and as carefully checked."""

import numpy as np
import pytest

from ferrocnn.gradients import as_array, is_finite
from ferrocnn.optimizers import SGD, Adam, Momentum, Optimizer

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
@pytest.mark.parametrize("rule", [SGD, Momentum, Adam])
def test_an_update_has_the_same_bits_from_a_pair_and_from_its_array(
    rule: type[Optimizer], batch: int
) -> None:
    gradient = pair(batch)
    weights = [np.ones((300, 5), np.float32) for _ in range(2)]
    rules = [rule(0.1), rule(0.1)]
    for _ in range(2):
        rules[0].step({"w": weights[0]}, {"w": gradient})
        rules[1].step({"w": weights[1]}, {"w": as_array(gradient)})
    assert weights[0].tobytes() == weights[1].tobytes()


def test_factors_that_do_not_fit_are_named_and_nothing_is_written() -> None:
    x, grad = pair()
    weight = np.ones((300, 4), np.float32)
    with pytest.raises(ValueError, match=r"grad: expected shape \[9, 4\], got \[9, 5\]"):
        SGD(0.1).step({"w": weight}, {"w": (x, grad)})
    assert (weight == 1).all()
