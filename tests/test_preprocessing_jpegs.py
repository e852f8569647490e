"""Plain small JPEG files are decoded without Pillow, to its pixels; all others are left to it."""

import os

import numpy as np
import pytest
from PIL import Image

from ferrocnn import _kernels
from ferrocnn.preprocessing import Preprocessing
from image_cases import encoded, picture

SIZE = (64, 64)
SIZES = [(64, 64), (96, 96), (97, 51), (98, 50), (8, 200), (1, 1), (17, 16)]


def scene(size):
    """A picture with the softness of a photograph, of `size` (width, height)."""
    whole = picture(3, (24, 24)).resize((320, 320), Image.Resampling.BICUBIC)
    return whole.crop((0, 0, *size))


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "a.jpg"
        path.write_bytes(content)
        return path

    return write


def decode(path):
    (pixels,) = Preprocessing(SIZE).decode_jpegs([path])
    return pixels


def check_close(pixels, path, preprocessing=None):
    """Where colours are stored at half the size, the last column's may be made up in two ways."""
    difference = np.abs(pixels - (preprocessing or Preprocessing(SIZE)).decode(path).astype(float))
    assert difference.max() <= 9
    assert difference[:, : -difference.shape[1] // 8].max() <= 5
    assert difference.mean() < 0.5


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("mode", "subsampling"), [("RGB", 0), ("RGB", 1), ("RGB", 2), ("L", -1)])
def test_the_pixels_are_those_of_pillow(write, mode, subsampling, size):
    options = {"quality": 90, "subsampling": subsampling, "comment": b"a scene"}
    path = write(encoded(scene(size).convert(mode), "JPEG", **options))
    pixels = decode(path)
    assert pixels.shape == (*SIZE, 3)
    check_close(pixels, path)
    np.testing.assert_array_equal(pixels, Preprocessing(SIZE)(path))


def test_by_way_of_a_stored_size(write):
    path = write(encoded(scene((96, 80)), "JPEG"))
    preprocessing = Preprocessing(SIZE, stored_size=(70, 90))
    (pixels,) = preprocessing.decode_jpegs([path])
    check_close(pixels, path, preprocessing)


def test_real_photographs(photographs):
    paths = sorted(photographs.rglob("*.jpg"))[::400]
    found = Preprocessing(SIZE).decode_jpegs(paths)
    decoded = 0
    for pixels, path in zip(found, paths, strict=True):
        if pixels is not None:
            check_close(pixels, path)
            decoded += 1
    assert decoded > 0.9 * len(paths) > 0


def exif(orientation):
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def segment(marker, data):
    return bytes([0xFF, marker]) + (len(data) + 2).to_bytes(2, "big") + data


def segments(content):
    """The marker and the data of each segment, and what is behind the last: a scan, and the end."""
    found, place = [], 2
    while not found or found[-1][0] != 0xDA:
        length = int.from_bytes(content[place + 2 : place + 4], "big")
        found.append((content[place + 1], content[place + 4 : place + 2 + length]))
        place += 2 + length
    return found, content[place:]


def changed(content, marker, change):
    """`content` with `change` made to the data of the segments of that marker."""
    found, scan = segments(content)
    parts = [segment(m, change(data) if m == marker else data) for m, data in found]
    return content[:2] + b"".join(parts) + scan


def with_a_scan_for_each_colour(size, sampling):
    """Three grey files' scans in one file of colours that are stored at `sampling` of the size."""
    planes = scene(size).convert("YCbCr").split()
    small = [side // step for side, step in zip(size, sampling, strict=True)]
    planes = [planes[0], *(plane.resize(small) for plane in planes[1:])]
    files = [segments(encoded(plane, "JPEG")) for plane in planes]
    tables = [(m, data) for m, data in files[0][0] if m in (0xE0, 0xDB, 0xC4)]
    first = 16 * sampling[0] + sampling[1]
    height, width = (side.to_bytes(2, "big") for side in reversed(size))
    frame = b"\x08" + height + width + bytes([3, 1, first, 0, 2, 0x11, 0, 3, 0x11, 0])
    content = b"\xff\xd8" + b"".join(segment(m, data) for m, data in tables) + segment(0xC0, frame)
    for component, (_, scan) in enumerate(files, 1):
        content += segment(0xDA, bytes([1, component, 0, 0, 63, 0])) + scan[:-2]
    return content + b"\xff\xd9"


PLAIN = encoded(scene((96, 96)), "JPEG")
JFIF = segment(0xE0, segments(PLAIN)[0][0][1])
TURNED = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
RESTARTS = encoded(scene((96, 96)), "JPEG", restart_marker_blocks=6)
MARK = RESTARTS.index(b"\xff\xd0")
SCAN = PLAIN.index(b"\xff\xda")
CMYK = encoded(scene((96, 96)).convert("CMYK"), "JPEG")
UPRIGHT = {
    "CMYK": CMYK,
    "CMYK that says JFIF": CMYK[:2] + JFIF + CMYK[2:],
    "RGB": encoded(scene((96, 96)), "JPEG", keep_rgb=True),
    "RGB that says JFIF": changed(
        changed(PLAIN, 0xC0, lambda data: data[:9] + b"G" + data[10:12] + b"B" + data[13:]),
        0xDA,
        lambda data: data[:3] + b"G" + data[4:5] + b"B" + data[6:],
    ),
    "Adobe's colours": PLAIN[:20] + segment(0xEE, b"Adobe\0\x64\0\0\0\0\0") + PLAIN[20:],
    "of unknown colours": PLAIN[:2] + PLAIN[20:],  # without the segment that says JFIF
    "colours at half the height": changed(
        encoded(scene((96, 96)), "JPEG", subsampling=1),
        0xC0,
        lambda data: data.replace(b"\1\x21\0", b"\1\x12\0"),
    ),
    "a scan for each colour": with_a_scan_for_each_colour((96, 96), (1, 1)),
    "a scan for each colour, of half size": with_a_scan_for_each_colour((96, 96), (2, 2)),
    "progressive": encoded(scene((96, 96)), "JPEG", progressive=True),
    "with restarts": RESTARTS,
    "less data before a restart": RESTARTS[: MARK - 4] + RESTARTS[MARK:],
    "restarts in another order": RESTARTS.replace(b"\xff\xd0", b"\xff\xd1"),
    "a restart that is not announced": PLAIN[: SCAN + 400] + b"\xff\xd0" + PLAIN[SCAN + 400 :],
    "restarts that do not come": PLAIN[:SCAN] + segment(0xDD, b"\0\4") + PLAIN[SCAN:],
    "to be decoded small": encoded(scene((256, 256)), "JPEG"),
    "with something behind it": PLAIN + b"more",
    "two pictures": PLAIN + PLAIN,
    "a PNG": encoded(scene((96, 96)), "PNG"),
    "large": encoded(picture(0, (240, 4000)), "JPEG", quality=100, subsampling=0),
}
SPECIAL = {
    **UPRIGHT,
    "turned": encoded(scene((96, 96)), "JPEG", exif=exif(6)),
    "turned by XMP": encoded(scene((96, 96)), "JPEG", xmp=TURNED),
    "empty": b"",
    "its first bytes": PLAIN[:8],
    "no data": changed(PLAIN, 0xDA, lambda _: b""),
}


@pytest.mark.parametrize("content", SPECIAL.values(), ids=SPECIAL)
def test_what_is_special_is_left_to_pillow(write, content):
    assert decode(write(content)) is None


@pytest.mark.parametrize("content", UPRIGHT.values(), ids=UPRIGHT)
def test_and_pillow_reads_it(write, content):
    assert Preprocessing(SIZE)(write(content)).std() > 1


def test_as_are_what_is_no_file_and_too_many_pixels(write, tmp_path, monkeypatch):
    for path in (tmp_path, tmp_path / "none", "nul\0"):
        assert decode(path) is None
    path = write(PLAIN)
    assert decode(path) is not None
    for limit, allowed in [(96 * 96 - 1, False), (96 * 96, True), (1e30, True), (None, True)]:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert (decode(path) is not None) == allowed


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert decode(tmp_path / "pipe") is None


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_a_file_that_was_cut_off_is_not_made_up(write, subsampling, end):
    content = encoded(scene((40, 40)), "JPEG", subsampling=subsampling)
    assert decode(write(content)) is not None
    for length in range(len(content) - 2):
        path = write(content[:length] + end)
        assert decode(path) is None
        if not end:
            with pytest.raises(ValueError, match="image: expected a readable picture"):
                Preprocessing(SIZE)(path)


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


def test_every_file_needs_a_place():
    with pytest.raises(ValueError, match=r"^out: expected 2 images of 3 channels, got shape"):
        _kernels.decode_jpegs(["a", "b"], 256, None, np.empty((1, *SIZE, 3), np.uint8))
