"""The picture of a training run."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ferrocnn.figures import demo_figure
from ferrocnn.history import History

pytest.importorskip("matplotlib")

NAMES = ("Cat", "Dog")
RED = (211, 47, 47)
BLUE = (0, 0, 255)


def history(epochs: int = 3) -> History:
    falling = [1 / (2 + epoch) for epoch in range(epochs)]
    rising = [1 - value for value in falling]
    return History(
        loss=falling,
        accuracy=rising,
        val_loss=falling,
        val_accuracy=rising,
        seconds=[0.1] * epochs,
    )


def grey_images(count: int = 24) -> NDArray[np.uint8]:
    return np.full((count, 16, 16, 3), 128, dtype=np.uint8)


def arguments(**changes: Any) -> dict[str, Any]:
    """Arguments of demo_figure: four grey pictures, all of them named rightly."""
    return {
        "history": history(),
        "images": grey_images(4),
        "labels": [0, 1, 0, 1],
        "probabilities": [0.1, 0.9, 0.2, 0.5],
        "class_names": NAMES,
    } | changes


def box(pixels: NDArray[np.uint8], colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of where `colour` is."""
    rows, columns = np.nonzero((pixels == colour).all(axis=2))
    return rows.min(), columns.min(), rows.max(), columns.max()


def drawn(path: Path, **changes: Any) -> NDArray[np.uint8]:
    with Image.open(demo_figure(path, **arguments(**changes))) as image:
        return np.asarray(image.convert("RGB"))


def test_is_a_png_whatever_its_name(tmp_path: Path) -> None:
    path = demo_figure(str(tmp_path / "picture"), **arguments())
    assert path == tmp_path / "picture"
    with Image.open(path) as image:
        assert (image.format, image.size) == ("PNG", (1200, 660))


@pytest.mark.parametrize(("truth", "probability"), [(1, 0.49), (0, 0.5), (0, 1.0)])
def test_wrong_prediction_has_a_red_frame(tmp_path: Path, truth: int, probability: float) -> None:
    images = grey_images()
    images[10] = BLUE
    labels = np.zeros(24, dtype=np.int64)
    probabilities = np.full((24, 1), 0.2)
    right = drawn(tmp_path / "right.png", images=images, labels=labels, probabilities=probabilities)
    assert not (right == RED).all(axis=2).any()

    labels[10], probabilities[10] = truth, probability
    wrong = drawn(tmp_path / "wrong.png", images=images, labels=labels, probabilities=probabilities)
    blue, red = np.array(box(wrong, BLUE)), np.array(box(wrong, RED))
    # Around this one picture, and no further than its name above it.
    assert (red[:2] < blue[:2]).all()
    assert (red[2:] > blue[2:]).all()
    assert np.abs(red - blue)[1:].max() < 10
    assert blue[0] - red[0] < 30


def test_same_arguments_same_picture(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    changes = {"images": images, "labels": [0, 1] * 20, "probabilities": np.linspace(0, 1, 40)}
    first = drawn(tmp_path / "a.png", **changes)
    np.testing.assert_array_equal(drawn(tmp_path / "b.png", **changes), first)
    other = drawn(tmp_path / "c.png", **changes | {"images": images[::-1]})
    assert (other != first).any()


def test_without_validation_no_such_curve(tmp_path: Path) -> None:
    validation_blue = (21, 101, 192)
    with_it = drawn(tmp_path / "a.png")
    without = drawn(tmp_path / "b.png", history=History([0.7, 0.6], [0.5, 0.6], seconds=[1, 1]))
    assert (with_it == validation_blue).all(axis=2).any()
    assert not (without == validation_blue).all(axis=2).any()


def test_names_are_no_formulas(tmp_path: Path) -> None:
    names = ("$\\frac$", "a name much longer than a picture is wide " * 4)
    assert drawn(tmp_path / "a.png", class_names=names, history=history(1)).shape == (660, 1200, 3)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("history", History()),
        ("images", grey_images(0)),
        ("images", grey_images(4)[0]),
        ("labels", [0, 1]),
        ("labels", [0, 1, 2, 1]),
        ("probabilities", [0.5]),
        ("images", np.zeros((4, 8, 8, 2), np.uint8)),
        ("probabilities", np.zeros((4, 3))),
        ("class_names", ("Cat",)),
        ("class_names", "ab"),
    ],
)
def test_bad_arguments(tmp_path: Path, argument: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{argument}: expected"):
        demo_figure(tmp_path / "a.png", **arguments(**{argument: value}))
    assert not (tmp_path / "a.png").exists()


def test_names_the_most_probable_of_several_classes(tmp_path: Path) -> None:
    labels = np.arange(24) % 3
    images, shares = grey_images(), np.full((24, 3), 0.2)
    shares[np.arange(24), labels] = 0.6
    changes = {"images": images, "labels": labels, "class_names": ("Ant", "Bee", "Cow")}
    right = drawn(tmp_path / "right.png", probabilities=shares, **changes)
    assert not (right == RED).all(axis=2).any()
    wrong = shares.copy()
    wrong[5] = 0.4, 0.5, 0.1
    assert (drawn(tmp_path / "w.png", probabilities=wrong, **changes) == RED).all(axis=2).any()


def test_grey_images_are_drawn_grey(tmp_path: Path) -> None:
    images = np.full((4, 16, 16, 1), 77, np.uint8)
    pixels = drawn(tmp_path / "a.png", images=images)
    grey = drawn(tmp_path / "b.png", images=np.repeat(images, 3, axis=3))
    np.testing.assert_array_equal(pixels, grey)
    assert (pixels == 77).all(axis=2).sum() > 1000


def test_says_how_to_get_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError) as caught:
        demo_figure(tmp_path / "a.png", **arguments())
    assert str(caught.value) == 'the picture needs matplotlib: pip install "ferrocnn[plot]"'
