"""Batch norm in a model: its statistics, folded into the convolution at inference, and copied."""

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest

from ferrocnn import CNN, SGD, Conv, DivergedError
from model_cases import reference_of, rounding_tolerance

SHAPE = (13, 12, 3)
RANDOM = np.random.default_rng(0)
X = RANDOM.integers(0, 256, (20, *SHAPE), dtype=np.uint8)
Y = RANDOM.integers(0, 2, 20)


def network(activation: str = "relu", **arguments: object) -> CNN:
    """Blocks with a batch norm that is folded, that is not, and none."""
    blocks = [(8, 3), Conv(9, 3, "avg"), Conv(6, 2, "max", batch_norm=False), Conv(20, 3, None)]
    return CNN(SHAPE, blocks, [7, 1], activation=activation, batch_norm=True, seed=0, **arguments)


def with_statistics(model: CNN, seed: int = 0) -> CNN:
    """Random state, with gammas and betas of both signs."""
    rng = np.random.default_rng(seed)
    parameters = reference_of(model).random_parameters(rng, SHAPE)
    state = {name: value.astype(np.float32) for name, value in parameters.items()}
    for name, value in model.state().items():
        if name.endswith("running_mean"):
            state[name] = rng.normal(0, 0.5, value.shape).astype(np.float32)
        elif name.endswith("running_var"):
            state[name] = rng.uniform(0.1, 3, value.shape).astype(np.float32)
    model.set_state(state)
    return model


def bits(model: CNN) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in model.state().items()}


@pytest.mark.parametrize(
    "activation", ["identity", "relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"]
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_inference_is_the_formula_with_running_statistics(activation: str, dtype: type) -> None:
    model = with_statistics(network(activation))
    images = X if dtype == np.uint8 else X.astype(np.float32) / 128 - 1
    expected = reference_of(model).inference(model.state(), images)
    tolerance = 4 * rounding_tolerance(model) * max(1, np.abs(expected).max())
    np.testing.assert_allclose(model.logits(images), expected, rtol=0, atol=tolerance)


def test_all_signs_of_gamma_are_met() -> None:
    gammas = [
        value for name, value in with_statistics(network()).state().items() if "gamma" in name
    ]
    assert all((gamma < 0).any() and (gamma > 0).any() for gamma in gammas)


def test_inference_follows_every_change_of_the_state() -> None:
    """What is folded is worked out anew, whoever wrote to parameters or statistics."""
    model = with_statistics(network())
    model.logits(X)
    for name in ("norm1.gamma", "norm1.beta", "norm1.running_mean", "norm1.running_var"):
        before = model.logits(X)
        model.state()[name][...] *= np.float32(1.5)
        fresh = network()
        fresh.set_state(model.state())
        after = model.logits(X)
        np.testing.assert_array_equal(after, fresh.logits(X))
        assert (after != before).any()


def test_running_statistics_are_a_tenth_of_the_newest_batch() -> None:
    model = with_statistics(network())
    before = model.snapshot()
    moments = reference_of(model).moments(model.parameters(), X)
    model.backward(X, Y, 0.01)
    after = model.state()
    for name in ("norm1", "norm2", "norm4"):
        pixels = {"norm1": 6 * 6, "norm2": 3 * 3, "norm4": 1}[name]
        count = len(X) * pixels
        unbiased = moments[f"{name}.variance"] * count / (count - 1)
        newest = {"running_mean": moments[f"{name}.mean"], "running_var": unbiased}
        for kind, value in newest.items():
            expected = 0.9 * before[f"{name}.{kind}"].astype(np.float64) + 0.1 * value
            np.testing.assert_allclose(after[f"{name}.{kind}"], expected, rtol=1e-4, atol=1e-5)


def test_only_a_step_of_training_counts() -> None:
    model = with_statistics(network())
    statistics = {name: v for name, v in model.snapshot().items() if "running" in name}
    model.logits(X)
    model.gradients(X, Y)
    for name, value in statistics.items():
        np.testing.assert_array_equal(model.state()[name], value)
    model.backward(X, Y)
    assert all((model.state()[name] != value).any() for name, value in statistics.items())


@pytest.mark.filterwarnings("ignore:.*float pixels:UserWarning", "ignore:overflow")
def test_a_step_that_diverges_changes_neither_weights_nor_statistics() -> None:
    model = with_statistics(network())
    model.parameters()["dense1.weight"][...] = 3e38
    before = bits(model)
    with pytest.raises(DivergedError):
        model.backward(X, Y)
    assert bits(model) == before


def test_an_optimiser_that_fails_leaves_the_statistics() -> None:
    class Failing(SGD):
        def step(self, parameters: object, gradients: object) -> None:
            raise ValueError("no")

    model = with_statistics(network())
    before = bits(model)
    with pytest.raises(ValueError, match="no"):
        model.train_step(X, np.float32(Y.reshape(-1, 1)), Failing(0.1))
    assert bits(model) == before


def test_a_batch_of_one_pixel_keeps_the_variance_finite() -> None:
    """n - 1 is 0 there."""
    model = CNN((2, 2, 1), [(3, 1)], [1], batch_norm=True, seed=0)
    model.backward(np.ones((1, 2, 2, 1), np.float32), [1])
    np.testing.assert_allclose(model.state()["norm1.running_var"], 0.9, rtol=1e-6)


def test_inference_with_statistics_has_the_same_bits_after_training_went_on_and_back() -> None:
    model = with_statistics(network("gelu"))
    expected, state = model.logits(X), model.snapshot()
    model.backward(X[:7], Y[:7], 0.1)
    assert (model.logits(X) != expected).any()
    model.set_state(state)
    np.testing.assert_array_equal(model.logits(X), expected)


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))]
)
def test_copies_have_statistics_of_their_own(duplicate: Callable[[CNN], CNN]) -> None:
    model = with_statistics(network())
    model.flip_average = True
    other = duplicate(model)
    assert other.flip_average
    assert bits(other) == bits(model)
    expected = model.logits(X)
    np.testing.assert_array_equal(other.logits(X), expected)
    other.backward(X, Y, 0.1)
    np.testing.assert_array_equal(model.logits(X), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm1.running_var": -np.ones(8, np.float32)}, r"norm1\.running_var: expected values of"),
        ({"norm1.running_mean": np.full(8, np.nan, "f")}, r"norm1\.running_mean: expected finite"),
        ({"norm1.gamma": np.ones(9, np.float32)}, r"norm1\.gamma: expected \(8,\) float32, got"),
    ],
)
def test_a_state_that_makes_no_sense_changes_nothing(change: dict, message: str) -> None:
    model = with_statistics(network())
    before = bits(model)
    with pytest.raises(ValueError, match=f"^{message}"):
        model.set_state(model.state() | change)
    with pytest.raises(ValueError, match=r"^values: expected a mapping with the keys"):
        model.set_state(model.parameters())
    with pytest.raises(ValueError, match=r"^values: expected a mapping with the keys"):
        model.set_parameters(model.state())
    assert bits(model) == before


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_flip_average_is_the_mean_of_an_image_and_its_mirror_image(dtype: type) -> None:
    model = with_statistics(network())
    images = np.concatenate([X] * 4).astype(dtype) / (1 if dtype == np.uint8 else np.float32(255))
    images = images.astype(dtype)
    plain, mirrored = model.logits(images), model.logits(images[:, :, ::-1])
    assert (plain != mirrored).any()
    model.flip_average = True
    expected = (plain + mirrored) * np.float32(0.5)
    np.testing.assert_array_equal(model.logits(images), expected)
    np.testing.assert_array_equal(model.logits(images[:, :, ::-1]), expected)
    probabilities = 1 / (1 + np.exp(-expected.astype(np.float64)))
    np.testing.assert_allclose(model.predict_proba(images), probabilities, rtol=1e-5)


def test_flip_average_plays_no_part_in_training() -> None:
    plain, flipped = with_statistics(network()), with_statistics(network())
    flipped.flip_average = True
    assert plain.backward(X, Y, 0.1) == flipped.backward(X, Y, 0.1)
    assert bits(plain) == bits(flipped)
