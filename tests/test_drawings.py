"""The drawn cats and dogs: the same each time, and told apart by shape alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ferrocnn.drawings import CLASS_NAMES, draw, write_drawings

COUNT = 300  # pictures of each class to learn from, and as many others to judge by


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.jpg")
    }


@pytest.fixture(scope="module")
def pictures() -> dict[str, NDArray[np.uint8]]:
    """2 * COUNT pictures of each class, (600, 64, 64, 3)."""
    return {
        kind: np.stack([np.asarray(draw(kind, index)) for index in range(2 * COUNT)])
        for kind in CLASS_NAMES
    }


class TestWriteDrawings:
    def test_files_and_what_they_show(self, tmp_path: Path) -> None:
        folder = write_drawings(tmp_path / "new" / "folder", count_per_class=3, image_size=(48, 80))
        assert folder == tmp_path / "new" / "folder"
        assert sorted(contents(folder)) == [
            f"{kind}/000{index}.jpg" for kind in ("Cat", "Dog") for index in range(3)
        ]
        for path in folder.rglob("*.jpg"):
            with Image.open(path) as image:
                assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (80, 48))
                written = np.asarray(image, dtype=float)
            drawn = draw(path.parent.name, int(path.stem), image_size=(48, 80))
            # JPEG loses up to 8; other pictures are 29 away and more.
            assert np.abs(written - np.asarray(drawn)).mean() < 12

    def test_same_seed_same_bytes(self, tmp_path: Path) -> None:
        first = contents(write_drawings(tmp_path / "a", count_per_class=4, seed=7))
        assert contents(write_drawings(tmp_path / "b", count_per_class=4, seed=7)) == first
        assert len(set(first.values())) == 8
        # More of them begin with the same ones, and replace those of an earlier call.
        assert first.items() < contents(write_drawings(tmp_path / "a", 6, seed=7)).items()

    def test_other_seed_no_common_picture(self, tmp_path: Path) -> None:
        first = contents(write_drawings(tmp_path, count_per_class=4, seed=0))
        second = contents(write_drawings(tmp_path, count_per_class=4, seed=1))
        assert first.keys() == second.keys()
        assert not set(first.values()) & set(second.values())

    @pytest.mark.parametrize("other", ["0001.jpg", "mine.jpg"])
    def test_keeps_away_from_other_pictures(self, tmp_path: Path, other: str) -> None:
        (tmp_path / "Dog").mkdir()
        (tmp_path / "Dog" / other).write_bytes(b"mine")
        with pytest.raises(ValueError, match=rf"^folder: expected no other files .*{other}"):
            write_drawings(tmp_path, count_per_class=1)
        assert contents(tmp_path) == {f"Dog/{other}": b"mine"}

    @pytest.mark.parametrize(
        ("argument", "value", "error"),
        [
            ("count_per_class", 0, ValueError),
            ("count_per_class", 2.5, TypeError),
            ("seed", -1, ValueError),
            ("seed", "0", TypeError),
            ("seed", None, TypeError),
            ("image_size", 64, TypeError),
            ("image_size", (64, 64, 3), TypeError),
            ("image_size", (64, 0), ValueError),
            ("image_size", (64, 6.5), TypeError),
        ],
    )
    def test_bad_arguments(
        self, tmp_path: Path, argument: str, value: Any, error: type[Exception]
    ) -> None:
        with pytest.raises(error, match=rf"^{argument}: expected"):
            write_drawings(tmp_path / "new", **{argument: value})
        assert not (tmp_path / "new").exists()


class TestDraw:
    def test_class_index_and_seed_each_count(self) -> None:
        drawn = {
            draw(kind, index, seed).tobytes()
            for kind in CLASS_NAMES
            for index in range(4)
            for seed in (0, 1, 2**40)
        }
        assert len(drawn) == 2 * 4 * 3

    @pytest.mark.parametrize("kind", CLASS_NAMES)
    @pytest.mark.parametrize("image_size", [(1, 1), (7, 200), (200, 7)])
    def test_any_size(self, kind: str, image_size: tuple[int, int]) -> None:
        assert draw(kind, 0, image_size=image_size).size == image_size[::-1]

    def test_unknown_kind(self) -> None:
        with pytest.raises(ValueError, match=r"^kind: expected one of .*got 'Cow'"):
            draw("Cow", 0)


class TestClasses:
    def test_colours_do_not_tell_them_apart(self, pictures: dict[str, NDArray[np.uint8]]) -> None:
        """A linear model of mean colour and contrast stays near chance on other pictures."""

        def features(part: slice) -> NDArray[np.float64]:
            both = np.concatenate([pictures[kind][part] for kind in CLASS_NAMES])
            pixels = both.reshape(2 * COUNT, -1, 3) / 255
            return np.hstack([pixels.mean(1), pixels.std(1), np.ones((2 * COUNT, 1))])

        signs = np.repeat([-1.0, 1.0], COUNT)
        weights = np.linalg.lstsq(features(slice(COUNT)), signs, rcond=None)[0]
        accuracy = np.mean(np.sign(features(slice(COUNT, None)) @ weights) == signs)
        assert accuracy < 0.6

    def test_outlines_do(self, pictures: dict[str, NDArray[np.uint8]]) -> None:
        """The mean outline of each class names four of five other pictures rightly."""

        def outlines(kind: str) -> NDArray[np.float64]:
            down, across = np.gradient(pictures[kind].mean(axis=3), axis=(1, 2))
            edges = np.hypot(down, across).reshape(2 * COUNT, -1)
            unit: NDArray[np.float64] = edges / np.linalg.norm(edges, axis=1, keepdims=True)
            return unit

        cats, dogs = (outlines(kind) for kind in CLASS_NAMES)
        cat, dog = cats[:COUNT].mean(axis=0), dogs[:COUNT].mean(axis=0)
        border = (cat + dog) @ (cat - dog) / 2
        right = [cats[COUNT:] @ (cat - dog) > border, dogs[COUNT:] @ (cat - dog) < border]
        assert np.mean(right) > 0.8

    @pytest.mark.parametrize("kind", CLASS_NAMES)
    def test_pictures_vary(self, pictures: dict[str, NDArray[np.uint8]], kind: str) -> None:
        images = pictures[kind].astype(np.float64)
        assert (images.mean(axis=(1, 2)).std(axis=0) > 15).all()  # the mean colour
        assert images.std(axis=0).min() > 20  # every pixel, of 0..255
