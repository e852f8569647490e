"""Plain small JPEG files are decoded without Pillow, to its pixels; all others are left to it."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferrocnn.preprocessing import Preprocessing
from image_cases import encoded, picture

PHOTOGRAPHS = Path(__file__).resolve().parents[2] / "shared" / "data" / "PetImages"
SIZE = (64, 64)


def scene(size):
    """A picture with the softness of a photograph, of `size` (width, height)."""
    whole = picture(3, (24, 24)).resize((320, 320), Image.Resampling.BICUBIC)
    return whole.crop((0, 0, *size))


def check_close(pixels, path, preprocessing):
    """Where colours are stored at half the size, the last column's may be made up in two ways."""
    difference = np.abs(pixels - preprocessing.decode(path).astype(float))
    assert difference.max() <= 9
    assert difference[:, : -difference.shape[1] // 8].max() <= 5
    assert difference.mean() < 0.5


SIZES = [(64, 64), (96, 96), (97, 51), (8, 200), (1, 1), (17, 16)]
WAYS = [{}, {"progressive": True}, {"restart_marker_blocks": 3}]


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "a.jpg"
        path.write_bytes(content)
        return path

    return write


def decode(path, **changes):
    (pixels,) = Preprocessing(**{"image_size": SIZE, **changes}).decode_jpegs([path])
    return pixels


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_pixels_are_those_of_pillow(write, mode, subsampling, way, size):
    picture = scene(size).convert(mode)
    path = write(encoded(picture, "JPEG", quality=90, subsampling=subsampling, **way))
    pixels = decode(path)
    assert pixels.shape == (*SIZE, 3)
    check_close(pixels, path, Preprocessing(SIZE))
    np.testing.assert_array_equal(pixels, Preprocessing(SIZE)(path))


def test_by_way_of_a_stored_size(write):
    path = write(encoded(scene((96, 80)), "JPEG"))
    preprocessing = Preprocessing(SIZE, stored_size=(70, 90))
    (pixels,) = preprocessing.decode_jpegs([path])
    check_close(pixels, path, preprocessing)


def test_real_photographs():
    if not PHOTOGRAPHS.is_dir():
        pytest.skip(f"no photographs in {PHOTOGRAPHS}")
    paths = sorted(PHOTOGRAPHS.rglob("*.jpg"))[::400]
    found = Preprocessing(SIZE).decode_jpegs(paths)
    assert len(found) >= 40
    for path, pixels in zip(paths, found, strict=True):
        check_close(pixels, path, Preprocessing(SIZE))


def exif(orientation):
    block = Image.Exif()
    block[0x0112] = orientation
    return block


PLAIN = encoded(scene((96, 96)), "JPEG")
TURNED = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
SPECIAL = {
    "turned": encoded(scene((96, 96)), "JPEG", exif=exif(6)),
    "turned by XMP": encoded(scene((96, 96)), "JPEG", xmp=TURNED),
    "CMYK": encoded(scene((96, 96)).convert("CMYK"), "JPEG"),
    "RGB": encoded(scene((96, 96)), "JPEG", keep_rgb=True),
    "of unknown colours": PLAIN[:2] + PLAIN[20:],  # without the segment that says JFIF
    "to be decoded small": encoded(scene((256, 256)), "JPEG"),
    "with something behind it": PLAIN + b"more",
    "a PNG": encoded(scene((96, 96)), "PNG"),
    "large": encoded(picture(0, (240, 4000)), "JPEG", quality=100, subsampling=0),
    "empty": b"",
    "its first bytes": PLAIN[:8],
}


@pytest.mark.parametrize("content", SPECIAL.values(), ids=SPECIAL)
def test_what_is_special_is_left_to_pillow(write, content):
    assert decode(write(content)) is None


def test_as_are_what_is_no_file_and_too_many_pixels(write, tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "none", tmp_path / "pipe", "nul\0"):
        assert decode(path) is None
    path = write(PLAIN)
    assert decode(path) is not None
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 96 * 96 - 1)
    assert decode(path) is None
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert decode(path) is not None


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_file_that_was_cut_off_is_refused_wherever_that_was(write, options):
    content = encoded(scene((40, 40)), "JPEG", **options)
    assert decode(write(content)) is not None
    for length in range(len(content)):
        with pytest.raises(ValueError, match="image: expected a readable picture"):
            Preprocessing(SIZE)(write(content[:length]))


def test_broken_content_gives_pixels_or_a_reason(write):
    random = np.random.default_rng(0)
    outcomes = []
    for _ in range(300):
        content = np.frombuffer(PLAIN, np.uint8).copy()
        content[random.integers(2, len(content) - 2, 4)] = random.integers(0, 256, 4)
        path = write(content.tobytes())
        try:
            outcomes.append(Preprocessing(SIZE)(path).shape == (*SIZE, 3))
        except ValueError as error:
            outcomes.append(str(path) in str(error))
    assert all(outcomes)
