"""The search for a learning rate, on losses whose shape is known."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ferrocnn
from ferrocnn import LearningRates, find_learning_rate, suggest_learning_rate


class Quadratic:
    """Gradient descent on `curvature / 2 * w^2`, with noise in the loss: unstable above 2."""

    def __init__(self, curvature: float = 1.0, noise: float = 0.0) -> None:
        self.w, self.curvature, self.noise = 1.0, curvature, noise
        self.random = np.random.default_rng(0)
        self.calls: list[tuple[int, float]] = []

    def __call__(self, number: int, rate: float) -> float:
        self.calls.append((number, rate))
        loss = 0.1 + self.curvature / 2 * self.w**2 + self.noise * self.random.normal()
        self.w -= rate * self.curvature * self.w
        return loss


def test_rates_rise_by_one_factor_from_low_to_high() -> None:
    step = Quadratic()
    found = find_learning_rate(step, low=1e-4, high=0.1, steps=7)
    numbers, rates = zip(*step.calls, strict=True)
    assert numbers == tuple(range(7))
    assert all(type(rate) is float for rate in rates)
    expected = [1e-4 * 10 ** (i / 2) for i in range(7)]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)
    np.testing.assert_array_equal(found.rates, rates)
    assert len(found.losses) == 7
    assert found.losses[0] == 0.6


def test_the_smoothed_loss_is_the_weighted_mean_of_the_losses_so_far() -> None:
    losses = np.array([1.0, 0.5, 2.0, 4.0])
    found = LearningRates(np.geomspace(1e-3, 1, 4), losses)
    expected = [
        np.average(losses[: n + 1], weights=[0.9 ** (n - i) for i in range(n + 1)])
        for n in range(4)
    ]
    np.testing.assert_allclose(found.smoothed, expected, rtol=1e-12)


@pytest.mark.parametrize("curvature", [0.1, 1.0, 10.0, 1000.0])
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_the_suggestion_is_stable_and_not_far_from_the_edge(curvature: float, noise: float) -> None:
    found = find_learning_rate(Quadratic(curvature, noise), low=1e-7, high=1e3, steps=200)
    edge = 2 / curvature  # the descent diverges beyond
    assert 0.01 * edge < found.suggestion < edge


def test_the_suggestion_is_a_tenth_of_the_rate_of_the_lowest_point() -> None:
    losses = np.concatenate([np.linspace(1, 0, 50), np.linspace(0, 1, 50)])
    found = LearningRates(np.geomspace(1e-6, 1, 100), losses)
    lowest = int(np.argmin(found.smoothed))
    assert lowest >= 50
    assert found.suggestion == found.rates[lowest] / 10


def scripted(losses: list[float]) -> Callable[[int, float], float]:
    def train_step(number: int, rate: float) -> float:
        if losses[number] == -1:
            raise ferrocnn.DivergedError("too fast")
        return losses[number]

    return train_step


def test_it_ends_where_the_smoothed_loss_exceeds_four_times_its_best() -> None:
    found = find_learning_rate(scripted([1.0, 1.0, 5.0, 13.0, 2.0]), steps=5)
    np.testing.assert_allclose(found.smoothed[-1], (0.729 + 0.81 + 4.5 + 13) / 3.439)
    assert found.losses.tolist() == [1, 1, 5, 13]
    assert len(found.rates) == 4


@pytest.mark.parametrize("end", [math.nan, math.inf, -1])
def test_it_ends_before_a_loss_that_is_not_finite(end: float) -> None:
    found = find_learning_rate(scripted([1.0, 0.9, end, 0.5]), steps=4)
    assert found.losses.tolist() == [1.0, 0.9]
    assert len(found.rates) == 2


@pytest.mark.parametrize("first", [math.nan, -1])
def test_nothing_is_found_where_the_first_loss_is_not_finite(first: float) -> None:
    with pytest.raises(ValueError, match="low: expected a rate at which the loss is finite, got"):
        find_learning_rate(scripted([first]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"low": 0}, "low: expected a finite number above 0, got 0"),
        ({"high": math.inf}, "high: expected a finite number above 0, got inf"),
        ({"low": 0.1, "high": 0.1}, "high: expected more than low, which is 0.1, got 0.1"),
        ({"steps": 1}, "steps: expected at least 2, got 1"),
        ({"steps": 2.5}, "steps: expected an integer, got 2.5"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(arguments: dict[str, float], message: str) -> None:
    step = Quadratic()
    with pytest.raises((ValueError, TypeError), match=message):
        find_learning_rate(step, **arguments)  # type: ignore[arg-type]
    assert step.calls == []


def test_it_finds_a_rate_at_which_a_network_learns() -> None:
    random = np.random.default_rng(0)
    y = (np.arange(640) % 2).astype(np.float32)
    brightness = 55 * y.astype(np.int64)[:, None, None, None]
    X = (random.integers(0, 200, (640, 12, 12, 3)) + brightness).astype(np.uint8)
    model = ferrocnn.CNN((12, 12, 3), [(4, 3)], [5, 1], seed=0)
    start, optimizer = model.snapshot(), ferrocnn.Adam(1.0)

    def train_step(number: int, rate: float) -> float:
        optimizer.learning_rate = rate
        batch = slice(number % 10 * 64, number % 10 * 64 + 64)
        return model.train_step(X[batch], y[batch], optimizer)[0]

    found = find_learning_rate(train_step, low=1e-5, high=10)
    model.set_parameters(start)
    rule = ferrocnn.Adam(found.suggestion)
    history = ferrocnn.train(model, X, y, epochs=5, optimizer=rule, seed=0, progress=False)
    # Ten times lower or higher it is still near log 2 = 0.69, that of guessing.
    assert history.loss[-1] < 0.3


SHAPE = (8, 8, 1)


def three_classes(count: int = 90) -> tuple[np.ndarray, np.ndarray]:
    """Images of three classes that differ in brightness."""
    random = np.random.default_rng(0)
    y = np.arange(count) % 3
    X = random.integers(0, 150, (count, *SHAPE)) + 50 * y[:, None, None, None]
    return X.astype(np.uint8), y


def network() -> ferrocnn.CNN:
    return ferrocnn.CNN(SHAPE, [(4, 3)], [8, 3], batch_norm=True, dropout=0.1, seed=0)


def test_the_search_on_a_model_is_the_one_by_hand() -> None:
    X, y = three_classes()
    model, by_hand, rule = network(), network(), ferrocnn.Momentum(1.0)
    found = suggest_learning_rate(
        model, X, y, optimizer="momentum", batch_size=40, seed=5, low=1e-4, high=0.1, steps=7
    )
    random = np.random.Generator(np.random.PCG64(5))
    orders = [random.permutation(90) for _ in range(4)]
    targets = np.eye(3, dtype=np.float32)[y]
    losses = []
    for number in range(7):
        # Two batches of 40 in 90 images; the ten that are left over make none.
        rows = orders[number // 2][number % 2 * 40 :][:40]
        rule.learning_rate = 1e-4 * 10 ** (number / 2)
        losses.append(by_hand.train_step(X[rows], targets[rows], rule, key=number)[0])
    np.testing.assert_allclose(found.losses, losses, rtol=1e-5)


@pytest.mark.parametrize("learnt", [False, True])
def test_model_and_optimizer_are_left_as_they_are(learnt: bool) -> None:
    X, y = three_classes()
    model, optimizer = network(), ferrocnn.Adam(0.01)
    if learnt:
        ferrocnn.train(model, X, y, epochs=1, optimizer=optimizer, progress=False)
    before = model.snapshot(), optimizer.state(), dict(model.training)
    first = suggest_learning_rate(model, X, y, optimizer=optimizer)
    after = model.snapshot(), optimizer.state(), model.training
    for old, new in zip(before[:2], after[:2], strict=True):
        assert {k: v.tobytes() for k, v in old.items()} == {k: v.tobytes() for k, v in new.items()}
    assert after[2] == before[2]
    assert optimizer.learning_rate == 0.01
    again = suggest_learning_rate(model, X, np.eye(3)[y], optimizer=optimizer)
    np.testing.assert_array_equal(again.losses, first.losses)
    other = suggest_learning_rate(model, X, y, optimizer=optimizer, seed=1)
    assert other.losses[0] != first.losses[0]


@pytest.mark.parametrize("optimizer", ["momentum", "adamw"])
def test_a_model_learns_at_the_suggested_rate(optimizer: str) -> None:
    X, y = three_classes(300)
    found = suggest_learning_rate(network(), X, y, optimizer=optimizer, high=100)
    model = network()
    ferrocnn.train(
        model, X, y, epochs=10, learning_rate=found.suggestion, optimizer=optimizer, seed=0,
        progress=False,
    )  # fmt: skip
    assert ferrocnn.evaluate(model, X, y).accuracy > 0.9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": 3}, "model: expected a CNN"),
        ({"y": [0, 1]}, "y: expected"),
        ({"y": None}, "y: expected labels"),
        ({"X": np.zeros((90, 9, 8, 1), np.uint8)}, "X: expected"),
        ({"optimizer": "magic"}, "optimizer: expected"),
        ({"batch_size": 0}, "batch_size: expected"),
        ({"seed": -1}, "seed: expected"),
        ({"low": 2.0}, "high: expected"),
    ],
)
def test_bad_arguments_of_a_search_on_a_model(changes: dict[str, Any], message: str) -> None:
    X, y = three_classes()
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        suggest_learning_rate(**{"model": network(), "X": X, "y": y} | changes)


def test_the_picture_is_a_png_with_the_curve_and_the_suggestion(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = find_learning_rate(Quadratic(noise=0.02), low=1e-5, high=10)
    path = found.plot(str(tmp_path / "picture"))
    assert path == tmp_path / "picture"
    with Image.open(path) as image:
        assert (image.format, image.size) == ("PNG", (800, 450))
        pixels = np.asarray(image.convert("RGB"))
    for colour in ((0x15, 0x65, 0xC0), (0xD3, 0x2F, 0x2F)):
        assert (pixels == colour).all(axis=2).sum() > 100


def test_the_picture_of_a_loss_that_never_changes(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    LearningRates(np.array([0.1, 1.0]), np.array([2.0, 2.0])).plot(tmp_path / "flat.png")
    assert (tmp_path / "flat.png").stat().st_size > 0


def test_without_matplotlib_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = LearningRates(np.array([0.1, 1.0]), np.array([2.0, 1.0]))
    with pytest.raises(ImportError, match=r'pip install "ferrocnn\[plot\]"'):
        found.plot(tmp_path / "picture.png")
    assert not (tmp_path / "picture.png").exists()
