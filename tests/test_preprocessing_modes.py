"""`Preprocessing` of every colour mode: transparency over white, 16 bits scaled to 8."""

import numpy as np
import pytest
from PIL import Image

from ferrocnn.preprocessing import Preprocessing


def one_colour(image):
    """The colour of the single-coloured result for `image`."""
    pixels = Preprocessing((3, 5))(image)
    assert pixels.shape == (3, 5, 3)
    assert (pixels == pixels[0, 0]).all()
    return tuple(int(value) for value in pixels[0, 0])


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("1", 0, (0, 0, 0)),
        ("L", 77, (77, 77, 77)),
        ("LA", (100, 51), (224, 224, 224)),  # 0.2 * 100 + 0.8 * 255
        ("RGB", (1, 2, 3), (1, 2, 3)),
        ("RGBA", (200, 0, 100, 51), (244, 204, 224)),
        ("RGBA", (9, 9, 9, 0), (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("CMYK", (0, 0, 0, 255), (0, 0, 0)),
        ("YCbCr", (100, 128, 128), (100, 100, 100)),
        ("HSV", (0, 255, 255), (255, 0, 0)),
        ("I;16", 100 * 257, (100, 100, 100)),
        ("I;16", 65535, (255, 255, 255)),
        ("I;16B", 100 * 257, (100, 100, 100)),
        ("I", 100 * 257, (100, 100, 100)),
        ("F", 0.2, (51, 51, 51)),
        ("F", 51.0, (51, 51, 51)),
    ],
)
def test_every_mode_becomes_rgb(mode, value, expected):
    assert one_colour(Image.new(mode, (10, 8), value)) == expected


@pytest.mark.parametrize("mode", ["RGBa", "La", "PA"])
def test_rare_modes_with_transparency(mode):
    if mode == "PA":
        image = Image.new("PA", (4, 4), (1, 51))
        image.putpalette([0, 0, 0, 100, 100, 100])
    else:
        straight = Image.new(mode.upper(), (4, 4), (*(100,) * (len(mode) - 1), 51))
        image = straight.convert(mode)
    assert image.mode == mode
    assert one_colour(image) == pytest.approx((224, 224, 224), abs=2)  # premultiplied: rounded


@pytest.mark.parametrize("transparency", [None, 0, b"\x00\xff", b"\x33\xff"])
def test_a_palette_in_a_file(tmp_path, transparency):
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 100, 10, 20, 30])
    image.putpixel((1, 0), 1)
    options = {} if transparency is None else {"transparency": transparency}
    image.save(tmp_path / "a.png", **options)
    with Image.open(tmp_path / "a.png") as saved:
        assert saved.mode == "P"
    first = {None: (200, 0, 100), b"\x33\xff": (244, 204, 224)}.get(transparency, (255, 255, 255))
    assert Preprocessing((1, 2))(tmp_path / "a.png").tolist() == [[list(first), [10, 20, 30]]]


@pytest.mark.parametrize(("mode", "value"), [("L", 40), ("RGB", (1, 2, 3)), ("1", 0)])
def test_a_transparent_colour_is_white(tmp_path, mode, value):
    image = Image.new(mode, (4, 4), value)
    image.save(tmp_path / "plain.png")
    image.save(tmp_path / "clear.png", transparency=value)
    assert one_colour(tmp_path / "plain.png") != (255, 255, 255)
    assert one_colour(tmp_path / "clear.png") == (255, 255, 255)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_files_are_scaled(tmp_path, name):
    values = np.array([[0, 255, 257, 32768, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / name)
    pixels = Preprocessing((1, 5))(tmp_path / name)
    assert pixels[0, :, 0].tolist() == [0, 1, 1, 128, 255]


@pytest.mark.parametrize(
    "values", [np.int32([[-1, 5]]), np.int32([[0, 70000]]), np.float32([[0, np.nan]])]
)
def test_grey_of_unknown_range_is_refused(values):
    with pytest.raises(ValueError, match="grey values from"):
        Preprocessing()(Image.fromarray(values))
