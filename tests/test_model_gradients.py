"""The gradients of a whole `CNN` against the reference network and against its own loss."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ferrocnn import CNN, Conv, get_num_threads, set_num_threads
from ferrocnn._kernels import ACTIVATIONS
from model_cases import (
    ARCHITECTURES,
    CLEAR,
    OTHERS,
    assert_gradients,
    case,
    random_case,
    rounding_tolerance,
    sizes_of_gradients,
)
from ops_cases import assert_rounded, assert_same_bits, seeds


@pytest.mark.parametrize("name", [*ARCHITECTURES, *OTHERS])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_gradients_match_the_reference_network(name, dtype):
    model, network, images, labels = case(name, dtype)
    assert_gradients(model, network, images, labels)


# Networks whose results must have the same bits whatever runs beside.
BITWISE = [
    {"input_shape": (24, 20, 3), "conv_filters": [(16, 3), (32, 3)], "fc_layers": [64, 1]},
    {
        "input_shape": (24, 20, 3),
        "conv_filters": [(16, 3), Conv(32, 3, "avg"), Conv(9, 3, None, 2, batch_norm=False)],
        "fc_layers": [64, 3],
        "activation": "gelu",
        "batch_norm": True,
        "dropout": 0.3,
        "spatial_dropout": 0.1,
    },
    {  # the Winograd backward, behind a pool and without one
        "input_shape": (24, 20, 3),
        "conv_filters": [(32, 3), (33, 3), Conv(32, 3, None)],
        "fc_layers": [1],
        "batch_norm": True,
        "global_average_pool": True,
    },
]


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


@st.composite
def models(draw):
    """Networks of one or two blocks of any kind; not all fit, and those that do not are None."""
    activation = draw(st.sampled_from(ACTIVATIONS))
    block = st.builds(
        Conv,
        st.integers(1, 20) | st.just(33),
        st.integers(1, 5),
        st.sampled_from(["max", "avg", None]),
        st.integers(1, 3),
        st.booleans(),
    )
    try:
        return CNN(
            (draw(st.integers(2, 14)), draw(st.integers(2, 14)), draw(st.integers(1, 12))),
            draw(st.lists(block, min_size=1, max_size=2)),
            draw(st.sampled_from([[1], [7, 1], [5, 3], [2]])),
            draw(st.sampled_from(["same", "valid"])),
            activation=activation,
            global_average_pool=draw(st.booleans()),
            dropout=draw(st.sampled_from([0, 0.25])),
            spatial_dropout=draw(st.sampled_from([0, 0.25])),
        )
    except ValueError:
        return None


@settings(deadline=None, max_examples=150)
@given(models(), st.sampled_from([np.float32, np.uint8]), seeds)
def test_random_blocks_match_the_reference_network(model, dtype, seed):
    assume(model is not None)
    network, images, labels = random_case(model, seed, dtype)
    parameters = model.parameters()
    assume(network.distance_to_kink(parameters, images) > CLEAR)
    # The norm of a channel that hardly varies enlarges its rounding.
    moments = network.moments(parameters, images)
    assume(all(v.min() > 0.05 for name, v in moments.items() if name.endswith("variance")))
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


@pytest.mark.parametrize("architecture", BITWISE)
def test_any_number_of_threads_gives_the_same_bits(architecture):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (37, 24, 20, 3), dtype=np.uint8)
    labels = rng.integers(0, 2, 37)
    before = get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            set_num_threads(threads)
            model = CNN(**architecture, seed=0)
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


@pytest.mark.parametrize("flip_average", [False, True])
@pytest.mark.parametrize("architecture", BITWISE)
def test_an_image_has_the_same_logit_in_any_batch(architecture, flip_average):
    model = CNN(**architecture, seed=0)
    images = np.random.default_rng(0).integers(0, 256, (70, 24, 20, 3), dtype=np.uint8)
    model.backward(images, np.arange(70) % 2, 0.05)  # so that there are statistics
    model.flip_average = flip_average
    together = model.logits(images)
    for k in (0, 1, 33, 64, 69):
        assert_same_bits(model.logits(images[k : k + 1]), together[k : k + 1])
