"""The batches of an epoch: every image once, as it is stored, with its own label and weight."""

import numpy as np
import pytest

from ferrocnn import _kernels
from ferrocnn.batches import Batches, Data
from ferrocnn.losses import SigmoidCrossEntropy

SHAPE = (5, 4, 3)


def images(count, dtype):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (count, *SHAPE), dtype=np.uint8)
    return pixels if dtype == np.uint8 else (pixels / 255).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("count", "size"), [(10, 4), (3, 8), (1, 1), (200, 64)])
def test_an_epoch_holds_every_image_once(dtype, shuffle, count, size):
    X, y = images(count, dtype), np.arange(count) % 2
    weights = np.arange(count, dtype=np.float32)  # name the images
    data = Data(X, y, weights)
    batches = Batches(data, SigmoidCrossEntropy(), size=size, seed=1, shuffle=shuffle)
    seen = []
    for number in range(len(batches)):
        batch = batches.make(0, number, SHAPE, None)
        rows = batch.weights.astype(int)
        np.testing.assert_array_equal(batch.X, X[rows])
        np.testing.assert_array_equal(batch.targets[:, 0], y[rows])
        assert batch.X.dtype == dtype
        seen += rows.tolist()
    assert sorted(seen) == list(range(count))
    assert count < 10 or (seen == sorted(seen)) == (not shuffle)


def test_order_and_keys_are_functions_of_the_seed_the_epoch_and_the_number():
    data = Data(images(20, np.uint8), np.zeros(20, np.int64), np.arange(20, dtype=np.float32))
    batches = Batches(data, SigmoidCrossEntropy(), size=8, seed=5, shuffle=True)
    for epoch, number in [(1, 2), (0, 1), (0, 0), (1, 0), (0, 1)]:
        batch = batches.make(epoch, number, SHAPE, None)
        order = np.random.Generator(np.random.PCG64([5, epoch])).permutation(20)
        np.testing.assert_array_equal(batch.weights, order[8 * number : 8 * number + 8])
        sequence = np.random.SeedSequence([5, epoch * 3 + number])
        assert batch.key == sequence.generate_state(1, np.uint64)[0]


@pytest.mark.parametrize("index", [-1, 3, 2**62])
def test_an_index_beyond_the_images_is_refused(index):
    X, out = images(3, np.uint8), np.zeros((2, *SHAPE), np.uint8)
    with pytest.raises(ValueError, match=r"^indices: expected indices from 0 to below 3, got "):
        _kernels.gather(X, np.array([0, index]), out)
    assert not out.any()


def test_as_are_arrays_that_do_not_fit():
    X, rows = images(3, np.uint8), np.array([0, 2])
    with pytest.raises(ValueError, match=r"^out: expected shape \[2, 5, 4, 3\]"):
        _kernels.gather(X, rows, np.zeros((3, *SHAPE), np.uint8))
    with pytest.raises(ValueError, match=r"^images: expected a C-contiguous array"):
        _kernels.gather(X[:, ::2], rows, np.zeros((2, 3, 4, 3), np.uint8))
