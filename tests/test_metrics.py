"""Evaluation against counts and logarithms done here."""

import numpy as np
import pytest

from ferrocnn import CNN, evaluate

SHAPE = (6, 6, 1)


@pytest.fixture
def model() -> CNN:
    return CNN(SHAPE, [(3, 3)], [4, 1], seed=3)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).random((150, *SHAPE), dtype=np.float32) * 3


def test_counts_and_loss_are_those_of_the_probabilities(model: CNN, images: np.ndarray) -> None:
    y = np.random.default_rng(1).integers(0, 2, len(images))
    p = model.forward(images)[:, 0].astype(np.float64)
    threshold = float(np.median(p))
    result = evaluate(model, images, y, threshold=threshold)
    predicted = p >= threshold
    expected = [[int(((y == t) & (predicted == q)).sum()) for q in (0, 1)] for t in (0, 1)]
    assert result.confusion.tolist() == expected
    assert result.count == 150
    assert result.accuracy == (expected[0][0] + expected[1][1]) / 150
    loss = -np.mean(np.where(y == 1, np.log(p), np.log1p(-p)))
    assert result.loss == pytest.approx(loss, rel=1e-5)
    assert result.to_dict()["confusion"] == expected


def test_bad_arguments_are_named(model: CNN, images: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"y: expected \(150,\)"):
        evaluate(model, images, np.zeros(3))
    with pytest.raises(ValueError, match="threshold"):
        evaluate(model, images, np.zeros(150), threshold=2)
