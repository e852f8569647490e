"""A folder to cache, and what to look at afterwards."""

import numpy as np

from ferrocnn.images import load_images
from image_cases import fill, names_of

NAMES = ["Cat/a.png", "Cat/b.png", "Cat/c.png", "Dog/a.png", "Dog/b.png", "Dog/deep/c.png"]


def write_pets(folder):
    """Six pictures, and two files that are none."""
    fill(folder, NAMES)
    (folder / "Cat" / "empty.jpg").touch()
    (folder / "Dog" / "page.jpg").write_text("<html>not found</html>")
    return folder


def load(folder, size=(8, 8), **options):
    return load_images(folder, size, **options)


def check_same(dataset, other):
    np.testing.assert_array_equal(dataset.images, other.images)
    np.testing.assert_array_equal(dataset.labels, other.labels)
    assert dataset.paths == other.paths
    assert dataset.skipped == other.skipped


def check_true(dataset, folder):
    """Compare with what is decoded without the cache."""
    check_same(dataset, load(folder, dataset.preprocessing.image_size, cache=False))


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return dict(zip(names_of(files, folder), [path.read_bytes() for path in files], strict=True))
