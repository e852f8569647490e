"""Folders that `load_images` understands, those it refuses, and `ImageDataset.split`."""

import re

import numpy as np
import pytest

from ferrocnn.images import load_images
from image_cases import fill, names_of

SIZE = (4, 4)


def load(folder, **options):
    return load_images(folder, SIZE, **options)


def refused(folder, *parts, error=ValueError, **options):
    """Loading `folder` fails with a message that holds `parts` in this order."""
    with pytest.raises(error, match=".*".join(map(re.escape, parts))) as caught:
        load(folder, **options)
    assert "\n" not in str(caught.value)


def class_folders(folder, **counts):
    return fill(folder, [f"{name}/{i}.png" for name, n in counts.items() for i in range(n)])


def counts_of(dataset):
    return np.bincount(dataset.labels, minlength=len(dataset.class_names)).tolist()


def test_a_split_is_stratified_and_loses_nothing(tmp_path):
    class_folders(tmp_path, Cat=50, Dog=31)
    (tmp_path / "Cat" / "broken.png").touch()
    dataset = load(tmp_path)
    training, validation = dataset.split(0.2, seed=3)
    assert counts_of(validation) == [10, 6]
    assert counts_of(training) == [40, 25]
    assert sorted(training.paths + validation.paths) == sorted(dataset.paths)
    pixels = {
        path: image.tobytes() for path, image in zip(dataset.paths, dataset.images, strict=True)
    }
    for part in (training, validation):
        assert part.paths == [path for path in dataset.paths if path in set(part.paths)]
        for path, image, label in zip(part.paths, part.images, part.labels, strict=True):
            assert image.tobytes() == pixels[path]
            assert path.parent.name == part.class_names[label]
        assert part.skipped == dataset.skipped != []
        assert part.preprocessing == dataset.preprocessing
        assert part.validation is None


def test_the_seed_decides_the_split(tmp_path):
    class_folders(tmp_path, Cat=30, Dog=30)
    dataset = load(tmp_path)

    def validation_paths(seed):
        return dataset.split(0.5, seed)[1].paths

    assert validation_paths(1) == validation_paths(np.int64(1))
    assert validation_paths(1) != validation_paths(2)
    assert validation_paths(None) != validation_paths(None)


@pytest.mark.parametrize(("fraction", "counts"), [(0.1, "3 for training and 0"), (0.9, "0 for")])
def test_a_split_that_leaves_a_class_without_images(tmp_path, fraction, counts):
    dataset = load(class_folders(tmp_path, Cat=20, Dog=3))
    with pytest.raises(ValueError, match=rf"^fraction: expected .*{counts}.*'Dog'"):
        dataset.split(fraction, seed=0)


@pytest.mark.parametrize(
    ("arguments", "name", "error"),
    [
        ((0,), "fraction", ValueError),
        ((1,), "fraction", ValueError),
        ((float("nan"),), "fraction", ValueError),
        (("half",), "fraction", TypeError),
        ((0.5, -1), "seed", ValueError),
        ((0.5, 1.5), "seed", TypeError),
    ],
)
def test_a_bad_argument_of_split(tmp_path, arguments, name, error):
    dataset = load(class_folders(tmp_path, Cat=4, Dog=4))
    with pytest.raises(error, match=f"^{name}: expected"):
        dataset.split(*arguments)


@pytest.mark.parametrize(
    "names", [("train", "val"), ("Train", "VALIDATION"), ("training", "valid")]
)
def test_a_pair_of_folders_is_its_own_split(tmp_path, names):
    for name, count in zip(names, (5, 2), strict=True):
        class_folders(tmp_path / name, Cat=count, Dog=count + 1)
    class_folders(tmp_path / "test", Other=1)
    (tmp_path / names[0] / "notes.txt").write_text("beside the classes")
    dataset = load(tmp_path)
    assert dataset.class_names == ("Cat", "Dog")
    assert counts_of(dataset) == [7, 9]
    is_validation = [path.parts[-3] == names[1] for path in dataset.paths]
    np.testing.assert_array_equal(dataset.validation, is_validation)
    assert {s.path.name for s in dataset.skipped} == {"test", "notes.txt"}
    for arguments in [(), (0.7, 1)]:
        training, validation = dataset.split(*arguments)
        assert {path.parts[-3] for path in training.paths} == {names[0]}
        assert {path.parts[-3] for path in validation.paths} == {names[1]}
        assert (counts_of(training), counts_of(validation)) == ([5, 6], [2, 3])


def test_a_plain_folder_has_no_validation_mask(tmp_path):
    assert load(class_folders(tmp_path, Cat=1, Dog=1, train=1)).validation is None


def test_pairs_that_do_not_fit(tmp_path):
    class_folders(tmp_path / "train", Cat=1, Dog=1)
    refused(tmp_path, "folder: expected at least two", "did you mean", str(tmp_path / "train"))
    class_folders(tmp_path / "test", Cat=1, Dog=1)
    refused(tmp_path, "folder: expected class folders, or one train", "'test', 'train'")
    class_folders(tmp_path / "val", Cat=1, dog=1)
    refused(tmp_path, "folder: expected the same classes", "'Cat', 'Dog'", "'Cat', 'dog'")
    (tmp_path / "val" / "dog").rename(tmp_path / "val" / "Dog")
    assert len(load(tmp_path)) == 4
    class_folders(tmp_path, Bird=1)
    refused(tmp_path, "folder: expected class folders, or one train", "'Bird'")
    (tmp_path / "Bird").rename(tmp_path / "valid")
    refused(tmp_path, "folder: expected class folders, or one train", "'val', 'valid'")


def test_a_class_that_has_no_readable_image_in_one_part(tmp_path):
    for name in ("train", "val"):
        class_folders(tmp_path / name, Cat=1, Dog=1)
    (tmp_path / "val" / "Dog" / "0.png").write_bytes(b"")
    refused(tmp_path, "folder: expected", "every class in both parts", "'Dog'", "zero-length")
    assert len(load(tmp_path, class_names=("Cat", "Dog"))) == 3


def test_known_class_names_give_the_labels(tmp_path):
    dataset = load(class_folders(tmp_path, Cat=1, Dog=2), class_names=["Dog", "Bird", "Cat"])
    assert dataset.class_names == ("Dog", "Bird", "Cat")
    assert dataset.labels.tolist() == [2, 0, 0]
    for path in (tmp_path / "Cat").iterdir():
        path.unlink()
    (tmp_path / "Cat").rmdir()
    assert load(tmp_path, class_names=("Cat", "Dog")).labels.tolist() == [1, 1]
    refused(tmp_path, "folder: expected only the classes 'Cat', 'Bird'", "'Dog'",
            class_names=("Cat", "Bird"))  # fmt: skip


@pytest.mark.parametrize(
    ("names", "error"),
    [("CatDog", TypeError), ((1, 2), TypeError), ((), ValueError), (("Cat", "Cat"), ValueError)],
)
def test_bad_class_names(tmp_path, names, error):
    refused(class_folders(tmp_path, Cat=1), "class_names: expected", class_names=names, error=error)


def test_folders_that_cannot_be_read(tmp_path):
    refused(tmp_path / "absent", "folder: expected", "absent", error=FileNotFoundError)
    refused(tmp_path, "folder: expected a folder of images for each class", "got 0 files")
    fill(tmp_path, ["a.png"])
    refused(tmp_path, "folder: expected", "got 1 file and no such folder", "CLASS_NAME")
    fill(tmp_path, ["b.png"])
    refused(tmp_path, "folder: expected", "got 2 files and no such folder", "CLASS_NAME")
    refused(tmp_path / "a.png", "folder: expected", "a.png", error=NotADirectoryError)
    class_folders(tmp_path, Cat=1)
    refused(tmp_path, "folder: expected at least two class folders", "got only 'Cat'")
    (tmp_path / "Dog").mkdir()
    refused(tmp_path, "folder: expected readable images of every class", "got none of 'Dog'")
    (tmp_path / "Cat" / "0.png").write_bytes(b"no picture")
    refused(tmp_path, "expected readable images in", "got none (3 skipped: ", "not an image")
    refused(tmp_path, "got none (3 skipped: ", class_names=("Cat", "Dog"))


def test_one_folder_too_high(tmp_path):
    class_folders(tmp_path / "PetImages", Cat=1, Dog=1)
    refused(tmp_path, "got only 'PetImages'; did you mean", str(tmp_path / "PetImages"))


def test_one_folder_too_high_above_two_data_sets(tmp_path):
    sets = tmp_path / "PetImages", tmp_path / "Other"
    for folder in sets:
        class_folders(folder, Cat=2, Dog=2)
    expected = f"did you mean {sets[1]} or {sets[0]}?"
    refused(tmp_path, "folder: expected images in the class folders", expected, "move")
    (sets[0] / ".DS_Store").touch()  # no image
    refused(tmp_path, expected)
    dataset = load(tmp_path, class_names=["PetImages", "Other"])
    assert counts_of(dataset) == [4, 4]
    for name in ("PetImages/Cat/0.png", "Other/Dog/1.png"):  # one is enough, as the message says
        stays, moved = tmp_path / name, tmp_path / name.split("/")[0] / "moved.png"
        stays.rename(moved)
        assert counts_of(load(tmp_path)) == [4, 4]
        moved.rename(stays)
    for folder in ("Other/Cat", "PetImages/Dog"):  # a single folder of images is no data set
        for index in range(2):
            (tmp_path / folder / f"{index}.png").rename(tmp_path / f"{index}.png")
        assert len(load(tmp_path)) == 6
        for index in range(2):
            (tmp_path / f"{index}.png").rename(tmp_path / folder / f"{index}.png")


@pytest.mark.parametrize("size", [64, (64,), (0, 64), (64, -1), "64", None])
def test_a_bad_image_size(tmp_path, size):
    class_folders(tmp_path, Cat=1, Dog=1)
    with pytest.raises(ValueError, match=r"^image_size: expected"):
        load_images(tmp_path, size)


def test_the_description_is_short(tmp_path):
    dataset = load(class_folders(tmp_path, Cat=30, Dog=2))
    assert repr(dataset) == "ImageDataset(32 images, 4 x 4; Cat: 30, Dog: 2; 0 skipped)"
    assert names_of(dataset.paths[:1], tmp_path) == ["Cat/0.png"]
