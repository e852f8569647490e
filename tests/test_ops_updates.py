"""The optimisers' updates against the reference. All work in place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from ferrocnn import ops
from ops_cases import assert_rounded, assert_same_bits, normal, seeds

shapes = st.lists(st.integers(1, 40), min_size=1, max_size=4).filter(lambda s: np.prod(s) < 5000)
rates = st.sampled_from([1e-4, 1e-3, 0.1, 1.0])


@settings(deadline=None, max_examples=50)
@given(shapes, rates, seeds)
def test_sgd_update_matches_reference(shape, rate, seed):
    parameter, gradient = normal(seed, shape, shape)
    expected = reference.sgd_update(parameter, gradient, rate)
    magnitude = abs(parameter) + rate * abs(gradient)
    assert ops.sgd_update(parameter, gradient, rate) is None
    # Rounded: the rate, the product, the difference.
    assert_rounded(parameter, expected, magnitude, 3)


@settings(deadline=None, max_examples=50)
@given(shapes, rates, st.sampled_from([0.0, 0.9, 0.99]), seeds)
def test_momentum_update_matches_reference(shape, rate, momentum, seed):
    parameter, gradient, velocity = normal(seed, shape, shape, shape)
    expected = reference.momentum_update(parameter, gradient, velocity, rate, momentum)
    magnitude = abs(gradient) + momentum * abs(velocity)
    old = abs(parameter)
    assert ops.momentum_update(parameter, gradient, velocity, rate, momentum) is None
    assert_rounded(velocity, expected[1], magnitude, 3)
    assert_rounded(parameter, expected[0], old + rate * magnitude, 6)


@settings(deadline=None, max_examples=100)
@given(
    shapes,
    rates,
    st.sampled_from([(0.9, 0.999), (0.0, 0.9), (0.5, 0.99), (0.99, 0.9999)]),
    st.sampled_from([1, 2, 10, 1000, 1_000_000]),
    st.sampled_from([1e-8, 1e-3, 1.0]),
    seeds,
)
def test_adam_update_matches_reference(shape, rate, betas, step, epsilon, seed):
    beta1, beta2 = betas
    parameter, gradient, first, second = normal(seed, shape, shape, shape, shape)
    second = np.square(second)
    constants = (step, rate, beta1, beta2, epsilon)
    expected = reference.adam_update(parameter, gradient, first, second, *constants)
    first_magnitude = beta1 * abs(first) + (1 - beta1) * abs(gradient)
    scale = np.sqrt(expected[2] / (1 - beta2**step)) + epsilon
    update = rate * first_magnitude / (1 - beta1**step) / scale
    old = abs(parameter)
    assert ops.adam_update(parameter, gradient, first, second, *constants) is None
    # The decay rates and their complements are each rounded once: 1 - beta has no cancellation.
    assert_rounded(first, expected[1], first_magnitude, 3)
    assert_rounded(second, expected[2], expected[2], 4)
    assert_rounded(parameter, expected[0], old + update, 14)


def test_adam_from_rest_over_many_steps():
    parameter = normal(0, (50,))[0]
    wanted = parameter.astype(np.float64)
    first, second = np.zeros_like(parameter), np.zeros_like(parameter)
    wanted_first, wanted_second = np.zeros(50), np.zeros(50)
    for step in range(1, 31):
        (gradient,) = normal(step, (50,))
        constants = (step, 0.01, 0.9, 0.999, 1e-8)
        ops.adam_update(parameter, gradient, first, second, *constants)
        wanted, wanted_first, wanted_second = reference.adam_update(
            wanted, gradient, wanted_first, wanted_second, *constants
        )
    # Thirty steps of at most 0.02 each, every one within 14 roundings of parameter and update.
    np.testing.assert_allclose(parameter, wanted, rtol=0, atol=30 * 14 * 2.0**-24)


def test_adam_without_gradient_stays():
    parameter, zeros = np.ones(20, dtype=np.float32), np.zeros(20, dtype=np.float32)
    ops.adam_update(parameter, zeros, zeros.copy(), zeros.copy(), 1, 0.1, 0.9, 0.999, 1e-8)
    assert (parameter == 1).all()


UPDATES = {
    "sgd_update": (ops.sgd_update, ["parameter", "gradient"], (0.1,)),
    "momentum_update": (ops.momentum_update, ["parameter", "gradient", "velocity"], (0.1, 0.9)),
    "adam_update": (
        ops.adam_update,
        ["parameter", "gradient", "first_moment", "second_moment"],
        (1, 0.1, 0.9, 0.999, 1e-8),
    ),
}
ARRAYS = [(name, key) for name, (_, arrays, _) in UPDATES.items() for key in arrays]
WRITTEN = [(name, key) for name, key in ARRAYS if key != "gradient"]


def frozen(array):
    array.flags.writeable = False
    return array


def assert_refused(name, key, spoil):
    """The update names the array `key` in its error, and changes nothing."""
    update, names, constants = UPDATES[name]
    arrays = dict(zip(names, (np.square(a) for a in normal(0, *[(6,)] * len(names))), strict=True))
    arrays[key] = spoil(arrays[key])
    before = {name: np.array(array) for name, array in arrays.items()}
    # Of two lengths that differ, either may be called wrong.
    blamed = "|".join(arrays) if key == "parameter" else key
    with pytest.raises((ValueError, TypeError), match=rf"^({blamed}): expected"):
        update(*arrays.values(), *constants)
    for name, array in arrays.items():
        assert_same_bits(np.array(array), before[name])


@pytest.mark.parametrize(("name", "key"), ARRAYS)
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda a: a.astype(np.float64), id="float64"),
        pytest.param(lambda a: a[:-1], id="length"),
        pytest.param(lambda a: a.tolist(), id="list"),
        pytest.param(lambda a: np.stack([a, a], axis=1)[:, 0], id="strided"),
    ],
)
def test_what_is_not_a_plain_float32_array_is_refused(name, key, spoil):
    """A converted copy would be updated and lost."""
    assert_refused(name, key, spoil)


@pytest.mark.parametrize(("name", "key"), WRITTEN)
def test_a_read_only_array_is_not_written_to(name, key):
    assert_refused(name, key, frozen)


@pytest.mark.parametrize("name", UPDATES)
def test_the_gradient_is_only_read(name):
    update, names, constants = UPDATES[name]
    arrays = [np.square(array) for array in normal(0, *[(6, 4)] * len(names))]
    gradient = arrays[1].copy()
    update(arrays[0], frozen(arrays[1]), *arrays[2:], *constants)
    assert_same_bits(arrays[1], gradient)
