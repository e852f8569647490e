"""One picture of any kind becomes the pixels that a model takes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ferrocnn.preprocessing import Preprocessing, resize

Pixels = NDArray[np.uint8]
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
ORIENTATION = 0x0112


def random_pixels(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def read(path: Path, image: Image.Image, **options: Any) -> Pixels:
    """`image` saved to `path`, and read at its own size."""
    image.save(path, **options)
    return Preprocessing((image.height, image.width))(path)


def triangle_weights(old: int, new: int) -> NDArray[np.float64]:
    """Row i: how an output sample i weighs the inputs, by a triangle as wide as the shrinking."""
    scale = old / new
    centres = (np.arange(new) + 0.5) * scale
    distance = np.abs(np.arange(old) + 0.5 - centres[:, None]) / max(scale, 1)
    weights: NDArray[np.float64] = np.clip(1 - distance, 0, None)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


class TestPixels:
    def test_own_size_changes_nothing(self, tmp_path: Path) -> None:
        pixels = random_pixels(6, 10)
        result = read(tmp_path / "a.png", Image.fromarray(pixels))
        assert result.dtype == np.uint8
        assert result.flags.c_contiguous
        assert result.flags.writeable
        np.testing.assert_array_equal(result, pixels)

    @pytest.mark.parametrize("size", [(8, 8), (5, 17), (60, 40)])
    def test_resize_is_a_stretch_with_a_triangle_filter(self, size: tuple[int, int]) -> None:
        pixels = random_pixels(40, 30)
        result = Preprocessing(size)(Image.fromarray(pixels))
        expected = np.einsum(
            "yi,xj,ijc->yxc", triangle_weights(40, size[0]), triangle_weights(30, size[1]), pixels
        )
        assert result.shape == (*size, 3)
        assert np.abs(result - expected).max() <= 0.5001  # the nearest byte, of float32 sums

    @pytest.mark.parametrize("box", [(0, 0, 29.4, 39.7), (3.2, 0.5, 17.0, 33.3), (4, 5, 5, 6)])
    @pytest.mark.parametrize("size", [(8, 8), (40, 30), (60, 41)])
    def test_part_is_resized_as_pillow_does(
        self, size: tuple[int, int], box: tuple[float, float, float, float]
    ) -> None:
        pixels = random_pixels(40, 30)
        image = Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR, box)
        difference = np.asarray(image).astype(int) - resize(pixels, size, box)
        assert np.abs(difference).max() <= 1  # Pillow rounds after each axis

    @pytest.mark.parametrize(
        "box",
        [(0, 0, 30.1, 40), (-0.1, 0, 30, 40), (0, 7, 30, 7), (0, 9, 30, 8), (0, 0, 30, np.nan)],
    )
    def test_part_that_is_none_is_refused(self, box: tuple[float, float, float, float]) -> None:
        with pytest.raises(ValueError, match="region: expected a part of the image, not empty"):
            resize(random_pixels(40, 30), (8, 8), box)

    def test_stored_size_comes_first(self) -> None:
        pixels = random_pixels(40, 30)
        stored = Preprocessing((12, 16))(Image.fromarray(pixels))
        result = Preprocessing((30, 20), stored_size=(12, 16))(Image.fromarray(pixels))
        expected = Preprocessing((30, 20))(Image.fromarray(stored))
        np.testing.assert_array_equal(result, expected)
        assert Preprocessing((12, 16)).resized((30, 20)) == Preprocessing(
            (30, 20), stored_size=(12, 16)
        )

    def test_large_jpeg_is_about_the_full_decode(self, tmp_path: Path) -> None:
        smooth = Image.fromarray(random_pixels(9, 7)).resize((700, 900), Image.Resampling.BICUBIC)
        smooth.save(tmp_path / "a.jpg", quality=95)
        prepare = Preprocessing((48, 64))
        with Image.open(tmp_path / "a.jpg") as whole:
            expected = prepare(whole)
        difference = np.abs(prepare(tmp_path / "a.jpg").astype(int) - expected)
        assert difference.mean() < 0.5
        assert difference.max() < 8

    def test_pillow_image_is_not_changed(self) -> None:
        image = Image.new("RGBA", (9, 5), (*RED, 128))
        before = image.tobytes()
        Preprocessing((4, 4))(image)
        assert (image.mode, image.size, image.tobytes()) == ("RGBA", (9, 5), before)


class TestModes:
    def test_grey(self, tmp_path: Path) -> None:
        grey = random_pixels(5, 7)[..., 0]
        result = read(tmp_path / "a.png", Image.fromarray(grey))
        np.testing.assert_array_equal(result, np.repeat(grey[..., None], 3, axis=2))

    def test_cmyk_jpeg(self, tmp_path: Path) -> None:
        ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta and yellow make red
        result = read(tmp_path / "a.jpg", ink, quality=95)
        assert np.abs(result.astype(int) - RED).max() <= 6

    @pytest.mark.parametrize(("alpha", "expected"), [(255, 0), (0, 255), (51, 204)])
    def test_transparency_is_laid_over_white(
        self, tmp_path: Path, alpha: int, expected: int
    ) -> None:
        result = read(tmp_path / "a.png", Image.new("RGBA", (3, 3), (255, 0, 0, alpha)))
        assert np.abs(result.astype(int) - (255, expected, expected)).max() <= 1

    def test_transparent_grey(self, tmp_path: Path) -> None:
        result = read(tmp_path / "a.png", Image.new("LA", (3, 3), (0, 0)))
        assert (result == 255).all()

    def test_palette_with_a_transparent_entry(self, tmp_path: Path) -> None:
        image = Image.new("P", (3, 1))
        image.putpalette([*RED, *GREEN, *BLUE])
        image.putdata([0, 1, 2])
        assert read(tmp_path / "a.png", image).tolist() == [[[*RED], [*GREEN], [*BLUE]]]
        transparent = read(tmp_path / "b.png", image, transparency=1)
        assert transparent.tolist() == [[[*RED], [*WHITE], [*BLUE]]]

    def test_one_bit(self, tmp_path: Path) -> None:
        bits = np.array([[True, False], [False, False]])
        result = read(tmp_path / "a.png", Image.fromarray(bits))
        np.testing.assert_array_equal(result[..., 1], 255 * bits)

    def test_sixteen_bits_are_scaled_not_clipped(self, tmp_path: Path) -> None:
        values = np.array([[0, 1000, 32768], [40000, 65000, 65535]], dtype=np.uint16)
        for name in ("a.png", "a.tif"):
            result = read(tmp_path / name, Image.fromarray(values))
            np.testing.assert_array_equal(result[..., 0], np.rint(values / 257))

    def test_animation_gives_its_first_frame(self, tmp_path: Path) -> None:
        first, second = Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), BLUE)
        for name in ("a.gif", "a.webp"):
            result = read(
                tmp_path / name, first, save_all=True, append_images=[second], lossless=True
            )
            assert np.abs(result.astype(int) - RED).max() <= 2


# What lies in the file, by the EXIF standard's words for row 0 and column 0 of it.
STORED: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda upright: upright,  # top, left
    2: lambda upright: upright[:, ::-1],  # top, right
    3: lambda upright: upright[::-1, ::-1],  # bottom, right
    4: lambda upright: upright[::-1],  # bottom, left
    5: lambda upright: upright.swapaxes(0, 1),  # left, top
    6: lambda upright: upright[:, ::-1].swapaxes(0, 1),  # right, top
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda upright: upright[::-1].swapaxes(0, 1),  # left, bottom
}


def exif(orientation: int) -> Image.Exif:
    data = Image.Exif()
    data[ORIENTATION] = orientation
    return data


class TestExif:
    @pytest.mark.parametrize("orientation", STORED)
    def test_all_orientations(self, tmp_path: Path, orientation: int) -> None:
        upright = random_pixels(6, 10)
        stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
        stored.save(tmp_path / "a.png", exif=exif(orientation))
        np.testing.assert_array_equal(Preprocessing((6, 10))(tmp_path / "a.png"), upright)

    @pytest.mark.parametrize("orientation", STORED)
    def test_all_orientations_of_a_large_jpeg(self, tmp_path: Path, orientation: int) -> None:
        corners = np.array([[RED, GREEN], [BLUE, WHITE]], dtype=np.uint8)
        upright = corners.repeat(200, axis=0).repeat(300, axis=1)
        stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
        stored.save(tmp_path / "a.jpg", exif=exif(orientation), quality=95)
        result = Preprocessing((20, 36))(tmp_path / "a.jpg")
        assert np.abs(result[5::10, 9::18].astype(int) - corners).max() <= 6

    def test_can_be_ignored(self, tmp_path: Path) -> None:
        pixels = random_pixels(6, 10)
        Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif(6))
        prepare = Preprocessing((6, 10), exif_orientation=False)
        np.testing.assert_array_equal(prepare(tmp_path / "a.png"), pixels)

    @pytest.mark.parametrize(
        "block",
        [
            b"Exif\0\0",
            b"Exif\0\0no TIFF header at all",
            b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12",  # ends within its only entry
            b"Exif\0\0MM\0*\xff\xff\xff\xff",  # points far behind its end
            b"Exif\0\0" + exif(9).tobytes()[6:],  # an orientation that does not exist
        ],
    )
    def test_broken_block_does_not_cost_the_picture(self, tmp_path: Path, block: bytes) -> None:
        image = Image.new("RGB", (16, 8), RED)
        result = read(tmp_path / "a.jpg", image, exif=block, quality=95)
        assert np.abs(result.astype(int) - RED).max() <= 6


class TestErrors:
    def test_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            Preprocessing()(tmp_path / "none.jpg")

    def test_what_is_no_picture(self, tmp_path: Path) -> None:
        (tmp_path / "text.jpg").write_text("hello")
        (tmp_path / "empty.jpg").touch()
        for name, reason in (("text.jpg", "not an image"), ("empty.jpg", "zero-length")):
            with pytest.raises(ValueError, match=rf"^image: expected .*{name}.*{reason}"):
                Preprocessing()(tmp_path / name)
        with pytest.raises(ValueError, match="not a regular file"):
            Preprocessing()(tmp_path)

    def test_too_many_pixels(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        Image.new("RGB", (11, 10)).save(tmp_path / "a.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        with pytest.raises(ValueError, match="11 x 10 pixels may be a decompression bomb"):
            Preprocessing()(tmp_path / "a.png")

    def test_array(self) -> None:
        with pytest.raises(TypeError, match=r"^image: expected a path or a Pillow image, got nda"):
            Preprocessing()(random_pixels(4, 4))  # type: ignore[arg-type]


class TestFields:
    def test_round_trip_through_json(self) -> None:
        for prepare in (
            Preprocessing(),
            Preprocessing((32, 48), exif_orientation=False, stored_size=(48, 72)),
        ):
            values = json.loads(json.dumps(prepare.to_dict()))
            assert Preprocessing.from_dict(values) == prepare

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("image_size", [0, 64]),
            ("image_size", [64]),
            ("image_size", 64),
            ("image_size", ["64", 64]),
            ("image_size", [64.5, 64]),
            ("mode", "L"),
            ("resample", "lanczos"),
            ("fit", "crop"),
            ("exif_orientation", 1),
            ("scale", "-1..1"),
            ("scale", None),
        ],
    )
    def test_value_that_cannot_be_honoured(self, name: str, value: object) -> None:
        with pytest.raises(ValueError, match=rf"{name}: expected"):
            Preprocessing.from_dict(Preprocessing().to_dict() | {name: value})

    @pytest.mark.parametrize("size", [(0, 4), (4,), "4", (4.5, 4)])
    def test_stored_size_that_is_none(self, size: object) -> None:
        with pytest.raises((ValueError, TypeError), match="stored_size: expected"):
            Preprocessing(stored_size=size)  # type: ignore[arg-type]

    def test_a_record_without_stored_size_is_an_older_one(self) -> None:
        values = Preprocessing((5, 6)).to_dict()
        assert values.pop("stored_size") is None
        assert Preprocessing.from_dict(values) == Preprocessing((5, 6))

    def test_missing_and_unknown_keys(self) -> None:
        values = Preprocessing().to_dict()
        without_mode = {key: value for key, value in values.items() if key != "mode"}
        for wrong in (without_mode, values | {"gamma": 2}, {}, "RGB"):
            with pytest.raises(ValueError, match="preprocessing: expected the keys"):
                Preprocessing.from_dict(wrong)  # type: ignore[arg-type]
