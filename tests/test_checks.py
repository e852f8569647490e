"""Checks that every entry shares."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import ferrocnn

SHAPE = (8, 8, 1)
X, Y = np.full((4, *SHAPE), 200.0), [0, 1, 0, 1]


def train(model: ferrocnn.CNN) -> None:
    data = X / 255, Y
    ferrocnn.train(model, *data, epochs=1, validation_data=(X, Y), progress=False)


@pytest.mark.parametrize(
    "call",
    [
        lambda model: model.forward(X),
        lambda model: model.logits(X),
        lambda model: model.predict_proba(X),
        lambda model: model.predict(X),
        lambda model: model.gradients(X, Y),
        lambda model: model.backward(X, Y),
        lambda model: ferrocnn.evaluate(model, X, Y),
        train,
    ],
)
def test_the_warning_of_unscaled_pixels_points_to_the_caller(
    call: Callable[[ferrocnn.CNN], object],
) -> None:
    with pytest.warns(UserWarning, match="these reach 200; scale them to 0..1") as caught:
        call(ferrocnn.CNN(SHAPE, [(2, 3)], [1], seed=0))
    assert [Path(warning.filename).name for warning in caught] == ["test_checks.py"]
