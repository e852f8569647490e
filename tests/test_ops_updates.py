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


decays = st.sampled_from([0.0, 1e-6, 0.01, 0.5])


@settings(deadline=None, max_examples=50)
@given(shapes, rates, decays, seeds)
def test_sgd_update_matches_reference(shape, rate, decay, seed):
    parameter, gradient = normal(seed, shape, shape)
    expected = reference.sgd_update(parameter, gradient, rate, decay)
    magnitude = (1 + rate * decay) * abs(parameter) + rate * abs(gradient)
    assert ops.sgd_update(parameter, gradient, rate, decay) is None
    # Rounded: the rates, the products, their sum, the difference.
    assert_rounded(parameter, expected, magnitude, 4)


@settings(deadline=None, max_examples=50)
@given(shapes, rates, st.sampled_from([0.0, 0.9, 0.99]), st.booleans(), decays, seeds)
def test_momentum_update_matches_reference(shape, rate, momentum, nesterov, decay, seed):
    parameter, gradient, velocity = normal(seed, shape, shape, shape)
    constants = (rate, momentum, nesterov, decay)
    expected = reference.momentum_update(parameter, gradient, velocity, *constants)
    magnitude = abs(gradient) + momentum * abs(velocity)
    step = abs(gradient) + momentum * magnitude if nesterov else magnitude
    old = (1 + rate * decay) * abs(parameter)
    assert ops.momentum_update(parameter, gradient, velocity, *constants) is None
    assert_rounded(velocity, expected[1], magnitude, 3)
    assert_rounded(parameter, expected[0], old + rate * step, 10)


@settings(deadline=None, max_examples=100)
@given(
    shapes,
    rates,
    st.sampled_from([(0.9, 0.999), (0.0, 0.9), (0.5, 0.99), (0.99, 0.9999)]),
    st.sampled_from([1, 2, 10, 1000, 1_000_000]),
    st.sampled_from([1e-8, 1e-3, 1.0]),
    decays,
    seeds,
)
def test_adam_update_matches_reference(shape, rate, betas, step, epsilon, decay, seed):
    beta1, beta2 = betas
    parameter, gradient, first, second = normal(seed, shape, shape, shape, shape)
    second = np.square(second)
    constants = (step, rate, beta1, beta2, epsilon, decay)
    expected = reference.adam_update(parameter, gradient, first, second, *constants)
    first_magnitude = beta1 * abs(first) + (1 - beta1) * abs(gradient)
    scale = np.sqrt(expected[2] / (1 - beta2**step)) + epsilon
    update = rate * first_magnitude / (1 - beta1**step) / scale
    old = (1 + rate * decay) * abs(parameter)
    assert ops.adam_update(parameter, gradient, first, second, *constants) is None
    # The decay rates and their complements are each rounded once: 1 - beta has no cancellation.
    assert_rounded(first, expected[1], first_magnitude, 3)
    assert_rounded(second, expected[2], expected[2], 4)
    assert_rounded(parameter, expected[0], old + update, 15)


@settings(deadline=None, max_examples=50)
@given(shapes, rates, st.sampled_from([(0.9, 0.99), (0.0, 0.5)]), decays, seeds)
def test_lion_update_matches_reference(shape, rate, betas, decay, seed):
    parameter, gradient, moment = normal(seed, shape, shape, shape)
    gradient[..., 0] = moment[..., 0] = 0
    mean = betas[0] * moment.astype(np.float64) + (1 - betas[0]) * gradient
    # So near to zero rounding decides on the sign.
    gradient[(mean != 0) & (abs(mean) < 1e-5)] = 1
    expected = reference.lion_update(parameter, gradient, moment, rate, *betas, decay)
    magnitude = betas[1] * abs(moment) + (1 - betas[1]) * abs(gradient)
    old = (1 + rate * decay) * abs(parameter)
    assert ops.lion_update(parameter, gradient, moment, rate, *betas, decay) is None
    assert_rounded(parameter, expected[0], old + rate, 4)
    assert_rounded(moment, expected[1], magnitude, 3)


@settings(deadline=None, max_examples=50)
@given(shapes, st.sampled_from([0.0, 0.1, 0.9, 0.999, 0.99999]), seeds)
def test_average_update_matches_reference(shape, decay, seed):
    average, parameter = normal(seed, shape, shape)
    expected = reference.average_update(average, parameter, decay)
    magnitude = abs(average) + (1 - decay) * (abs(average) + abs(parameter))
    assert ops.average_update(average, parameter, decay) is None
    assert_rounded(average, expected, magnitude, 4)


def test_decay_that_is_small_beside_one_is_not_lost():
    """`1 - learning_rate * weight_decay` is 1 in float32: as a factor it would do nothing."""
    parameter, gradient = np.full(8, 1, np.float32), np.full(8, -(2.0**-24), np.float32)
    gradient *= np.float32(1.25)  # by itself it raises the parameter, by 2**-23
    lone = parameter.copy()
    ops.sgd_update(lone, gradient, 1.0)
    assert (lone == 1 + 2.0**-23).all()
    ops.sgd_update(parameter, gradient, 1.0, 2.0**-25)
    assert (parameter == 1).all()


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
    "lion_update": (ops.lion_update, ["parameter", "gradient", "moment"], (0.1,)),
    "average_update": (ops.average_update, ["average", "parameter"], (0.9,)),
}
READ = {name: "parameter" if name == "average_update" else "gradient" for name in UPDATES}
ARRAYS = [(name, key) for name, (_, arrays, _) in UPDATES.items() for key in arrays]
WRITTEN = [(name, key) for name, key in ARRAYS if key != READ[name]]


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
    blamed = "|".join(arrays) if key == names[0] else key
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
def test_what_is_read_is_only_read(name):
    update, names, constants = UPDATES[name]
    arrays = [np.square(array) for array in normal(0, *[(6, 4)] * len(names))]
    gradient = arrays[1].copy()
    update(arrays[0], frozen(arrays[1]), *arrays[2:], *constants)
    assert_same_bits(arrays[1], gradient)


@pytest.mark.parametrize("name", [name for name in UPDATES if name != "average_update"])
@pytest.mark.parametrize("decay", [-0.1, np.nan, np.inf, "much"])
def test_a_weight_decay_below_zero_or_without_end_is_refused(name, decay):
    update, names, constants = UPDATES[name]
    arrays = [np.ones(3, np.float32) for _ in names]
    with pytest.raises(
        (ValueError, TypeError), match=r"^weight_decay: expected a (finite )?number"
    ):
        update(*arrays, *constants, weight_decay=decay)
    assert (arrays[0] == 1).all()
