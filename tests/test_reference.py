"""The reference itself: worked examples for every rule, central differences for every gradient."""

import itertools

import numpy as np
import pytest

import reference
from reference_network import ReferenceNetwork

H = 1e-6


def central_differences(loss, x):
    """d loss / dx, one element at a time."""
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        kept = x[index]
        x[index] = kept + H
        above = loss()
        x[index] = kept - H
        below = loss()
        x[index] = kept
        gradient[index] = (above - below) / (2 * H)
    return gradient


def assert_gradient(loss, x, gradient):
    """Central differences are off by 2 u |loss| / H (u = 1e-16) and by the third derivative."""
    tolerance = 1e-8 * max(1, abs(loss()), np.abs(gradient).max())
    np.testing.assert_allclose(gradient, central_differences(loss, x), rtol=0, atol=tolerance)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def image(*rows):
    """One image with one channel."""
    return np.array(rows, dtype=np.float64)[None, :, :, None]


# (height, width), kernel, stride, padding. Even, non-square, with gaps, larger than the image.
CONVOLUTIONS = [
    ((4, 5), (3, 3), (1, 1), "same"),
    ((5, 4), (2, 4), (1, 1), "same"),
    ((5, 6), (3, 2), (2, 3), "same"),
    ((2, 3), (5, 7), (1, 2), "same"),
    ((5, 5), (3, 2), (2, 1), "valid"),
    ((6, 4), (1, 1), (3, 2), "valid"),
    ((4, 4), (3, 3), (1, 1), 1),
    ((3, 4), (2, 2), (2, 2), (2, 1)),
    ((4, 3), (3, 2), (3, 1), ((0, 2), (3, 1))),
]
POOLS = [
    ((4, 4), 2, None, "valid"),
    ((5, 7), 2, None, "valid"),
    ((5, 4), (3, 2), (1, 1), "same"),
    ((6, 5), (2, 3), (3, 2), "same"),
    ((4, 5), 3, 2, 1),
    ((5, 3), (3, 2), (2, 1), ((2, 0), (1, 1))),
]


# Worked examples: TensorFlow's rule and what a window holds


@pytest.mark.parametrize(
    ("size", "window", "stride", "expected"),
    [
        (5, 3, 1, (1, 1, 5)),
        (5, 2, 1, (0, 1, 5)),
        (5, 4, 1, (1, 2, 5)),
        (4, 3, 2, (0, 1, 2)),
        (5, 3, 2, (1, 1, 3)),
        (7, 1, 3, (0, 0, 3)),
        (2, 7, 3, (2, 3, 1)),
    ],
)
def test_same_padding_puts_the_odd_one_at_the_end(size, window, stride, expected):
    for axis in reference.axes(size, size, window, stride, "same"):
        assert (axis.before, axis.after, axis.output) == expected


def test_conv2d_by_hand():
    x = image([1, 2, 3], [4, 5, 6], [7, 8, 9])
    weight = np.array([[1, 10], [100, 1000]], dtype=np.float64)[:, :, None, None]
    assert reference.conv2d(x, weight, padding="valid")[0, :, :, 0].tolist() == [
        [5421, 6532],
        [8754, 9865],
    ]
    assert reference.conv2d(x, weight, np.array([0.5]), stride=2)[0, :, :, 0].tolist() == [
        [5421.5, 603.5],
        [87.5, 9.5],
    ]


def test_pools_by_hand():
    x = image([1, 7, 2], [7, 3, np.nan], [-5, -4, np.nan])
    y, winners = reference.max_pool2d(x, 2, 1)
    np.testing.assert_array_equal(y[0, :, :, 0], [[7, np.nan], [7, np.nan]])
    np.testing.assert_array_equal(winners[0, :, :, 0], [[1, 3], [0, 1]])
    # Padding never wins, though here it would be larger than every element.
    y, winners = reference.max_pool2d(image([-1, -2], [-np.inf, -np.inf]), 2, 2, ((1, 1), (1, 1)))
    np.testing.assert_array_equal(y[0, :, :, 0], [[-1, -2], [-np.inf, -np.inf]])
    np.testing.assert_array_equal(winners[0, :, :, 0], [[3, 2], [1, 0]])
    y = reference.avg_pool2d(image([1, 2, 3], [4, 5, 6], [7, 8, 9]), 2, 2, "same")
    np.testing.assert_array_equal(y[0, :, :, 0], [[3, 4.5], [7.5, 9]])


def test_losses_and_updates_by_hand():
    logits, targets = np.array([0, 1e4, -1e4, 1e4]), np.array([1, 1, 0, 0])
    assert reference.sigmoid_cross_entropy(logits, targets) == (np.log(2) + 1e4) / 4
    assert reference.sigmoid(logits).tolist() == [0.5, 1, 0, 1]
    assert reference.sigmoid_cross_entropy(logits, targets, [3, 0, 1, 0]) == np.log(2) * 3 / 4
    logits = np.log([[1, 2, 1], [3, 4, 1]])
    np.testing.assert_allclose(
        reference.softmax(logits), [[1 / 4, 1 / 2, 1 / 4], [3 / 8, 1 / 2, 1 / 8]], rtol=1e-12
    )
    targets, two = np.array([[0, 1, 0], [0, 0.5, 0.5]]), np.log(2)  # losses: log 2 and 2 log 2
    for weights, expected in ((None, 1.5 * two), ([3, 1], 1.25 * two)):
        loss = reference.softmax_cross_entropy(logits, targets, weights)
        np.testing.assert_allclose(loss, expected, rtol=1e-12)
    one, two = np.array([1.0]), np.array([2.0])
    assert reference.sgd_update(one, two, 0.25) == 0.5
    assert reference.momentum_update(one, two, np.array([4.0]), 0.25, 0.5) == (0, 4)
    # 1 shrinks to 0.75 at the rate 0.25 and decay 1.
    assert reference.sgd_update(one, two, 0.25, 1) == 0.25
    nesterov = reference.momentum_update(one, two, np.array([4.0]), 0.25, 0.5, True, 1)
    assert nesterov == (0.75 - 0.25 * (2 + 0.5 * 4), 4)
    lion = reference.lion_update(one, two, np.array([-4.0]), 0.25, 0.5, 0.75, 1)
    assert lion == (0.75 + 0.25, -2.5)
    assert reference.lion_update(one, two, np.array([-2.0]), 0.25, 0.5, 0.75)[0] == 1
    assert reference.average_update(one, two, 0.75) == 1.25
    # The first step of Adam is the learning rate, whatever the gradient.
    parameter, first, second = reference.adam_update(one, two, 0, 0, 1, 0.1, 0.9, 0.999, 0)
    np.testing.assert_allclose([parameter, first, second], [[0.9], [0.2], [0.004]], rtol=1e-12)


# Central differences


@pytest.mark.parametrize(("size", "kernel", "stride", "padding"), CONVOLUTIONS)
def test_conv2d_gradients(rng, size, kernel, stride, padding):
    x, weight, bias = rng.normal(size=(2, *size, 2)), rng.normal(size=(*kernel, 2, 3)), np.zeros(3)
    grad = rng.normal(size=reference.conv2d(x, weight, bias, stride, padding).shape)

    def loss():
        return np.sum(grad * reference.conv2d(x, weight, bias, stride, padding))

    dx, dweight, dbias = reference.conv2d_backward(grad, x, weight, stride, padding)
    assert_gradient(loss, x, dx)
    assert_gradient(loss, weight, dweight)
    assert_gradient(loss, bias, dbias)


@pytest.mark.parametrize(("size", "window", "stride", "padding"), POOLS)
def test_pool_gradients(rng, size, window, stride, padding):
    shape = (2, *size, 2)
    # Distinct whole numbers: no winner changes within H.
    x = rng.permutation(np.prod(shape)).reshape(shape) / 8.0
    y, winners = reference.max_pool2d(x, window, stride, padding)
    grad = rng.normal(size=y.shape)
    assert_gradient(
        lambda: np.sum(grad * reference.max_pool2d(x, window, stride, padding)[0]),
        x,
        reference.max_pool2d_backward(grad, winners, shape, window, stride, padding),
    )
    assert_gradient(
        lambda: np.sum(grad * reference.avg_pool2d(x, window, stride, padding)),
        x,
        reference.avg_pool2d_backward(grad, shape, window, stride, padding),
    )


def test_global_average_gradient(rng):
    x, grad = rng.normal(size=(2, 3, 4, 2)), rng.normal(size=(2, 2))
    assert_gradient(
        lambda: np.sum(grad * reference.global_avg_pool2d(x)),
        x,
        reference.global_avg_pool2d_backward(grad, x.shape),
    )


def test_dense_gradients(rng):
    x, weight, bias = rng.normal(size=(3, 5)), rng.normal(size=(5, 4)), rng.normal(size=4)
    grad = rng.normal(size=(3, 4))

    def loss():
        return np.sum(grad * reference.dense(x, weight, bias))

    dx, dweight, dbias = reference.dense_backward(grad, x, weight)
    assert_gradient(loss, x, dx)
    assert_gradient(loss, weight, dweight)
    assert_gradient(loss, bias, dbias)


def test_relu_gradient(rng):
    x = rng.choice([-1, 1], 40) * rng.uniform(0.1, 2, 40)
    grad = rng.normal(size=x.shape)
    assert_gradient(lambda: np.sum(grad * reference.relu(x)), x, reference.relu_backward(grad, x))
    assert reference.relu_backward(np.ones(1), np.zeros(1)) == 0


@pytest.mark.parametrize("weighted", [False, True])
def test_sigmoid_cross_entropy_gradient(rng, weighted):
    logits, targets = rng.normal(0, 3, (9, 1)), rng.random((9, 1))
    weights = rng.random(9) if weighted else None
    assert_gradient(
        lambda: 1.5 * reference.sigmoid_cross_entropy(logits, targets, weights),
        logits,
        reference.sigmoid_cross_entropy_backward(logits, targets, 1.5, weights),
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_softmax_cross_entropy_gradient(rng, weighted):
    logits, targets = rng.normal(0, 3, (6, 4)), rng.dirichlet(np.ones(4), 6)
    weights = rng.random(6) if weighted else None
    assert_gradient(
        lambda: 1.5 * reference.softmax_cross_entropy(logits, targets, weights),
        logits,
        reference.softmax_cross_entropy_backward(logits, targets, 1.5, weights),
    )


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("size", [(8, 9), (11, 10)])
def test_network_gradients(padding, size):
    conv_filters, fc_layers = ((3, 3), (2, 2)), (4, 1)
    network = ReferenceNetwork(conv_filters, fc_layers, padding)
    for seed in itertools.count():
        rng = np.random.default_rng(seed)
        parameters = network.random_parameters(rng, (*size, 2))
        x, y = rng.normal(size=(3, *size, 2)), np.array([0, 1, 1])
        # A step of H must not change a winner. Values in later layers move more than the weights.
        if network.distance_to_kink(parameters, x) > 100 * H:
            break
    loss, gradients = network.gradients(parameters, x, y)
    assert loss == network.loss(parameters, x, y)
    assert gradients.keys() == parameters.keys()
    for name, parameter in parameters.items():
        assert_gradient(lambda: network.loss(parameters, x, y), parameter, gradients[name])


# Identities that docs/backprop.md and the kernels rest on


@pytest.mark.parametrize(("size", "kernel", "stride", "padding"), CONVOLUTIONS)
def test_input_gradient_is_a_convolution(rng, size, kernel, stride, padding):
    """Of the gradient with stride - 1 zeros between its pixels, with the rotated filters."""
    x, weight = rng.normal(size=(2, *size, 2)), rng.normal(size=(*kernel, 2, 3))
    rows, columns = reference.axes(*size, kernel, stride, padding)
    grad = rng.normal(size=(2, rows.output, columns.output, 3))

    # Position p of the full convolution is input position p - before; the rest is padding.
    dilated = np.zeros((2, *(size[k] + kernel[k] + 9 for k in range(2)), 3))
    dilated[
        :,
        : rows.output * rows.stride : rows.stride,
        : columns.output * columns.stride : columns.stride,
    ] = grad
    rotated = weight[::-1, ::-1].swapaxes(2, 3)
    full = reference.conv2d(dilated, rotated, padding=((kernel[0] - 1, 0), (kernel[1] - 1, 0)))
    dx = full[:, rows.before :, columns.before :][:, : size[0], : size[1]]

    expected = reference.conv2d_backward(grad, x, weight, stride, padding)[0]
    np.testing.assert_allclose(dx, expected, rtol=0, atol=1e-12)


def test_pool_and_relu_commute(rng):
    """With equal values and gradients, windows without a positive element included."""
    x = rng.integers(-3, 3, (2, 6, 8, 5)).astype(np.float64)
    pooled, winners = reference.max_pool2d(x)
    other, other_winners = reference.max_pool2d(reference.relu(x))
    np.testing.assert_array_equal(reference.relu(pooled), other)

    grad = rng.normal(size=pooled.shape)
    pool_first = reference.max_pool2d_backward(
        reference.relu_backward(grad, pooled), winners, x.shape
    )
    relu_first = reference.relu_backward(
        reference.max_pool2d_backward(grad, other_winners, x.shape), x
    )
    np.testing.assert_array_equal(pool_first, relu_first)
    assert (pooled <= 0).any()
