"""Layers run forward in one call: the same whatever batches came before, and nothing by mistake."""

import numpy as np
import pytest

import ferrocnn
from ferrocnn import _kernels

RANDOM = np.random.default_rng(0)
X = RANDOM.integers(0, 256, (20, 12, 10, 3), dtype=np.uint8)
y = RANDOM.integers(0, 2, (20, 1)).astype(np.float32)


def network(**arguments: object) -> ferrocnn.CNN:
    return ferrocnn.CNN((12, 10, 3), [(8, 3), (5, 3)], [7, 1], seed=0, **arguments)


def bits(model: ferrocnn.CNN) -> list[bytes]:
    return [value.tobytes() for value in model.state().values()]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"batch_norm": True, "activation": "gelu", "dropout": 0.3, "spatial_dropout": 0.1},
        {"batch_norm": True, "global_average_pool": True},
    ],
)
def test_batches_of_all_sizes_in_any_order_are_as_if_each_came_first(arguments: dict) -> None:
    """In training and inference, which share their arrays."""
    model = network(**arguments)
    for count, images in ((3, 7), (3, 0), (20, 12), (20, 20), (1, 20), (2, 1), (20, 3)):
        fresh = network(**arguments)
        fresh.set_state(model.state())
        for either in (model, fresh):
            either.train_step(X[:count], y[:count], ferrocnn.SGD(0.1))
        assert bits(model) == bits(fresh)
        if images:
            fresh = network(**arguments)
            fresh.set_state(model.state())
            np.testing.assert_array_equal(model.forward(X[:images]), fresh.forward(X[:images]))


def test_memory_that_runs_out_while_a_batch_grows_leaves_the_model_working(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = network()
    expected = model.forward(X)
    model = network()
    model.forward(X[:2])

    def fail(room: int, *, training: bool) -> list[_kernels.Step]:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(model.layers[1], "steps", fail)
        with pytest.raises(MemoryError):
            model.forward(X)
    np.testing.assert_array_equal(model.forward(X[:2]), expected[:2])
    np.testing.assert_array_equal(model.forward(X), expected)


@pytest.mark.parametrize(
    ("arguments", "dropped"),
    [
        ({}, True),
        ({"batch_norm": True}, True),
        ({"dropout": 0.5, "spatial_dropout": 0.5}, True),
        ({"conv_filters": [{"filters": 3, "size": 3, "pool": None}]}, True),
        ({"conv_filters": [{"filters": 3, "size": 3, "pool": "avg"}]}, True),
        ({"global_average_pool": True}, False),
        ({"activation": "tanh"}, False),
        ({"activation": "identity", "batch_norm": True}, False),
        ({"activation": "leaky_relu", "dropout": 0.5}, False),
    ],
)
def test_a_dense_layer_drops_gradients_of_zeros_only_where_a_relu_does(
    arguments: dict, dropped: bool
) -> None:
    """What comes before it has no derivative at 0, or another one than 0."""
    model = ferrocnn.CNN(
        **{"input_shape": (4, 4, 1), "conv_filters": [(3, 3)], "fc_layers": [1]} | arguments
    )
    dense = model.layers[-1]
    few = 7  # so that zeros are always left out
    x = np.zeros((few, dense.weight.shape[0]), np.float32)
    _kernels.Forward(dense.steps(few, training=True)).run(x)
    dense.remember(x)
    dx = dense.backward(np.ones((few, 1), np.float32), need_dx=True)
    assert np.array_equal(dx.reshape(few, -1) == 0, np.full_like(x, dropped, bool))


def test_images_in_the_order_of_fortran_are_refused_not_scrambled() -> None:
    with pytest.raises(ValueError, match="x: expected a C-contiguous array"):
        network().infer(np.asfortranarray(X))


def dense(inputs: int = 4, room: int = 2) -> tuple[_kernels.Step, np.ndarray]:
    """A dense layer with room for some images, and where its output goes."""
    out = np.zeros((room, 3), np.float32)
    weight, bias = np.ones((inputs, 3), np.float32), np.zeros(3, np.float32)
    return _kernels.Step.dense(weight, bias, False, out), out


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 4), np.uint8), "x: expected float32, got uint8"),
        (np.zeros((2, 5), np.float32), r"x: expected shape \[8\], got \[10\]"),
        (np.zeros((3, 4), np.float32), r"out: expected shape \[9\], got \[6\]"),
        (np.zeros((2, 4), np.float64), "x: expected a uint8 or float32 array"),
    ],
)
def test_forward_names_what_does_not_fit(x: np.ndarray, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        _kernels.Forward([dense()[0]]).run(x)


def floats(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


Step = _kernels.Step
POOL = _kernels.PoolGeometry((2, 2, 3), (2, 2), (2, 2), "valid")
CONV = _kernels.ConvGeometry((2, 2, 3), (1, 1), 4, (1, 1), "same")
BLOCK = _kernels.BlockGeometry((2, 2, 3), (1, 1), 4, "same")
PIXEL, SAME, POOLED = floats(1, 1, 1, 3), floats(1, 2, 2, 3), np.ones((1, 1, 1, 3), np.uint8)
NORM, NORMED = (floats(3), floats(3), 1e-5, "relu"), floats(1, 2, 2, 3)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Step.conv(CONV, floats(1, 1, 3, 5), floats(4), floats(1, 2, 2, 4)), "weight: expected"),
        (Step.conv(CONV, floats(1, 1, 3, 4), floats(5), floats(1, 2, 2, 4)), "bias: expected"),
        (Step.conv(CONV, floats(1, 1, 3, 4), floats(4), SAME[:, :, :1]), "out: expected"),
        (
            Step.conv_pool(
                BLOCK, floats(1, 1, 3, 4), floats(4), (floats(3), floats(4)), True,
                floats(1, 1, 1, 4), np.ones((1, 1, 1, 4), np.uint8),
            ),
            "factor: expected",
        ),
        (
            Step.conv_pool(BLOCK, floats(1, 1, 3, 4), floats(4), None, True, PIXEL, POOLED),
            "winners: expected",
        ),
        (Step.max_pool(POOL, PIXEL, POOLED[..., :2].copy()), "winners: expected"),
        (Step.max_pool(POOL, PIXEL[..., :2].copy(), POOLED), "out: expected"),
        (Step.average_pool(POOL, PIXEL[..., :2].copy()), "out: expected"),
        (Step.batch_norm(*NORM, floats(4), floats(3), True, NORMED), "mean: expected"),
        (Step.batch_norm(*NORM, floats(3), floats(4), False, NORMED), "variance: expected"),
        (
            Step.batch_norm(floats(5), *NORM[1:], floats(5), floats(5), True, NORMED),
            "beta: expected",
        ),
        (Step.activation("gelu", PIXEL), "x: expected"),
        (Step.dropout(0.5, np.zeros(1, np.uint64), True, PIXEL), "x: expected"),
        (Step.dense(floats(3, 2), floats(2), False, floats(1, 2)), "x: expected"),
    ],
)  # fmt: skip
def test_steps_whose_arrays_do_not_fit_are_named_and_nothing_is_written(
    step: _kernels.Step, message: str
) -> None:
    kept = np.full((1, 2, 2, 3), 7, np.float32)
    first = Step.activation("relu", kept)
    with pytest.raises(ValueError, match=f"^{message}"):
        _kernels.Forward([first, step]).run(SAME)
    assert (kept == 7).all()


def test_an_unknown_activation_and_a_rate_of_one_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^activation: expected one of identity, relu, .*sigmoid"):
        Step.activation("swish", SAME)
    with pytest.raises(ValueError, match=r"^rate: expected at least 0 and below 1, got 1"):
        Step.dropout(1.0, np.zeros(1, np.uint64), False, SAME)


def test_forward_writes_nothing_where_a_later_layer_does_not_fit() -> None:
    (first, out), (second, _) = dense(), dense()
    with pytest.raises(ValueError, match=r"x: expected shape \[8\], got \[6\]"):
        _kernels.Forward([first, second]).run(np.ones((2, 4), np.float32))
    assert not out.any()


def test_a_step_runs_once_at_a_time() -> None:
    geometry = _kernels.ConvGeometry((4, 4, 2), (3, 3), 2, (1, 1), "same")
    out = np.zeros((1, 4, 4, 2), np.float32)
    step = Step.conv(geometry, np.ones((3, 3, 2, 2), np.float32), np.zeros(2, np.float32), out)
    with pytest.raises(ValueError, match="step: expected one run at a time"):
        _kernels.Forward([step, step]).run(np.ones_like(out))
    assert not out.any()


def test_forward_of_no_layers_or_no_images_does_nothing() -> None:
    _kernels.Forward([]).run(X)
    step, out = dense()
    _kernels.Forward([step]).run(np.zeros((0, 4), np.float32))
    assert not out.any()
