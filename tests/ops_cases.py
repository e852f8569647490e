"""Shared by the tests of `ferrocnn.ops`: random geometries, an error bound, a call of each op."""

import math

import numpy as np
from hypothesis import strategies as st

import reference
from ferrocnn import ops

UNIT_ROUNDOFF = 2.0**-24  # of float32: half an eps
SMALLEST = 2.0**-149

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 9)
strides = st.integers(1, 3)
channels = st.integers(1, 20) | st.sampled_from([33, 64, 100])


def assert_rounded(actual, expected, magnitude, terms):
    """`actual` (float32) is `expected` (float64) but for the rounding of sums of `terms` products.

    `magnitude` is the same sum over absolute values. In whatever order, fused or not, such a sum
    is off by at most `terms * u * magnitude`, u being the unit roundoff. For more than 64 terms
    that would hide a missing one, and errors of random data add up as a random walk does: beyond
    `8 * sqrt(terms) * u * magnitude` with a probability under `2 * terms * exp(-32)` (Higham and
    Mary, "A New Approach to Probabilistic Rounding Error Analysis", 2019).
    """
    assert actual.dtype == np.float32
    assert actual.shape == expected.shape
    assert actual.flags.c_contiguous
    factor = min(terms, 8 * math.sqrt(terms)) * UNIT_ROUNDOFF
    bound = factor / (1 - factor) * magnitude + terms * SMALLEST
    error = np.abs(actual - expected)
    worst = np.unravel_index(np.argmax(error - bound), error.shape)
    assert np.all(error <= bound), (
        f"at {worst}: got {actual[worst]}, expected {expected[worst]}, "
        f"error {error[worst]}, bound {np.broadcast_to(bound, error.shape)[worst]}"
    )


def assert_same_bits(actual, expected):
    """Of arrays, floats, or tuples of them. A NaN equals a NaN of any payload."""
    if isinstance(expected, tuple):
        assert isinstance(actual, tuple)
        for one, other in zip(actual, expected, strict=True):
            assert_same_bits(one, other)
        return
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(np.signbit(actual), np.signbit(expected))


def normal(seed, *shapes):
    """A float32 array of each shape."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


@st.composite
def geometries(draw, *, pooling=False):
    """(height, width), window, stride, padding. A pooling window never lies in padding alone."""
    height, width, stride = draw(sizes), draw(sizes), (draw(strides), draw(strides))
    kind = draw(st.sampled_from(["same", "valid", "number", "pair", "sides"]))
    if kind in ("same", "valid"):
        largest = (7, 7) if kind == "same" else (min(height, 7), min(width, 7))
        window = tuple(draw(st.integers(1, limit)) for limit in largest)
        return (height, width), window, stride, kind
    if pooling:
        window = (draw(st.integers(1, min(height, 7))), draw(st.integers(1, min(width, 7))))
        most = (window[0] - 1, window[1] - 1)
    else:
        most = (3, 3)
    if kind == "number":
        padding = draw(st.integers(0, min(most)))
    elif kind == "pair":
        padding = tuple(draw(st.integers(0, limit)) for limit in most)
    else:
        padding = tuple((draw(st.integers(0, m)), draw(st.integers(0, m))) for m in most)
    if not pooling:
        sides = [reference.pair(side) for side in reference.pair(padding)]
        padded = (height + sum(sides[0]), width + sum(sides[1]))
        window = tuple(draw(st.integers(1, min(size, 7))) for size in padded)
    return (height, width), window, stride, padding


def example_calls(batch, size, c):
    """{name: (op, its arrays by name, its other arguments)}: one call of each op without effects.

    The images are `size` by `size + 1` with `c` channels.
    """
    height, width = size, size + 1
    image, pooled = (batch, height, width, c), (batch, height // 2, width // 2, c)
    overlapping = {"window": 3, "stride": 2, "padding": "same"}
    same = {"window": (3, 2), "stride": (1, 2), "padding": 1}
    x, grad = normal(1, image, (batch, height, width, c + 3))
    weight, bias = normal(2, (3, 3, c, c + 3), (c + 3,))
    features, hidden, dense_weight, dense_bias = normal(
        3, (batch, height * c), (batch, c + 5), (height * c, c + 5), (c + 5,)
    )
    pooled_grad, average_grad, global_grad = normal(
        4, pooled, reference.avg_pool2d(x, **same).shape, (batch, c)
    )
    overlapping_grad = normal(5, reference.max_pool2d(x, **overlapping)[0].shape)[0]
    logits, targets = normal(6, (batch * size, 1))[0], np.arange(batch * size)[:, None] % 2
    targets = targets.astype(np.float32)
    weights = np.abs(logits[::-1, 0]).copy()
    gamma, beta = normal(7, (c,), (c,))
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    moments = {"mean": mean, "variance": variance}
    draw = {"rate": 0.3, "key": 11}
    distributions = reference.softmax(hidden[:, ::-1]).astype(np.float32)
    return {
        "conv2d": (ops.conv2d, {"x": x, "weight": weight, "bias": bias}, {}),
        "conv2d_backward": (ops.conv2d_backward, {"grad": grad, "x": x, "weight": weight}, {}),
        "max_pool2d": (ops.max_pool2d, {"x": x}, {}),
        "max_pool2d_backward": (
            ops.max_pool2d_backward,
            {"grad": pooled_grad, "winners": ops.max_pool2d(x)[1]},
            {"input_shape": image},
        ),
        "overlapping max_pool2d_backward": (
            ops.max_pool2d_backward,
            {"grad": overlapping_grad, "winners": ops.max_pool2d(x, **overlapping)[1]},
            {"input_shape": image, **overlapping},
        ),
        "avg_pool2d": (ops.avg_pool2d, {"x": x}, same),
        "avg_pool2d_backward": (
            ops.avg_pool2d_backward,
            {"grad": average_grad},
            {"input_shape": image, **same},
        ),
        "global_avg_pool2d": (ops.global_avg_pool2d, {"x": x}, {}),
        "global_avg_pool2d_backward": (
            ops.global_avg_pool2d_backward,
            {"grad": global_grad},
            {"input_shape": image},
        ),
        "dense": (ops.dense, {"x": features, "weight": dense_weight, "bias": dense_bias}, {}),
        "dense_backward": (
            ops.dense_backward,
            {"grad": hidden, "x": features, "weight": dense_weight},
            {},
        ),
        "relu": (ops.relu, {"x": x}, {}),
        "relu_backward": (ops.relu_backward, {"grad": x[::-1].copy(), "x": x}, {}),
        "sigmoid": (ops.sigmoid, {"x": logits}, {}),
        **{
            kind: (ops.activation, {"x": x}, {"kind": kind})
            for kind in ("leaky_relu", "elu", "gelu", "silu", "tanh")
        },
        **{
            f"{kind} backward": (
                ops.activation_backward,
                {"grad": x[::-1].copy(), "x": x},
                {"kind": kind},
            )
            for kind in ("leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid")
        },
        "dropout": (ops.dropout, {"x": x}, draw),
        "spatial dropout": (ops.dropout, {"x": x}, draw | {"spatial": True}),
        "dropout_backward": (ops.dropout_backward, {"grad": x}, draw),
        "batch_norm": (ops.batch_norm, {"x": x, "gamma": gamma, "beta": beta}, {}),
        "batch_norm_inference": (
            ops.batch_norm_inference,
            {"x": x, "gamma": gamma, "beta": beta, **moments},
            {},
        ),
        "batch_norm_backward": (
            ops.batch_norm_backward,
            {"grad": x[::-1].copy(), "x": x, "gamma": gamma, **moments},
            {},
        ),
        "sigmoid_cross_entropy": (
            ops.sigmoid_cross_entropy,
            {"logits": logits, "targets": targets, "weights": weights},
            {},
        ),
        "sigmoid_cross_entropy_backward": (
            ops.sigmoid_cross_entropy_backward,
            {"logits": logits, "targets": targets, "weights": weights},
            {"grad": 0.5},
        ),
        "softmax": (ops.softmax, {"x": hidden}, {}),
        "softmax_cross_entropy": (
            ops.softmax_cross_entropy,
            {"logits": hidden, "targets": distributions, "weights": weights[:batch]},
            {},
        ),
        "softmax_cross_entropy_backward": (
            ops.softmax_cross_entropy_backward,
            {"logits": hidden, "targets": distributions, "weights": weights[:batch]},
            {"grad": 0.5},
        ),
    }
