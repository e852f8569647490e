"""`Preprocessing` of awkward files: turned, large, broken, dangerous; and Pillow's warnings."""

import io
import os
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from ferrocnn.pillow import quiet_pillow
from ferrocnn.preprocessing import Preprocessing

ORIENTATION_TAG = 0x0112
# From the EXIF standard: on which side of the scene the first row and the first column lie.
FIRST_ROW_AND_COLUMN = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}
SCENE = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)


def stored_as(scene, orientation):
    """Pixel by pixel, what a camera held that way writes into the file for `scene`."""
    height, width, _ = scene.shape
    row_side, column_side = FIRST_ROW_AND_COLUMN[orientation]
    turned = row_side in ("left", "right")
    rows, columns = (width, height) if turned else (height, width)
    i, j = np.mgrid[:rows, :columns]
    x, y = (i, j) if turned else (j, i)
    if "right" in (row_side, column_side):
        x = width - 1 - x
    if "bottom" in (row_side, column_side):
        y = height - 1 - y
    return scene[y, x]


def save_turned(path, pixels, orientation, **options):
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    Image.fromarray(stored_as(pixels, orientation)).save(path, exif=exif, **options)
    return path


@pytest.mark.parametrize("orientation", FIRST_ROW_AND_COLUMN)
@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_every_orientation_comes_upright(tmp_path, orientation, name):
    options = {"lossless": True, "exact": True} if name == "a.webp" else {}
    path = save_turned(tmp_path / name, SCENE, orientation, **options)
    np.testing.assert_array_equal(Preprocessing((4, 6))(path), SCENE)


@pytest.mark.parametrize("orientation", FIRST_ROW_AND_COLUMN)
@pytest.mark.parametrize("larger", [(1, 1), (7, 7), (32, 32), (60, 2)])
def test_a_turned_jpeg_keeps_detail_of_the_model_size(tmp_path, orientation, larger):
    # Stripes one pixel of the result wide: decoded below that size they are grey, 127 off. The
    # filter itself halves their contrast, 64 off.
    scene = np.zeros((8, 48, 3), np.uint8)
    scene[:, ::2] = 255
    large = scene.repeat(larger[0], axis=0).repeat(larger[1], axis=1)
    path = save_turned(tmp_path / "a.jpg", large, orientation, quality=95)
    assert np.abs(Preprocessing((8, 48))(path).astype(int) - scene).max() < 100


@pytest.mark.parametrize("size", [520, 521, 1033])
def test_a_jpeg_decoded_small_lies_where_the_whole_one_does(tmp_path, size):
    smooth = np.random.default_rng(2).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(smooth).resize((size, size)).save(tmp_path / "a.jpg", quality=95)
    with Image.open(tmp_path / "a.jpg") as image:
        whole = Preprocessing()(image)
        assert image.size == (size, size)  # the caller's image is not decoded small
    assert np.abs(Preprocessing()(tmp_path / "a.jpg").astype(int) - whole).max() <= 4


def entry(kind, count, value):
    """An EXIF directory of one orientation."""
    return b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIII", ORIENTATION_TAG, kind, count, value, 0)


BROKEN_EXIF = {
    "no tiff header": b"nonsense",
    "empty": b"",
    "header only": b"II*\0",
    "directory out of range": b"II*\0\xff\xff\xff\x7f",
    "directory cut short": entry(3, 1, 6)[:17],
    "no such orientation": entry(3, 1, 99),
    "a word as orientation": entry(2, 4, 0x656E6F),
    "value out of range": entry(2, 9000, 0x7FFFFFFF),
}


@pytest.mark.parametrize("block", BROKEN_EXIF.values(), ids=BROKEN_EXIF)
@pytest.mark.parametrize("options", [{}, {"dpi": (72, 72)}])
def test_a_broken_exif_block_does_not_lose_the_picture(tmp_path, block, options):
    # Without a resolution Pillow looks for one in the EXIF block while opening, with one it does
    # not, and fails later.
    picture = Image.fromarray(SCENE)
    picture.save(tmp_path / "plain.jpg")
    picture.save(tmp_path / "broken.jpg", exif=b"Exif\0\0" + block, **options)
    assert block in (tmp_path / "broken.jpg").read_bytes()
    decode = Preprocessing((4, 6)).decode
    with quiet_pillow:
        broken, plain = decode(tmp_path / "broken.jpg"), decode(tmp_path / "plain.jpg")
    np.testing.assert_array_equal(broken, plain)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def encoded(image_format):
    noise = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, image_format)
    return stream.getvalue()


UNREADABLE = {
    "truncated jpeg": (encoded("JPEG")[:-400], "truncated"),
    "truncated png": (encoded("PNG")[:-400], "."),
    "random": (b"\xde\xad\xbe\xef" * 64, "not an image"),
    "bomb": (
        PngImagePlugin._MAGIC
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 1, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b""),
        "bomb",
    ),
    "PostScript": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
        "is a program",
    ),
}


@pytest.mark.parametrize(("content", "reason"), UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_file_is_named_with_the_reason(tmp_path, content, reason):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^image: expected .*a\.jpg: .*{reason}"):
        Preprocessing()(path)
    assert path.read_bytes() == content


def test_an_image_without_pixels():
    with pytest.raises(ValueError, match="without pixels"):
        Preprocessing()(Image.new("RGB", (0, 4)))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="not a regular file"):
        Preprocessing()(tmp_path / "a.jpg")


def test_a_large_image_is_refused_quietly_unless_it_can_be_decoded_small(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for name in ("a.png", "a.jpg"):
        Image.new("RGB", (40, 40), "white").save(tmp_path / name)
        with pytest.warns(Image.DecompressionBombWarning):
            Image.open(tmp_path / name).close()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(ValueError, match=r"40 x 40 pixels.*the limit is 1000"):
            Preprocessing((4, 4))(tmp_path / "a.png")
        assert Preprocessing((4, 4))(tmp_path / "a.jpg").min() > 250
    assert caught == []


def test_warning_filters_survive_calls_that_overlap(monkeypatch):
    """Two threads: the one that starts first ends first, while the other is still reading."""
    entered = {name: threading.Event() for name in "ab"}
    release = {name: threading.Event() for name in "ab"}

    def decode(self, name):
        entered[name].set()
        release[name].wait(10)

    monkeypatch.setattr(Preprocessing, "decode", decode)
    before = list(warnings.filters)
    first, second = (threading.Thread(target=Preprocessing(), args=name) for name in "ab")
    first.start()
    assert entered["a"].wait(10)
    quiet = list(warnings.filters)
    assert quiet != before
    second.start()
    assert entered["b"].wait(10)
    release["a"].set()
    first.join()
    assert list(warnings.filters) == quiet
    release["b"].set()
    second.join()
    assert list(warnings.filters) == before
