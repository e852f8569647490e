"""What `Augment` accepts, what it says of the rest, and the picture of it."""

import json

import numpy as np
import pytest
from PIL import Image

import augmentation_reference as reference
from augmentation_reference import EVERYTHING, Draws, pixels
from ferrocnn import Augment, _kernels


def test_fields_survive_json():
    for plan in (Augment(), EVERYTHING, Augment(flip=np.True_, shift=np.int64(3))):
        assert Augment.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    assert Augment.from_dict({"flip": True}) == Augment(flip=True)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("flip", 1, TypeError),
        ("flip", "yes", TypeError),
        ("shift", -1, ValueError),
        ("shift", 1.5, TypeError),
        ("shift", 2**31, ValueError),
        ("crop", 0, ValueError),
        ("crop", 1.1, ValueError),
        ("crop", float("nan"), ValueError),
        ("crop", None, TypeError),
        ("rotate", -1, ValueError),
        ("rotate", 181, ValueError),
        ("brightness", 1.5, ValueError),
        ("contrast", -0.1, ValueError),
        ("saturation", "0.1", TypeError),
        ("cutout", -1, ValueError),
        ("cutout", True, TypeError),
        ("mixup", -0.5, ValueError),
        ("mixup", float("inf"), ValueError),
    ],
)
def test_wrong_fields_are_named(name, value, error):
    with pytest.raises(error, match=rf"^{name}: expected"):
        Augment(**{name: value})


def test_unknown_fields_list_the_known_ones():
    with pytest.raises(ValueError, match=r"^augment: expected some of flip, shift, .*got 'flop'"):
        Augment.from_dict({"flop": True})
    with pytest.raises(TypeError, match=r"^augment: expected fields"):
        Augment.from_dict(["flip"])


@pytest.mark.parametrize(
    ("plan", "images", "named"),
    [
        (Augment(), pixels(2, 4, 4, 3) / np.float32(255), "images: expected a uint8 array"),
        (Augment(), pixels(4, 4, 3), "images: expected a uint8 array"),
        (Augment(), [[[[1]]]], "images: expected a uint8 array"),
        (Augment(), pixels(2, 4, 8, 3)[:, :, ::2], "images: expected a C-contiguous"),
        (Augment(), pixels(2, 0, 4, 3), "images: expected at least 1"),
        (Augment(saturation=0.1), pixels(2, 4, 4, 1), "saturation: expected images of"),
        (Augment(brightness=0.1), pixels(2, 4, 4, 4), "brightness: expected images of"),
        (Augment(contrast=0.1), pixels(2, 4, 4, 2), "contrast: expected images of"),
    ],
)
def test_images_that_do_not_serve_are_named(plan, images, named):
    with pytest.raises((ValueError, TypeError), match=f"^{named}"):
        plan.apply(images, 0)


def test_float_images_are_told_what_to_do():
    with pytest.raises(TypeError, match=r"got float64; augmentation works on bytes, 0 to 255"):
        Augment().apply(np.zeros((1, 2, 2, 3)), 0)


@pytest.mark.parametrize(
    "out",
    [
        np.empty((2, 4, 4, 3)),
        np.empty((3, 4, 4, 3), np.uint8),
        np.empty((2, 4, 4, 1), np.uint8),
        np.empty((2, 0, 4, 3), np.uint8),
        np.empty((2, 4, 8, 3), np.uint8)[:, :, ::2],
    ],
)
def test_an_output_that_does_not_fit_is_named(out):
    with pytest.raises((ValueError, TypeError), match=r"^out: expected"):
        Augment().apply(pixels(2, 4, 4, 3), 0, out)


def test_images_are_not_their_own_output():
    images = pixels(2, 4, 4, 3)
    with pytest.raises(ValueError, match=r"^out: "):
        Augment(flip=True).apply(images, 0, images)


@pytest.mark.parametrize(
    ("key", "error"), [(-1, ValueError), (2**64, ValueError), (0.5, TypeError)]
)
def test_a_wrong_key_is_named(key, error):
    images, targets = pixels(2, 4, 4, 3), np.eye(2, dtype=np.float32)
    with pytest.raises(error, match=r"^key: expected"):
        EVERYTHING.apply(images, key)
    with pytest.raises(error, match=r"^key: expected"):
        EVERYTHING.mix(images, targets, key)


@pytest.mark.parametrize(
    "targets", [np.eye(2), np.eye(3, dtype=np.float32), np.zeros(2, np.float32), [[1.0], [0.0]]]
)
def test_wrong_targets_are_named(targets):
    images = pixels(2, 4, 4, 3)
    before = images.copy()
    with pytest.raises((ValueError, TypeError), match=r"^targets: expected"):
        EVERYTHING.mix(images, targets, 0)
    np.testing.assert_array_equal(images, before)


def test_images_that_cannot_be_mixed_in_place_are_named():
    targets = np.eye(2, dtype=np.float32)
    with pytest.raises(ValueError, match=r"^images: expected a C-contiguous"):
        EVERYTHING.mix(pixels(2, 4, 8, 3)[:, :, ::2], targets, 0)
    fixed = pixels(2, 4, 4, 3)
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match=r"^images: "):
        EVERYTHING.mix(fixed, targets, 0)


@pytest.mark.parametrize("partner", [-1, 2])
def test_the_kernel_refuses_partners_outside_the_batch(partner):
    partners, shares = np.array([0, partner]), np.ones(2, np.float32)
    with pytest.raises(ValueError, match=r"^partners: expected indices from 0 to below 2"):
        _kernels.mix(pixels(2, 4, 4, 3), partners, shares)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0, 1e30])
def test_the_kernel_survives_numbers_that_make_no_sense(value):
    out = np.empty((2, 5, 3, 3), np.uint8)
    for size in (1, 6):
        images = pixels(2, size, size, 3)
        _kernels.augment(images, 0, True, 2**32 - 1, 1, value, 0, 0, 0, 2**32 - 1, out)
        _kernels.augment(images, 0, True, 2**32 - 1, value, 0, value, value, value, 0, out)
    _kernels.mix(out, np.array([1, 0]), np.full(2, value, np.float32))


class TestPicture:
    @pytest.mark.parametrize("c", [1, 3])
    def test_four_images_and_four_changes_of_each(self, tmp_path, c):
        images = pixels(10, 20, 30, c)
        path = Augment(flip=True, shift=4).picture(images, tmp_path / "sheet.png", key=2)
        assert path == tmp_path / "sheet.png"
        with Image.open(path) as picture:
            assert (picture.format, picture.mode) == ("PNG", "L" if c == 1 else "RGB")
            assert picture.size == (5 * 120 + 4 * 4, 4 * 80 + 3 * 4)  # drawn four times larger
            sheet = np.asarray(picture).reshape(picture.size[1], picture.size[0], c)
        for row, index in enumerate([0, 3, 6, 9]):
            cells = sheet[row * 84 :][:80][::4, ::4]
            np.testing.assert_array_equal(cells[:, :30], images[index])
            for column in range(1, 5):
                draws = Draws(2, 4 * row + column - 1)
                expected = reference.move(images[index], draws.flip(), draws.shift(4))
                np.testing.assert_array_equal(cells[:, 31 * column :][:, :30], expected)

    def test_other_sizes_and_everything_else(self, tmp_path):
        path = EVERYTHING.picture(pixels(1, 20, 30, 3), tmp_path / "a.png", output_size=(200, 150))
        with Image.open(path) as picture:
            assert picture.size == (5 * 150 + 4 * 4, 4 * 200 + 3 * 4)

    @pytest.mark.parametrize(
        ("images", "options", "named"),
        [
            (pixels(0, 4, 4, 3), {}, "images"),
            (pixels(2, 4, 4, 2), {}, "images"),
            (np.zeros((2, 4, 4, 3)), {}, "images"),
            (pixels(2, 4, 4, 3), {"output_size": 4}, "output_size"),
            (pixels(2, 4, 4, 3), {"output_size": (4, 0)}, "output_size"),
            (pixels(2, 4, 4, 3), {"key": -1}, "key"),
        ],
    )
    def test_bad_arguments(self, tmp_path, images, options, named):
        with pytest.raises((ValueError, TypeError), match=rf"^{named}: expected"):
            Augment(flip=True).picture(images, tmp_path / "a.png", **options)
        assert not list(tmp_path.iterdir())
