"""Calls of `ferrocnn.ops` that make no sense: an error that names the argument."""

import numpy as np
import pytest

from ferrocnn import ops
from ops_cases import example_calls

CALLS = example_calls(batch=2, size=5, c=3)


def refused(name, argument, changes):
    """The call `name` of CALLS with some arguments replaced names `argument` in its error."""
    op, arrays, options = CALLS[name]
    with pytest.raises((ValueError, TypeError), match=rf"^({argument}): .*(expected|too large)"):
        op(**(arrays | options | changes))


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype=dtype)


FLOAT_ARRAYS = [
    (name, key)
    for name, (_, arrays, _) in CALLS.items()
    for key, array in arrays.items()
    if array.dtype == np.float32
]


ELEMENTWISE = ["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"]
DROPOUT = ["dropout", "spatial dropout", "dropout_backward"]
# Ops of one array, with no shape to fit.
ALONE = ["max_pool2d", "avg_pool2d", "global_avg_pool2d", "softmax", *ELEMENTWISE, *DROPOUT]
# Arrays that may have any number of axes.
ANY_RANK = [(name, "x") for name in (*ELEMENTWISE, *DROPOUT, "batch_norm", "batch_norm_inference")]
ANY_RANK.append(("dropout_backward", "grad"))


@pytest.mark.parametrize(("name", "key"), FLOAT_ARRAYS)
@pytest.mark.parametrize("dtype", [np.complex64, np.int64, bool, object, "U3"])
def test_a_wrong_dtype(name, key, dtype):
    refused(name, key, {key: CALLS[name][1][key].astype(dtype)})


@pytest.mark.parametrize(("name", "key"), FLOAT_ARRAYS)
def test_an_empty_array(name, key):
    refused(name, f"{key}|x|logits|grad|input_shape", {key: CALLS[name][1][key][:0]})


@pytest.mark.parametrize(("name", "key"), [n for n in FLOAT_ARRAYS if n not in ANY_RANK])
def test_a_missing_axis(name, key):
    refused(name, f"{key}|grad|targets", {key: CALLS[name][1][key][0]})


@pytest.mark.parametrize(("name", "key"), [n for n in FLOAT_ARRAYS if n[0] not in ALONE])
def test_a_shape_that_does_not_fit_the_others(name, key):
    refused(
        name, f"{key}|grad|x|weight|bias|gamma|targets|winners", {key: CALLS[name][1][key][..., 1:]}
    )


@pytest.mark.parametrize(
    ("name", "changes", "argument"),
    [
        ("conv2d", {"weight": zeros(3, 3, 4, 5)}, "weight"),
        ("conv2d", {"bias": zeros(5)}, "bias"),
        ("conv2d_backward", {"grad": zeros(2, 4, 6, 6)}, "grad"),
        ("dense", {"bias": zeros(3)}, "bias"),
        ("max_pool2d_backward", {"grad": zeros(2, 3, 3, 3)}, "grad|winners"),
        ("max_pool2d_backward", {"input_shape": (2, 7, 6, 3)}, "grad|winners|input_shape"),
        ("max_pool2d_backward", {"input_shape": (5, 6, 3)}, "input_shape"),
        ("max_pool2d_backward", {"input_shape": (2, 5, 6, 0)}, "input_shape"),
        ("max_pool2d_backward", {"input_shape": (2, 5, 6, -3)}, "input_shape"),
        ("max_pool2d_backward", {"input_shape": 2}, "input_shape"),
        ("max_pool2d_backward", {"winners": zeros(2, 2, 3, 3)}, "winners"),
        ("max_pool2d_backward", {"winners": zeros(2, 2, 3, 3, dtype=np.uint32)}, "winners"),
        ("max_pool2d_backward", {"winners": np.full((2, 2, 3, 3), 4, np.uint8)}, "winners"),
        ("avg_pool2d_backward", {"input_shape": (2, 9, 6, 3)}, "grad|input_shape"),
        ("global_avg_pool2d_backward", {"input_shape": (3, 5, 6, 3)}, "input_shape"),
        ("relu_backward", {"grad": zeros(2, 5, 6, 4)}, "grad"),
        ("sigmoid_cross_entropy", {"targets": zeros(10)}, "targets"),
        ("sigmoid_cross_entropy", {"targets": zeros(2, 5)}, "targets"),
        ("sigmoid_cross_entropy", {"weights": zeros(10, 1)}, "weights"),
        ("softmax", {"x": zeros(2, 3, 4)}, "x"),
        ("softmax_cross_entropy", {"targets": zeros(8, 2)}, "targets"),
        ("softmax_cross_entropy", {"weights": zeros(8)}, "weights"),
    ],
)
def test_arrays_that_do_not_fit(name, changes, argument):
    refused(name, argument, changes)


LOSSES = [
    *("sigmoid_cross_entropy", "sigmoid_cross_entropy_backward"),
    *("softmax_cross_entropy", "softmax_cross_entropy_backward"),
]


@pytest.mark.parametrize("name", LOSSES[2:])
def test_softmax_of_a_single_logit(name):
    refused(name, "logits", {"logits": zeros(9, 1), "targets": np.ones((9, 1), np.float32)})


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("wrong", [-0.1, 1.1, np.nan, np.inf])
def test_targets_outside_0_to_1(name, wrong):
    targets = CALLS[name][1]["targets"].copy()
    targets[1, 0] = wrong
    refused(name, "targets", {"targets": targets})


@pytest.mark.parametrize("name", LOSSES[2:])
def test_target_rows_with_another_sum_than_1(name):
    targets = CALLS[name][1]["targets"].copy()
    targets[1] *= 0.999
    refused(name, "targets", {"targets": targets})


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("wrong", [-1e-3, np.nan, np.inf])
def test_weights_that_make_no_sense(name, wrong):
    weights = CALLS[name][1]["weights"].copy()
    weights[1] = wrong
    refused(name, "weights", {"weights": weights})
    refused(name, "weights", {"weights": np.zeros_like(weights)})


@pytest.mark.parametrize("name", LOSSES[1::2])
def test_a_gradient_scale_that_is_no_number(name):
    refused(name, "grad", {"grad": "1"})


def test_a_winner_in_the_padding():
    winners = zeros(1, 2, 2, 1, dtype=np.uint8)
    with pytest.raises(ValueError, match=r"^winners: expected"):
        ops.max_pool2d_backward(zeros(1, 2, 2, 1), winners, (1, 2, 2, 1), 2, 2, 1)


WINDOWED = ["conv2d", "conv2d_backward", "max_pool2d", "avg_pool2d"]
BACKWARD = ["max_pool2d_backward", "avg_pool2d_backward"]


@pytest.mark.parametrize("name", WINDOWED + BACKWARD)
@pytest.mark.parametrize(
    "stride", [0, -1, 1.5, "2", (1, 0), (2,), (1, 1, 1), (1, -2), [], 2**40, 2**80]
)
def test_a_stride_that_makes_no_sense(name, stride):
    refused(name, "stride", {"stride": stride})


@pytest.mark.parametrize("name", [*WINDOWED[2:], *BACKWARD])
@pytest.mark.parametrize("window", [0, -1, 1.5, "2", (1, 0), (2,), (1, 1, 1), None, 2**40, 2**80])
def test_a_window_that_makes_no_sense(name, window):
    refused(name, "window", {"window": window})


@pytest.mark.parametrize("name", WINDOWED + BACKWARD)
@pytest.mark.parametrize(
    "padding",
    [
        *("full", "SAME", "", None, -1, 1.5, (1,), (1, 2, 3), (1, -1), ((1, 2), (3,))),
        *(((1, 2), (3, 4, 5)), ((1, -2), (0, 0)), ("1", "1"), 2**40, 2**80),
    ],
)
def test_a_padding_that_makes_no_sense(name, padding):
    refused(name, "padding", {"padding": padding})


@pytest.mark.parametrize("size", [(6, 3), (3, 7)])
def test_a_window_larger_than_the_padded_image(size):
    x, weight = zeros(1, 5, 6, 2), zeros(*size, 2, 2)
    with pytest.raises(ValueError, match=r"^(weight|x|height|width): expected"):
        ops.conv2d(x, weight, padding="valid")
    with pytest.raises(ValueError, match=r"^(weight|x|height|width): expected"):
        ops.conv2d(zeros(1, 3, 4, 2), weight, padding=((1, 1), (1, 1)))
    with pytest.raises(ValueError, match=r"^(window|x|height|width): expected"):
        ops.max_pool2d(x, size)
    with pytest.raises(ValueError, match=r"^(window|x|height|width): expected"):
        ops.avg_pool2d(x, size)


@pytest.mark.parametrize("padding", [2, (0, 2), ((0, 0), (0, 3))])
def test_a_pooling_window_in_the_padding_alone(padding):
    for op in (ops.max_pool2d, ops.avg_pool2d):
        with pytest.raises(ValueError, match=r"^padding: expected"):
            op(zeros(1, 5, 6, 2), 2, 1, padding)


@pytest.mark.parametrize("step", [0, -1, 1.5, None])
def test_adam_counts_steps_from_one(step):
    arrays = [zeros(3) for _ in range(4)]
    with pytest.raises((ValueError, TypeError), match=r"^step: expected"):
        ops.adam_update(*arrays, step, 0.1, 0.9, 0.999, 1e-8)
