"""`whiten`: a first convolution whose outputs are uncorrelated on the images."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ferrocnn import CNN, whiten

SIZE, PAIRS = 3, 8


def smooth_images(channels: int = 3) -> NDArray[np.uint8]:
    """Noise of which neighbouring pixels and channels are alike, as in photographs."""
    noise = np.random.default_rng(0).normal(size=(60, 20, 20, channels)).cumsum(axis=3)
    for axis in (1, 2):
        noise = noise + np.roll(noise, 1, axis) + np.roll(noise, 2, axis)
    return np.clip(128 + 12 * noise, 0, 255).astype(np.uint8)


def model(channels: int = 3, filters: int = 2 * PAIRS, seed: int = 0) -> CNN:
    return CNN((20, 20, channels), [(filters, SIZE)], [1], seed=seed)


def responses(images: NDArray[np.uint8], weight: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of every patch, by the definition of a convolution: (patch, filter)."""
    n, height, width, _ = images.shape
    rows, columns = height - SIZE + 1, width - SIZE + 1
    total = np.zeros((n, rows, columns, weight.shape[3]))
    for a in range(SIZE):
        for b in range(SIZE):
            total += images[:, a : a + rows, b : b + columns] / 255 @ weight[a, b].astype(float)
    return total.reshape(-1, weight.shape[3])


def test_the_outputs_of_filters_are_uncorrelated_and_vary_alike() -> None:
    images, whitened = smooth_images(), model()
    random = np.corrcoef(responses(images, whitened.parameters()["conv1.weight"]), rowvar=False)
    assert np.abs(random - np.eye(2 * PAIRS)).max() > 0.5
    whiten(whitened, images)
    outputs = responses(images, whitened.parameters()["conv1.weight"])[:, :PAIRS]
    # Of a sample of patches, so that they are not quite so on all of them.
    np.testing.assert_allclose(np.corrcoef(outputs, rowvar=False), np.eye(PAIRS), atol=0.05)
    deviations = outputs.std(axis=0)
    assert deviations.max() < 2 * deviations.min()


def test_filters_come_with_their_negatives_and_vary_as_before() -> None:
    whitened, before = model(), model().parameters()["conv1.weight"]
    whiten(whitened, smooth_images())
    weight = whitened.parameters()["conv1.weight"]
    assert np.array_equal(weight[..., :PAIRS], -weight[..., PAIRS:])
    assert weight.std() == pytest.approx(before.std(), rel=1e-5)


@pytest.mark.parametrize(("channels", "filters", "kept"), [(3, 17, 1), (1, 25, 7), (3, 1, 1)])
def test_filters_beyond_the_components_keep_their_weights(
    channels: int, filters: int, kept: int
) -> None:
    whitened, before = model(channels, filters), model(channels, filters)
    whiten(whitened, smooth_images(channels))
    weight, old = (m.parameters()["conv1.weight"] for m in (whitened, before))
    changed = np.any(weight != old, axis=(0, 1, 2))
    assert changed.tolist() == [True] * (filters - kept) + [False] * kept


def test_the_same_seed_gives_the_same_weights_and_images_of_one_colour_finite_ones() -> None:
    first, second, other, plain = model(), model(), model(), model()
    for whitened, seed in ((first, 1), (second, 1), (other, 2)):
        whiten(whitened, smooth_images(), seed)
    first, second, other = (m.parameters()["conv1.weight"] for m in (first, second, other))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    whiten(plain, np.full((3, 20, 20, 3), 7, np.uint8))
    assert np.isfinite(plain.parameters()["conv1.weight"]).all()


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 20, 20, 1), np.uint8),
        np.zeros((2, 2, 20, 3), np.uint8),
        np.zeros((0, 20, 20, 3), np.uint8),
        np.zeros((2, 20, 20, 3), np.float32),
        "images",
    ],
)
def test_what_cannot_be_used_is_refused_and_nothing_changes(images: object) -> None:
    whitened, before = model(), model().parameters()["conv1.weight"]
    with pytest.raises(ValueError, match=r"^images: expected uint8 of \(n, 3 or more, 3 or more"):
        whiten(whitened, images)  # type: ignore[arg-type]
    assert np.array_equal(whitened.parameters()["conv1.weight"], before)
