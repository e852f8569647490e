"""Models, the reference networks of the same architecture, and batches, for tests of models."""

import itertools
import math

import numpy as np
import pytest

from ferrocnn import CNN, Conv
from ops_cases import UNIT_ROUNDOFF
from reference_network import ReferenceNetwork

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
# What the blocks above lack.
OTHERS = {
    "softmax": {
        "input_shape": (10, 10, 3),
        "conv_filters": [(6, 3), (9, 3)],
        "fc_layers": [7, 4],
    },
    "batch norm": {
        "input_shape": (12, 14, 3),
        "conv_filters": [(6, 3), (9, 3)],
        "fc_layers": [7, 1],
        "batch_norm": True,
    },
    "batch norm in one block, softmax": {
        "input_shape": (12, 14, 3),
        "conv_filters": [(6, 3), Conv(17, 3, batch_norm=True)],
        "fc_layers": [7, 3],
    },
    **{
        f"{activation}{', batch norm' if batch_norm else ''}": {
            "input_shape": (10, 12, 3),
            "conv_filters": [(6, 3), (9, 3)],
            "fc_layers": [7, 1],
            "activation": activation,
            "batch_norm": batch_norm,
        }
        for activation in ("identity", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid")
        for batch_norm in (False, True)
    },
    "average pools": {
        "input_shape": (11, 13, 3),
        "conv_filters": [Conv(6, 3, "avg"), Conv(9, 2, "avg", batch_norm=True)],
        "fc_layers": [7, 1],
    },
    "no pools, strides": {
        "input_shape": (23, 21, 3),
        "conv_filters": [Conv(6, 3, None, stride=2), Conv(9, 3, None), Conv(5, 4, "max", stride=2)],
        "fc_layers": [7, 1],
        "padding": "valid",
    },
    "strides, batch norm, GELU": {
        "input_shape": (15, 13, 3),
        "conv_filters": [Conv(6, 5, None, stride=3), Conv(9, 3, "max", stride=2)],
        "fc_layers": [7, 5, 3],
        "activation": "gelu",
        "batch_norm": True,
    },
    "global average": {
        "input_shape": (13, 12, 3),
        "conv_filters": [(6, 3), (9, 3)],
        "fc_layers": [7, 1],
        "global_average_pool": True,
    },
    "dropout": {
        "input_shape": (12, 12, 3),
        "conv_filters": [(6, 3), (9, 3)],
        "fc_layers": [8, 6, 1],
        "dropout": 0.3,
    },
    "everything": {
        "input_shape": (17, 16, 3),
        "conv_filters": [(8, 3), Conv(16, 3, "avg"), Conv(9, 3, None, batch_norm=False)],
        "fc_layers": [8, 3],
        "activation": "silu",
        "batch_norm": True,
        "dropout": 0.2,
        "spatial_dropout": 0.2,
        "global_average_pool": True,
    },
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
    """{name: the largest element}: what is summed before it cancels."""
    magnitudes = network.magnitudes(parameters, images, labels)
    return {key: magnitude.max() for key, magnitude in magnitudes.items()}


def reference_of(model, key=0):
    """The reference of a model's architecture, whose dropout layers draw by `key`."""
    a = model.architecture
    places = {layer.name: place for place, layer in enumerate(model.layers)}
    return ReferenceNetwork(
        a.conv_filters,
        a.fc_layers,
        a.padding,
        a.activation,
        a.batch_norm,
        a.dropout,
        a.spatial_dropout,
        a.global_average_pool,
        {name: (key + (place << 32)) % 2**64 for name, place in places.items()},
    )


def random_case(model, seed, dtype):
    """(reference network, X, y), and random parameters, with biases, for the model."""
    rng = np.random.default_rng(seed)
    network = reference_of(model)
    parameters = network.random_parameters(rng, model.input_shape)
    model.set_parameters({name: p.astype(np.float32) for name, p in parameters.items()})
    images = rng.integers(0, 256, (BATCH, *model.input_shape), dtype=np.uint8)
    if dtype == np.float32:
        images = images.astype(np.float32) / 128 - 1
    return network, images, np.arange(BATCH) % model.classes


def case(name, dtype=np.float32):
    """(model, its reference, X, y), where no winner and no sign hangs on the rounding.

    The last bit of a sum decides which of two nearly equal elements a window takes, and the whole
    gradient with it. Such parameters are passed over, and those whose ReLUs are all dead.
    """
    model = CNN(**(ARCHITECTURES | OTHERS)[name])
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
