"""The gradients of a whole `CNN` against the reference network and against its own loss."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ferrocnn import CNN, get_num_threads, set_num_threads
from ops_cases import UNIT_ROUNDOFF, assert_rounded, assert_same_bits, seeds
from reference_network import ReferenceNetwork, random_parameters

ARCHITECTURES = {
    "one block": {"input_shape": (8, 8, 3), "conv_filters": [(4, 3)], "fc_layers": [1]},
    "three blocks": {
        "input_shape": (16, 16, 3),
        "conv_filters": [(4, 3), (6, 3), (8, 3)],
        "fc_layers": [10, 6, 1],
    },
    "valid": {
        "input_shape": (14, 12, 3),
        "conv_filters": [(5, 3), (7, 3)],
        "fc_layers": [9, 1],
        "padding": "valid",
    },
    "odd sizes": {
        "input_shape": (13, 11, 3),
        "conv_filters": [(3, 3), (5, 3)],
        "fc_layers": [4, 1],
    },
    "one channel": {"input_shape": (10, 9, 1), "conv_filters": [(17, 3)], "fc_layers": [5, 1]},
    "5x5": {"input_shape": (12, 12, 3), "conv_filters": [(4, 5), (6, 5)], "fc_layers": [8, 1]},
    "even kernels, valid": {
        "input_shape": (12, 15, 2),
        "conv_filters": [(4, 2), (3, 4)],
        "fc_layers": [3, 3, 1],
        "padding": "valid",
    },
    "1x1": {"input_shape": (4, 4, 2), "conv_filters": [(8, 1)], "fc_layers": [6, 1]},
}
BATCH = 4
CLEAR = 2e-6  # distance from a kink that rounding does not bridge: values are of order 1


def rounding_tolerance(model):
    """How far a result may be from the exact one, relative to the size of what was summed.

    Each sum on the way adds its rounding (see `assert_rounded`), once forward and once backward,
    and each weight gradient sums over the positions of the batch. Sums of both signs may lose
    more than that of their result, but that is paid for by errors of different sums cancelling.
    """
    terms = 2 * sum(math.prod(p.shape[:-1]) for p in model.parameters().values() if p.ndim > 1)
    terms += BATCH * model.input_shape[0] * model.input_shape[1]
    return min(terms, 8 * math.sqrt(terms)) * UNIT_ROUNDOFF


def sizes_of_gradients(network, parameters, images, labels):
    """{name: mean over the batch of the largest element}: images of both labels partly cancel."""
    each = [
        network.gradients(parameters, images[k : k + 1], labels[k : k + 1])[1]
        for k in range(len(images))
    ]
    return {key: np.mean([np.abs(gradients[key]).max() for gradients in each]) for key in each[0]}


def random_case(model, seed, dtype):
    """(reference network, X, y), and random parameters, with biases, for the model."""
    rng = np.random.default_rng(seed)
    architecture = (model.conv_filters, model.fc_layers, model.padding)
    parameters = random_parameters(rng, model.input_shape, *architecture)
    model.set_parameters({name: p.astype(np.float32) for name, p in parameters.items()})
    images = rng.integers(0, 256, (BATCH, *model.input_shape), dtype=np.uint8)
    if dtype == np.float32:
        images = images.astype(np.float32) / 128 - 1
    return ReferenceNetwork(*architecture), images, np.arange(BATCH) % 2


def case(name, dtype=np.float32):
    """(model, its reference, X, y), where no winner and no sign hangs on the rounding.

    The last bit of a sum decides which of two nearly equal elements a window takes, and the whole
    gradient with it. Such parameters are passed over, and those whose ReLUs are all dead.
    """
    model = CNN(**ARCHITECTURES[name])
    for seed in itertools.count():
        network, images, labels = random_case(model, seed, dtype)
        if network.distance_to_kink(model.parameters(), images) < CLEAR:
            continue
        _, expected = network.gradients(model.parameters(), images, labels)
        if all(gradient.any() for gradient in expected.values()):
            return model, network, images, labels


def assert_gradients(model, network, images, labels):
    loss, gradients = model.gradients(images, labels)
    expected_loss, expected = network.gradients(model.parameters(), images, labels)
    sizes = sizes_of_gradients(network, model.parameters(), images, labels)
    tolerance = rounding_tolerance(model)
    assert loss == pytest.approx(expected_loss, rel=tolerance)
    assert list(gradients) == list(model.parameters())
    for key, gradient in gradients.items():
        assert gradient.dtype == np.float32
        assert gradient.shape == expected[key].shape
        np.testing.assert_allclose(
            gradient, expected[key], rtol=0, atol=tolerance * sizes[key], err_msg=key
        )


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_gradients_match_the_reference_network(name, dtype):
    model, network, images, labels = case(name, dtype)
    assert_gradients(model, network, images, labels)


blocks = st.tuples(st.integers(1, 20) | st.sampled_from([32, 40]), st.integers(1, 7))


@settings(deadline=None, max_examples=100)
@given(
    st.tuples(st.integers(2, 12), st.integers(2, 12), st.integers(1, 20)),
    st.lists(blocks, min_size=1, max_size=2),
    st.sampled_from([[1], [7, 1]]),
    st.sampled_from(["same", "valid"]),
    st.sampled_from([np.float32, np.uint8]),
    seeds,
)
def test_random_architectures_match_the_reference_network(
    input_shape, conv_filters, fc_layers, padding, dtype, seed
):
    height, width, _ = input_shape
    for _, size in conv_filters:
        shrink = size - 1 if padding == "valid" else 0
        height, width = (height - shrink) // 2, (width - shrink) // 2
    assume(height > 0 and width > 0)
    model = CNN(input_shape, conv_filters, fc_layers, padding)
    network, images, labels = random_case(model, seed, dtype)
    assume(network.distance_to_kink(model.parameters(), images) > CLEAR)
    assert_gradients(model, network, images, labels)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_logits_and_probabilities_match_the_reference_network(name):
    model, network, images, _ = case(name)
    expected = network.logits(model.parameters(), images)
    tolerance = rounding_tolerance(model) * np.abs(expected).max()
    np.testing.assert_allclose(model.logits(images), expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(
        model.forward(images), 1 / (1 + np.exp(-expected)), rtol=0, atol=tolerance
    )


@pytest.mark.parametrize("name", ["one block", "three blocks", "valid", "5x5"])
def test_gradients_match_central_differences_of_the_float64_loss(name):
    """At the model's own weights, for some elements of every array."""
    model, network, images, labels = case(name)
    parameters = {key: p.astype(np.float64) for key, p in model.parameters().items()}
    _, gradients = model.gradients(images, labels)
    tolerance = rounding_tolerance(model)
    sizes = sizes_of_gradients(network, parameters, images, labels)
    rng, h = np.random.default_rng(0), 1e-7
    for key, parameter in parameters.items():
        for index in rng.choice(parameter.size, min(parameter.size, 6), replace=False):
            kept = parameter.flat[index]
            parameter.flat[index] = kept + h
            above = network.loss(parameters, images, labels)
            parameter.flat[index] = kept - h
            below = network.loss(parameters, images, labels)
            parameter.flat[index] = kept
            # The difference is off by 1e-16 / h, besides the rounding of the gradient.
            assert gradients[key].flat[index] == pytest.approx(
                (above - below) / (2 * h), abs=tolerance * sizes[key] + 1e-8
            ), key


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_loss_changes_as_the_gradients_on_the_way_say(name):
    """No reference: the model's own loss at both ends of a path, and its gradients between.

    The loss changes by the integral of the gradient along the path, also across the kinks of
    ReLU and max pool, where central differences of a float32 loss would be of little use. The
    path goes down the gradient of one array, as far as should lower the loss by a twentieth.
    """
    model, _, images, labels = case(name)
    loss, gradients = model.gradients(images, labels)
    steps = 200
    for key, parameter in model.parameters().items():
        start, norm = parameter.copy(), np.linalg.norm(gradients[key])
        path = gradients[key] * np.float32(-0.05 * loss / norm**2)
        slopes = []
        for k in range(steps):
            parameter[...] = start + path * np.float32((k + 0.5) / steps)
            slopes.append(float(np.vdot(model.gradients(images, labels)[1][key], path)))
        parameter[...] = start + path
        change = model.gradients(images, labels)[0] - loss
        parameter[...] = start
        # The sum misplaces each kink's jump of the slope by up to half a step; a thousandth of
        # the expected change is for the rounding of the two losses.
        tolerance = np.abs(np.diff(slopes)).sum() / steps + 0.05 * loss / 1000
        assert change == pytest.approx(np.mean(slopes), rel=0, abs=tolerance), key


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("learning_rate", [0.001, 0.5])
def test_backward_is_one_step_down_the_gradient(name, learning_rate):
    model, _, images, labels = case(name)
    loss, gradients = model.gradients(images, labels)
    before = {key: p.copy() for key, p in model.parameters().items()}
    live = model.parameters()
    assert model.backward(images, labels, learning_rate) == loss
    for key, parameter in model.parameters().items():
        assert parameter is live[key]
        step = learning_rate * gradients[key].astype(np.float64)
        # Rounded: the rate, the product, the difference.
        assert_rounded(parameter, before[key] - step, np.abs(before[key]) + np.abs(step), 3)
        assert (parameter != before[key]).any(), f"{key} did not move"


def test_backward_steps_by_a_thousandth_unless_told_otherwise():
    model, _, images, labels = case("one block")
    other, _, _, _ = case("one block")
    model.backward(images, labels)
    other.backward(images, labels, learning_rate=0.001)
    for key, parameter in model.parameters().items():
        assert_same_bits(parameter, other.parameters()[key])


def test_gradients_change_nothing_and_are_the_callers_own():
    model, _, images, labels = case("three blocks")
    before = {key: p.copy() for key, p in model.parameters().items()}
    loss, gradients = model.gradients(images, labels)
    kept = {key: g.copy() for key, g in gradients.items()}
    assert model.gradients(images[:2], labels[:2])[0] != loss
    for key, parameter in model.parameters().items():
        assert_same_bits(parameter, before[key])
        assert_same_bits(gradients[key], kept[key])
    again = model.gradients(images, labels)
    assert again[0] == loss
    for key, gradient in gradients.items():
        assert_same_bits(again[1][key], gradient)


@pytest.mark.parametrize("name", ["one block", "three blocks", "one channel"])
def test_uint8_images_give_the_bits_of_scaled_float32(name):
    model, _, pixels, labels = case(name, np.uint8)
    scaled = pixels.astype(np.float32) / np.float32(255)
    loss, gradients = model.gradients(pixels, labels)
    scaled_loss, scaled_gradients = model.gradients(scaled, labels)
    assert loss == scaled_loss
    for key, gradient in gradients.items():
        assert_same_bits(gradient, scaled_gradients[key])
    assert_same_bits(model.logits(pixels), model.logits(scaled))


@pytest.mark.parametrize(
    "labels", [[0, 1, 0, 1], [[0], [1], [0], [1]], [False, True, False, True], [0.0, 1.0, 0.0, 1.0]]
)
def test_labels_may_have_any_type_and_either_shape(labels):
    model, _, images, usual = case("one block")
    loss, gradients = model.gradients(images, usual)
    other_loss, other_gradients = model.gradients(images, np.array(labels))
    assert other_loss == loss
    for key, gradient in gradients.items():
        assert_same_bits(other_gradients[key], gradient)


def test_any_number_of_threads_gives_the_same_bits():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (37, 24, 20, 3), dtype=np.uint8)
    labels = rng.integers(0, 2, 37)
    before = get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            set_num_threads(threads)
            model = CNN((24, 20, 3), [(16, 3), (32, 3)], [64, 1], seed=0)
            losses = [model.backward(images, labels, 0.05) for _ in range(3)]
            results.append((losses, model.gradients(images, labels), model.logits(images)))
    finally:
        set_num_threads(before)
    for losses, (loss, gradients), logits in results[1:]:
        assert losses == results[0][0]
        assert loss == results[0][1][0]
        for key, gradient in gradients.items():
            assert_same_bits(gradient, results[0][1][1][key])
        assert_same_bits(logits, results[0][2])


def test_an_image_has_the_same_logit_in_any_batch():
    model = CNN((20, 18, 3), [(8, 3), (16, 3)], [32, 1], seed=0)
    images = np.random.default_rng(0).integers(0, 256, (70, 20, 18, 3), dtype=np.uint8)
    together = model.logits(images)
    for k in (0, 1, 33, 64, 69):
        assert_same_bits(model.logits(images[k : k + 1]), together[k : k + 1])
