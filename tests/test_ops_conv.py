"""Convolution against the reference, forward and backward."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from ferrocnn import ops
from ops_cases import assert_rounded, assert_same_bits, channels, geometries, normal, seeds

# (height, width), kernel, stride, padding, in channels, out channels
NAMED = {
    "first layer": ((12, 10), (3, 3), 1, "same", 3, 16),
    "second layer": ((8, 8), (3, 3), 1, "same", 16, 32),
    "one pixel": ((1, 1), (3, 3), 1, "same", 5, 7),
    "kernel larger than the image": ((2, 3), (7, 6), 1, "same", 2, 17),
    "gaps between windows": ((9, 8), (1, 2), 3, "valid", 4, 9),
    "padding beyond the kernel": ((3, 3), (1, 1), 1, 2, 3, 3),
    "stride that leaves a remainder": ((8, 9), (3, 3), (2, 3), "valid", 2, 33),
    "wide": ((2, 40), (5, 5), 1, "same", 1, 8),
}


def check_forward(shape, weight_shape, stride, padding, seed):
    x, weight, bias = normal(seed, shape, weight_shape, weight_shape[3:])
    magnitude = reference.conv2d(abs(x), abs(weight), abs(bias), stride, padding)
    terms = np.prod(weight_shape[:3])
    assert_rounded(
        ops.conv2d(x, weight, bias, stride, padding),
        reference.conv2d(x, weight, bias, stride, padding),
        magnitude,
        terms + 1,
    )
    assert_rounded(
        ops.conv2d(x, weight, stride=stride, padding=padding),
        reference.conv2d(x, weight, None, stride, padding),
        magnitude,
        terms,
    )


def check_backward(shape, weight_shape, stride, padding, seed):
    x, weight = normal(seed, shape, weight_shape)
    output = reference.conv2d(x, weight, None, stride, padding).shape
    (grad,) = normal(seed + 1, output)
    actual = ops.conv2d_backward(grad, x, weight, stride, padding)
    expected = reference.conv2d_backward(grad, x, weight, stride, padding)
    magnitudes = reference.conv2d_backward(abs(grad), abs(x), abs(weight), stride, padding)
    positions = np.prod(output[:3])
    terms = (weight_shape[0] * weight_shape[1] * weight_shape[3], positions, positions)
    for arguments in zip(actual, expected, magnitudes, terms, strict=True):
        assert_rounded(*arguments)


@settings(deadline=None, max_examples=150)
@given(geometries(), st.integers(1, 3), channels, channels, seeds)
def test_conv2d_matches_reference(geometry, batch, in_channels, out_channels, seed):
    size, kernel, stride, padding = geometry
    shape, weight_shape = (batch, *size, in_channels), (*kernel, in_channels, out_channels)
    check_forward(shape, weight_shape, stride, padding, seed)


@settings(deadline=None, max_examples=150)
@given(geometries(), st.integers(1, 3), channels, channels, seeds)
def test_conv2d_backward_matches_reference(geometry, batch, in_channels, out_channels, seed):
    size, kernel, stride, padding = geometry
    shape, weight_shape = (batch, *size, in_channels), (*kernel, in_channels, out_channels)
    check_backward(shape, weight_shape, stride, padding, seed)


@pytest.mark.parametrize("name", NAMED)
def test_named_geometries(name):
    size, kernel, stride, padding, in_channels, out_channels = NAMED[name]
    shape, weight_shape = (2, *size, in_channels), (*kernel, in_channels, out_channels)
    check_forward(shape, weight_shape, stride, padding, 0)
    check_backward(shape, weight_shape, stride, padding, 0)


@pytest.mark.parametrize("batch", [17, 40])
def test_weight_gradient_of_a_large_batch(batch):
    check_backward((batch, 5, 4, 3), (3, 3, 3, 8), 1, "same", 0)


@settings(deadline=None, max_examples=50)
@given(geometries(), st.sampled_from([1, 3, 4]), st.sampled_from([1, 8, 16]), seeds)
def test_uint8_has_the_bits_of_scaled_float32(geometry, in_channels, out_channels, seed):
    size, kernel, stride, padding = geometry
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (2, *size, in_channels), dtype=np.uint8)
    scaled = pixels.astype(np.float32) / np.float32(255)
    weight, bias = normal(seed, (*kernel, in_channels, out_channels), (out_channels,))
    y = ops.conv2d(pixels, weight, bias, stride, padding)
    assert_same_bits(y, ops.conv2d(scaled, weight, bias, stride, padding))
    (grad,) = normal(seed + 1, y.shape)
    assert_same_bits(
        ops.conv2d_backward(grad, pixels, weight, stride, padding),
        ops.conv2d_backward(grad, scaled, weight, stride, padding),
    )


def test_every_uint8_value_is_divided_exactly():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    y = ops.conv2d(pixels, np.ones((1, 1, 1, 1), dtype=np.float32))
    assert_same_bits(y, pixels.astype(np.float32) / np.float32(255))


def test_one_number_means_both_directions():
    x, weight = normal(0, (2, 7, 6, 2), (3, 3, 2, 4))
    expected = ops.conv2d(x, weight, stride=(2, 2), padding=((1, 1), (1, 1)))
    assert_same_bits(ops.conv2d(x, weight, stride=2, padding=1), expected)
    assert_same_bits(ops.conv2d(x, weight, stride=2, padding=(1, 1)), expected)


def test_an_image_has_the_same_bits_in_any_batch():
    x, weight, bias = normal(0, (9, 11, 13, 6), (3, 3, 6, 20), (20,))
    together = ops.conv2d(x, weight, bias)
    for k in range(len(x)):
        assert_same_bits(ops.conv2d(x[k : k + 1], weight, bias), together[k : k + 1])
