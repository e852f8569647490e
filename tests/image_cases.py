"""Pictures and folders of pictures for the tests."""

import numpy as np
from PIL import Image


def picture(seed, size=(20, 16)):
    """A picture of its own, of `size` (width, height)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def fill(folder, names, seed=0):
    """Write a picture for each name; folders come into being as needed."""
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(seed + i).save(folder / name)
    return folder


def names_of(files, folder):
    return [path.relative_to(folder).as_posix() for path in files]
