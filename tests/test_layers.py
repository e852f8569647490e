"""Layers run forward in one call: the same whatever batches came before, and nothing by mistake."""

import numpy as np
import pytest

import ferrocnn
from ferrocnn import _kernels

RANDOM = np.random.default_rng(0)
X = RANDOM.integers(0, 256, (20, 12, 10, 3), dtype=np.uint8)
y = RANDOM.integers(0, 2, 20).astype(np.float32)


def network() -> ferrocnn.CNN:
    return ferrocnn.CNN((12, 10, 3), [(8, 3), (5, 3)], [7, 1], seed=0)


def bits(model: ferrocnn.CNN) -> list[bytes]:
    return [value.tobytes() for value in model.parameters().values()]


def test_batches_of_all_sizes_in_any_order_train_as_if_each_came_first() -> None:
    model = network()
    for count in (3, 20, 1, 2, 20):
        fresh = network()
        fresh.set_parameters(model.parameters())
        for either in (model, fresh):
            either.train_step(X[:count], y[:count], ferrocnn.SGD(0.1))
        assert bits(model) == bits(fresh)


def test_memory_that_runs_out_while_a_batch_grows_leaves_the_model_working(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = network()
    expected = model.forward(X)
    model = network()
    model.forward(X[:2])
    with monkeypatch.context() as patch:
        patch.setattr(model.layers[1], "step", lambda room: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(MemoryError):
            model.forward(X)
    np.testing.assert_array_equal(model.forward(X[:2]), expected[:2])
    np.testing.assert_array_equal(model.forward(X), expected)


def test_images_in_the_order_of_fortran_are_refused_not_scrambled() -> None:
    with pytest.raises(ValueError, match="x: expected a C-contiguous array"):
        network().infer(np.asfortranarray(X))


def step(room: int = 2) -> tuple[object, ...]:
    return np.ones((4, 3), np.float32), np.zeros(3, np.float32), False, np.zeros((room, 3), "f")


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
        _kernels.Forward([step()]).run(x)


def test_forward_writes_nothing_where_a_later_layer_does_not_fit() -> None:
    first, second = step(), step()
    with pytest.raises(ValueError, match=r"x: expected shape \[8\], got \[6\]"):
        _kernels.Forward([first, second]).run(np.ones((2, 4), np.float32))
    assert not first[3].any()


def test_forward_of_no_layers_or_no_images_does_nothing() -> None:
    _kernels.Forward([]).run(X)
    out = step()
    _kernels.Forward([out]).run(np.zeros((0, 4), np.float32))
    assert not out[3].any()
