"""Every op accepts arrays of any layout, leaves them alone, and gives the same bits every time."""

import numpy as np
import pytest

from ferrocnn import get_num_threads, ops, set_num_threads
from ops_cases import assert_same_bits, example_calls, normal

SMALL = example_calls(batch=2, size=5, c=3)


def strided(array):
    """Every second element of a larger array along the last axis."""
    larger = np.repeat(array, 2, axis=-1)
    larger[..., 1::2] = 77
    return larger[..., ::2]


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def unaligned(array):
    memory = np.empty(array.nbytes + 1, dtype=np.uint8)
    shifted = memory[1:].view(array.dtype).reshape(array.shape)
    shifted[...] = array
    return shifted


LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "strided": strided,
    "reversed": lambda array: np.ascontiguousarray(array[::-1])[::-1],
    "read-only": read_only,
    "unaligned": unaligned,
    "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "float64": lambda array: array.astype(np.float64) if array.dtype.kind == "f" else array,
    "list": lambda array: array.astype(np.float64).tolist() if array.dtype.kind == "f" else array,
}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_and_float_type_is_accepted(name, layout):
    op, arrays, options = SMALL[name]
    spoiled = {key: LAYOUTS[layout](array) for key, array in arrays.items()}
    assert_same_bits(op(**spoiled, **options), op(**arrays, **options))


@pytest.mark.parametrize("layout", ["Fortran order", "strided", "reversed", "read-only"])
def test_any_layout_of_uint8_images_is_accepted(layout):
    pixels = np.arange(2 * 5 * 4 * 3, dtype=np.uint8).reshape(2, 5, 4, 3)
    weight, grad = normal(0, (3, 3, 3, 4), (2, 5, 4, 4))
    other = LAYOUTS[layout](pixels)
    assert_same_bits(ops.conv2d(other, weight), ops.conv2d(pixels, weight))
    assert_same_bits(
        ops.conv2d_backward(grad, other, weight), ops.conv2d_backward(grad, pixels, weight)
    )


@pytest.mark.parametrize("name", SMALL)
def test_inputs_are_left_alone_and_not_returned(name):
    op, arrays, options = SMALL[name]
    before = {key: array.copy() for key, array in arrays.items()}
    results = op(**arrays, **options)
    for key, array in arrays.items():
        assert_same_bits(array, before[key])
        for result in results if isinstance(results, tuple) else (results,):
            assert not np.shares_memory(result, array)


@pytest.fixture
def _restored_threads():
    before = get_num_threads()
    yield
    set_num_threads(before)


@pytest.mark.usefixtures("_restored_threads")
@pytest.mark.parametrize("size", [(37, 9, 8), (2, 65, 40)], ids=["many images", "large images"])
def test_any_number_of_threads_gives_the_same_bits(size):
    calls = example_calls(*size)
    parameter, gradient, velocity, second = normal(0, *[(300, 301)] * 4)
    calls["sgd"] = (ops.sgd_update, [parameter, gradient], (0.1,))
    calls["momentum"] = (ops.momentum_update, [parameter, gradient, velocity], (0.1, 0.9))
    calls["nesterov"] = (
        ops.momentum_update,
        [parameter, gradient, velocity],
        (0.1, 0.9, True, 0.01),
    )
    calls["lion"] = (ops.lion_update, [parameter, gradient, velocity], (0.1,))
    calls["average"] = (ops.average_update, [parameter, gradient], (0.9,))
    calls["adam"] = (
        ops.adam_update,
        [parameter, gradient, velocity, np.square(second)],
        (3, 0.1, 0.9, 0.999, 1e-8),
    )

    def results(threads):
        set_num_threads(threads)
        assert get_num_threads() == threads
        for name, (op, arrays, options) in calls.items():
            if isinstance(arrays, dict):
                yield name, op(**arrays, **options)
            else:
                copies = [array.copy() for array in arrays]
                op(*copies, *options)
                yield name, tuple(copies)

    alone = dict(results(1))
    for threads in (2, 3):
        for name, result in results(threads):
            assert_same_bits(result, alone[name])


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", None])
def test_a_number_of_threads_that_makes_no_sense_is_refused(count):
    before = get_num_threads()
    with pytest.raises((ValueError, TypeError), match=r"^count: expected"):
        set_num_threads(count)
    assert get_num_threads() == before
