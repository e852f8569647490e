"""Each change against NumPy or Pillow, what is drawn against SplitMix64, the same bits always."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import augmentation_reference as reference
from augmentation_reference import EVERYTHING, Draws, pixels
from ferrocnn import Augment, _kernels, get_num_threads, set_num_threads
from test_threads import run

sizes = st.integers(1, 20)
channels = st.integers(1, 9)
keys = st.integers(0, 2**64 - 1)


def smooth(*shape):
    """Pixels without the edges at which a small error of a place would make a large one."""
    waves = [np.sin(np.arange(size) * (0.2 + 0.1 * axis)) for axis, size in enumerate(shape)]
    product = waves[0]
    for wave in waves[1:]:
        product = np.multiply.outer(product, wave)
    return (127.5 + 127.5 * product).astype(np.uint8)


def assert_near(actual, expected, levels):
    np.testing.assert_array_less(np.abs(actual.astype(np.float64) - expected), levels + 1e-6)


@settings(deadline=None, max_examples=60)
@given(sizes, sizes, channels, st.booleans(), st.integers(0, 50), keys)
def test_flip_and_shift_match_numpy(height, width, c, flip, most, key):
    images = pixels(4, height, width, c)
    moved = Augment(flip=flip, shift=most).apply(images, key)
    for index, image in enumerate(images):
        draws = Draws(key, index)
        expected = reference.move(image, flip and draws.flip(), draws.shift(most))
        np.testing.assert_array_equal(moved[index], expected)


@settings(deadline=None, max_examples=60)
@given(sizes, sizes, st.integers(1, 80), st.integers(1, 80), channels)
def test_other_sizes_are_resized_as_pillow_does(height, width, from_height, from_width, c):
    images = pixels(2, from_height, from_width, c)
    out = np.empty((2, height, width, c), np.uint8)
    assert Augment().apply(images, 0, out) is out
    for index, image in enumerate(images):
        whole = (0, 0, from_width, from_height)
        assert_near(out[index], reference.resize(image, whole, height, width), 1)


@settings(deadline=None, max_examples=60)
@given(sizes, sizes, st.integers(2, 50), st.integers(2, 50), channels, st.floats(0.05, 1), keys)
def test_a_crop_is_what_pillow_makes_of_the_box(
    height, width, from_height, from_width, c, area, key
):
    images = pixels(3, from_height, from_width, c)
    plan = Augment(crop=area, flip=True, shift=2)
    out = plan.apply(images, key, np.empty((3, height, width, c), np.uint8))
    for index, image in enumerate(images):
        draws = Draws(key, index)
        box = draws.box(area, from_height, from_width)
        cropped = reference.resize(image, box, height, width)
        assert_near(out[index], reference.move(cropped, draws.flip(), draws.shift(2)), 1)


@settings(deadline=None, max_examples=60)
@given(sizes, sizes, channels, st.floats(1, 180), st.booleans(), st.integers(0, 30), keys)
def test_rotation_matches_numpy(height, width, c, degrees, flip, most, key):
    images = smooth(4, height, width, c)
    turned = Augment(rotate=degrees, flip=flip, shift=most).apply(images, key)
    for index, image in enumerate(images):
        draws = Draws(key, index)
        flipped, shift = flip and draws.flip(), draws.shift(most)
        # Half a level is the rounding.
        expected = reference.rotate(image, flipped, shift, draws.angle(degrees))
        assert_near(turned[index], expected, 0.6)


def test_a_crop_is_turned_after_it_was_resized():
    images = pixels(8, 40, 30, 3)
    out = np.empty((8, 16, 20, 3), np.uint8)
    turned = Augment(crop=0.5, rotate=30, shift=2).apply(images, 5, out.copy())
    cropped = Augment(crop=0.5).apply(images, 5, out.copy())
    np.testing.assert_array_equal(turned, Augment(rotate=30, shift=2).apply(cropped, 5))


def test_a_quarter_turn_is_anticlockwise():
    image = np.zeros((1, 5, 5, 1), np.uint8)
    image[0, 2, 4] = 255  # at the right
    turned = (Augment(rotate=180).apply(image, key)[0, :, :, 0] for key in range(100))
    for key, found in enumerate(turned):
        angle = Draws(key, 0).angle(180)
        if abs(angle - np.pi / 2) < 0.2:
            assert np.unravel_index(found.argmax(), (5, 5)) == (0, 2)  # at the top
            return
    pytest.fail("no quarter turn among the draws")


strengths = st.floats(0, 1)


@settings(deadline=None, max_examples=80)
@given(sizes, sizes, st.sampled_from([1, 3]), strengths, strengths, strengths, keys)
def test_colours_match_float64(height, width, c, brightness, contrast, saturation, key):
    saturation = saturation if c == 3 else 0
    images = pixels(4, height, width, c)
    plan = Augment(brightness=brightness, contrast=contrast, saturation=saturation)
    changed = plan.apply(images, key)
    for index, image in enumerate(images):
        factors = Draws(key, index).factors(brightness, contrast, saturation)
        # Rounded once, of float32.
        assert_near(changed[index], reference.colour(image, *factors), 0.51)


@settings(deadline=None, max_examples=60)
@given(sizes, sizes, channels, st.integers(1, 30), keys)
def test_cutout_is_a_grey_square(height, width, c, side, key):
    images = pixels(4, height, width, c)
    cut = Augment(cutout=side).apply(images, key)
    for index, image in enumerate(images):
        centre = Draws(key, index).centre(height, width)
        np.testing.assert_array_equal(cut[index], reference.cutout(image, side, centre))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 20), sizes, sizes, channels, st.floats(0.01, 10), keys)
def test_mixup_matches_its_targets(count, height, width, c, alpha, key):
    """The targets of one class for each image tell who was mixed with whom, and how much."""
    images = pixels(count, height, width, c)
    mixed, names = images.copy(), np.eye(count, dtype=np.float32)
    shares = Augment(mixup=alpha).mix(mixed, names, key)
    np.testing.assert_array_equal(names, np.eye(count))
    assert shares.dtype == np.float32
    assert shares.shape == (count, count)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    assert ((shares > 0).sum(axis=1) <= 2).all()
    exact = np.tensordot(shares.astype(np.float64), images, axes=1)
    assert_near(mixed, exact, 0.501)


def test_mixup_draws_from_beta_and_nobody_is_partner_twice():
    """Moments of Beta(a, a): mean 1/2, variance 1 / (4 (2 a + 1)); 4000 draws."""
    count, alpha = 50, 0.4
    own = []
    for key in range(80):
        images, names = np.zeros((count, 1, 1, 1), np.uint8), np.eye(count, dtype=np.float32)
        shares = Augment(mixup=alpha).mix(images, names, key)
        others = np.where(np.eye(count, dtype=bool), 0, shares)
        mixed = others.any(axis=1)  # not those that are their own partner
        assert len(set(others[mixed].argmax(axis=1))) == mixed.sum() > count / 2
        own += np.diag(shares)[mixed].tolist()
    assert abs(np.mean(own) - 0.5) < 5 * 0.37 / np.sqrt(len(own))
    assert abs(np.var(own) - 1 / (4 * (2 * alpha + 1))) < 0.01


def test_without_mixup_nothing_is_mixed():
    images, targets = pixels(5, 4, 4, 3), np.eye(5, dtype=np.float32)
    before = images.copy()
    np.testing.assert_array_equal(Augment(flip=True).mix(images, targets, 0), targets)
    np.testing.assert_array_equal(images, before)


def test_nothing_asked_for_changes_nothing():
    images = pixels(3, 7, 9, 3)
    np.testing.assert_array_equal(Augment().apply(images, 1), images)


def test_shifts_and_flips_are_uniform():
    """Pixels that tell their place tell the shift: each of 2 * 5 * 5 happens 1/50 of the time."""
    count, most = 20_000, 2
    places = np.stack(np.mgrid[:9, :9], axis=-1).astype(np.uint8)
    moved = Augment(flip=True, shift=most).apply(np.repeat(places[None], count, axis=0), 7)
    flips = moved[:, 4, 5, 1] < moved[:, 4, 4, 1]
    down, right = 4 - moved[:, 4, 4, 0].astype(int), 4 - moved[:, 4, 4, 1].astype(int)
    counts = np.zeros((2, 5, 5), int)
    np.add.at(counts, (flips.astype(int), down + most, right + most), 1)
    # 400 expected, standard deviation 20.
    assert (abs(counts - count / 50) < 5 * 20).all()


def test_crops_keep_the_area_and_the_aspect_asked_for():
    """A ramp along each axis tells the ends of the crop."""
    ramp = np.stack(np.mgrid[:256, :256], axis=-1).astype(np.uint8)
    out = np.empty((2000, 32, 32, 2), np.uint8)
    crops = Augment(crop=0.25).apply(np.repeat(ramp[None], 2000, axis=0), 11, out).astype(float)
    # From the first pixel's middle to the last one's are 31 of 32 parts; half a level is rounding.
    height = (crops[:, 31, 16, 0] - crops[:, 0, 16, 0]) / 31 * 32 / 256
    width = (crops[:, 16, 31, 1] - crops[:, 16, 0, 1]) / 31 * 32 / 256
    area, aspect = height * width, width / height
    assert area.min() > 0.24
    assert aspect.min() > 3 / 4 - 0.03
    assert aspect.max() < 4 / 3 + 0.03
    shares, _ = np.histogram(area, bins=[0.25, 0.4, 0.55, 0.7, 0.85, 1])
    assert (abs(shares - 400) < 5 * 18 + 30).all()  # the ends lose what rounding takes away
    assert abs(np.log(aspect[area < 0.7]).mean()) < 0.02


def test_an_image_depends_on_its_key_and_index_alone():
    images, others = pixels(6, 12, 10, 3), pixels(6, 12, 10, 3, seed=1)
    whole = EVERYTHING.apply(images, 9)
    np.testing.assert_array_equal(EVERYTHING.apply(images[:3].copy(), 9), whole[:3])
    others[4] = images[4]
    np.testing.assert_array_equal(EVERYTHING.apply(others, 9)[4], whole[4])
    same = EVERYTHING.apply(np.repeat(images[:1], 50, axis=0), 9)
    assert len({image.tobytes() for image in same}) == 50
    keys = {EVERYTHING.apply(images[:1], key).tobytes() for key in [*range(50), 2**64 - 1]}
    assert len(keys) == 51


def test_one_change_leaves_the_draws_of_the_others_alone():
    images = pixels(20, 9, 9, 3)
    flipped = Augment(flip=True).apply(images, 3)
    cut = Augment(flip=True, cutout=3).apply(images, 3)
    assert ((cut == flipped) | (cut == 128)).all()


def test_any_number_of_threads_gives_the_same_bits():
    images, targets = pixels(37, 20, 18, 3), np.eye(37, dtype=np.float32)
    before = get_num_threads()

    def result():
        out = EVERYTHING.apply(images, 5, np.empty((37, 16, 16, 3), np.uint8))
        return EVERYTHING.mix(out, targets, 5).tobytes() + out.tobytes()

    try:
        set_num_threads(1)
        alone = result()
        for threads in (2, 3):
            set_num_threads(threads)
            assert result() == alone
    finally:
        set_num_threads(before)


DIGEST = f"""
import hashlib
import numpy as np
from ferrocnn import Augment, _kernels
plan = Augment.from_dict({EVERYTHING.to_dict()!r})
out = plan.apply(np.random.default_rng(0).integers(0, 256, (9, 20, 18, 3), np.uint8), 5)
targets = plan.mix(out, np.eye(9, dtype=np.float32), 5)
print(_kernels.instruction_set(), hashlib.sha256(out.tobytes() + targets.tobytes()).hexdigest())
"""


def test_any_instruction_set_gives_the_same_bits():
    out = EVERYTHING.apply(pixels(9, 20, 18, 3), 5)
    targets = EVERYTHING.mix(out, np.eye(9, dtype=np.float32), 5)
    expected = hashlib.sha256(out.tobytes() + targets.tobytes()).hexdigest()
    for name in _kernels.instruction_sets():
        assert run(DIGEST, FERROCNN_ISA=name).stdout.split() == [name, expected]


def test_an_empty_batch():
    assert EVERYTHING.apply(pixels(0, 8, 8, 3), 0).shape == (0, 8, 8, 3)
    targets = np.empty((0, 2), np.float32)
    assert EVERYTHING.mix(pixels(0, 8, 8, 3), targets, 0).shape == (0, 2)
