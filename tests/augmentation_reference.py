"""What `Augment` should draw and do: SplitMix64 and NumPy in float64, one image at a time."""

import numpy as np
from PIL import Image

from ferrocnn import Augment

MASK = 2**64 - 1
STEP = 0x9E3779B97F4A7C15

EVERYTHING = Augment(
    flip=True,
    shift=3,
    crop=0.4,
    rotate=20,
    brightness=0.3,
    contrast=0.4,
    saturation=0.5,
    cutout=5,
    mixup=0.4,
)


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def bits(key, counter):
    z = (key + (counter + 1) * STEP) & MASK
    return scramble(z)


def scramble(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


class Draws:
    """What is drawn for the image of this index."""

    def __init__(self, key, index):
        self.key = scramble(bits(key, index) ^ STEP)

    def unit(self, counter):
        return (bits(self.key, counter) >> 40) / 2**24

    def spread(self, counter):
        return 2 * self.unit(counter) - 1

    def below(self, counter, count):
        return bits(self.key, counter) * count >> 64

    def flip(self):
        return bits(self.key, 0) >= 2**63

    def shift(self, most):
        """(down, right)."""
        return tuple(self.below(counter, 2 * most + 1) - most for counter in (1, 2))

    def box(self, smallest, height, width):
        """(left, top, right, bottom), as Pillow has it."""
        area = 1 - (1 - smallest) * self.unit(3)
        aspect = min(4 / 3, 1 / area) ** self.spread(4)
        h, w = height * np.sqrt(area / aspect), width * np.sqrt(area * aspect)
        h, w = min(h, height), min(w, width)
        top, left = self.unit(5) * (height - h), self.unit(6) * (width - w)
        return left, top, min(left + w, width), min(top + h, height)

    def angle(self, most):
        return np.radians(most * self.spread(7))

    def factors(self, brightness, contrast, saturation):
        ranges = {8: brightness, 9: contrast, 10: saturation}
        return [1 + most * self.spread(counter) for counter, most in ranges.items()]

    def centre(self, height, width):
        return self.below(11, height), self.below(12, width)


def move(image, flip, shift):
    """The flip, then the shift by (down, right)."""
    height, width, _ = image.shape
    (down, right), most = shift, max(map(abs, shift))
    image = image[:, ::-1] if flip else image
    padded = np.pad(image, [(most, most), (most, most), (0, 0)], mode="reflect")
    return padded[most - down :, most - right :][:height, :width]


def resize(image, box, height, width):
    """Channel by channel, as Pillow does it."""
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(image, 2, 0)]
    resized = [plane.resize((width, height), Image.Resampling.BILINEAR, box) for plane in planes]
    return np.stack([np.asarray(plane) for plane in resized], axis=2)


def rotate(image, flip, shift, angle):
    """The flip, then the shift by (down, right), then a turn anticlockwise about the centre.

    The border of the image reflects, wherever it has moved to. Float64.
    """
    height, width, _ = image.shape
    image = image[:, ::-1] if flip else image
    most = height + width + max(map(abs, shift))
    sides = [(most, most), (most, most), (0, 0)]
    padded = np.pad(image.astype(np.float64), sides, mode="reflect")
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    places = np.moveaxis(np.mgrid[:height, :width], 0, -1) - middle
    # Rows run downwards, so that anticlockwise as seen is clockwise in (row, column).
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    rows, columns = np.moveaxis(places @ turn.T + middle - shift + most, -1, 0)
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    below, beside = (rows - top)[..., None], (columns - left)[..., None]
    above = (1 - beside) * padded[top, left] + beside * padded[top, left + 1]
    under = (1 - beside) * padded[top + 1, left] + beside * padded[top + 1, left + 1]
    return (1 - below) * above + below * under


def grey(image):
    return image @ [0.299, 0.587, 0.114] if image.shape[2] == 3 else image[..., 0]


def colour(image, brightness, contrast, saturation):
    """Float64."""
    image = np.clip(brightness * image.astype(np.float64), 0, 255)
    image = np.clip(contrast * image + (1 - contrast) * grey(image).mean(), 0, 255)
    return np.clip(saturation * image + (1 - saturation) * grey(image)[..., None], 0, 255)


def cutout(image, side, centre):
    """The square of this side whose middle pixel, or the one after its middle, is `centre`."""
    image = image.copy()
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            if all(
                0 <= place - middle + side // 2 < side
                for place, middle in zip((row, column), centre, strict=True)
            ):
                image[row, column] = 128
    return image
