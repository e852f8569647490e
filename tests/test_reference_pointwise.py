"""The reference of activations, dropout and batch norm: by hand, and by central differences."""

import itertools
import math

import numpy as np
import pytest

import reference_pointwise as reference
from reference_network import Block, ReferenceNetwork
from test_reference import H, assert_gradient

KINDS = ["identity", "relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_activations_by_hand():
    expected = {  # of -2, 0 and 2
        "identity": [-2, 0, 2],
        "relu": [0, 0, 2],
        "leaky_relu": [-0.02, 0, 2],
        "elu": [math.exp(-2) - 1, 0, 2],
        # P(N <= 2) = 0.97724986805182..., as tables of the normal distribution have it.
        "gelu": [-2 * 0.02275013194818, 0, 2 * 0.97724986805182],
        "silu": [-2 / (1 + math.exp(2)), 0, 2 / (1 + math.exp(-2))],
        "tanh": [-math.sinh(2) / math.cosh(2), 0, math.sinh(2) / math.cosh(2)],
        "sigmoid": [1 / (1 + math.exp(2)), 0.5, 1 / (1 + math.exp(-2))],
    }
    for kind in KINDS:
        y = reference.activation([-2.0, 0.0, 2.0], kind)
        np.testing.assert_allclose(y, expected[kind], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_slopes(rng, kind):
    x = np.concatenate([rng.uniform(0.01, 6, 30), -rng.uniform(0.01, 6, 30)])
    grad = rng.normal(size=60)
    slope = grad * reference.slope(x, kind)
    assert_gradient(lambda: np.sum(grad * reference.activation(x, kind)), x, slope)


@pytest.mark.parametrize("shape", [(7, 3), (2, 4, 5, 2)])
def test_batch_norm_gradients(rng, shape):
    x, gamma, beta = rng.normal(size=shape), rng.normal(size=shape[-1]), rng.normal(size=shape[-1])
    grad = rng.normal(size=shape)

    def loss():
        return np.sum(grad * reference.batch_norm(x, gamma, beta, 1e-3)[0])

    dx, dgamma, dbeta = reference.batch_norm_backward(grad, x, gamma, 1e-3)
    assert_gradient(loss, x, dx)
    assert_gradient(loss, gamma, dgamma)
    assert_gradient(loss, beta, dbeta)


def test_batch_norm_by_hand():
    x = np.array([[1.0, 10], [3, 10], [8, 10]])
    y, mean, variance = reference.batch_norm(x, [2, 3], [0.5, -1], epsilon=1)
    assert mean.tolist() == [4, 10]
    np.testing.assert_allclose(variance, [(9 + 1 + 16) / 3, 0], rtol=1e-15)
    deviation = math.sqrt(26 / 3 + 1)
    np.testing.assert_allclose(y[:, 0], [0.5 + 2 * d / deviation for d in (-3, -1, 4)], rtol=1e-15)
    assert y[:, 1].tolist() == [-1, -1, -1]
    given = reference.batch_norm(x, [2, 3], [0.5, -1], 1, moments=([0, 9], [3, 0]))[0]
    assert given[0].tolist() == [1.5, 2]


def test_dropout_factors_are_zero_or_the_inverse_of_what_is_kept():
    factor = reference.dropout_factor((4, 5, 6, 7), 0.25, 3)
    assert set(np.unique(factor)) == {0, 4 / 3}
    whole = reference.dropout_factor((4, 5, 6, 7), 0.25, 3, spatial=True)
    assert (whole == whole[:, :1, :1]).all()
    assert set(np.unique(whole)) == {0, 4 / 3}


@pytest.mark.parametrize(
    "arguments",
    [
        {"batch_norm": True, "activation": "tanh"},
        {"batch_norm": True, "activation": "relu", "fc_layers": (4, 3)},
        {"activation": "gelu", "global_average_pool": True},
        {"spatial_dropout": 0.3, "dropout": 0.4, "activation": "elu"},
        {
            "conv_filters": (
                Block(3, 3, "avg"),
                Block(2, 2, None, 2, batch_norm=True),
                Block(3, 2, "max", 2),
            ),
            "activation": "silu",
        },
    ],
    ids=str,
)
def test_network_gradients(arguments):
    defaults = {"conv_filters": ((3, 3), (2, 2)), "fc_layers": (4, 1)}
    names = ("dropout1", "dropout2", "dense1.dropout", "dense2.dropout")
    keys = dict(zip(names, itertools.count(5), strict=False))
    network = ReferenceNetwork(**(defaults | arguments), keys=keys)
    y = np.array([0, 1, 1, 0]) if network.fc_layers[-1] == 1 else np.array([0, 2, 1, 2])
    for seed in itertools.count():
        rng = np.random.default_rng(seed)
        parameters = network.random_parameters(rng, (11, 12, 2))
        x = rng.normal(size=(4, 11, 12, 2))
        if network.distance_to_kink(parameters, x) > 100 * H:
            break
    loss, gradients = network.gradients(parameters, x, y)
    assert loss == network.loss(parameters, x, y)
    assert gradients.keys() == parameters.keys()
    for name, parameter in parameters.items():
        assert_gradient(lambda: network.loss(parameters, x, y), parameter, gradients[name])
