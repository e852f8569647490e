"""A folder of pictures becomes a data set, whatever else lies in it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ferrocnn.images import ImageDataset, load_images
from ferrocnn.preprocessing import Preprocessing


def write_pictures(folder: Path, count: int, seed: int = 0, name: str = "{:02d}.png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for index in range(count):
        pixels = random.integers(0, 256, (12, 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name.format(index))


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """10 cats and 5 dogs."""
    write_pictures(tmp_path / "pets" / "Cat", 10, seed=1)
    write_pictures(tmp_path / "pets" / "Dog", 5, seed=2)
    return tmp_path / "pets"


def names(dataset: ImageDataset) -> list[str]:
    return [f"{path.parent.name}/{path.stem}" for path in dataset.paths]


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestLoad:
    def test_arrays_names_and_order(self, pets: Path) -> None:
        dataset = load_images(pets, (8, 6))
        assert dataset.images.shape == (15, 8, 6, 3)
        assert [str(a.dtype) for a in (dataset.images, dataset.labels)] == ["uint8", "int64"]
        assert dataset.labels.tolist() == [0] * 10 + [1] * 5
        assert dataset.class_names == ("Cat", "Dog")
        assert dataset.paths == sorted(pets.rglob("*.png"))
        assert (dataset.skipped, dataset.validation) == ([], None)
        assert dataset.preprocessing == Preprocessing((8, 6))
        assert len(dataset) == 15
        assert "Cat: 10, Dog: 5; 0 skipped" in repr(dataset)

    def test_same_bytes_as_preprocessing_one_file(self, pets: Path) -> None:
        large = Image.effect_mandelbrot((700, 500), (-2, -1.5, 1, 1.5), 50).convert("RGB")
        exif = Image.Exif()
        exif[0x0112] = 6
        large.save(pets / "Dog" / "large.jpg", exif=exif)
        dataset = load_images(pets, (32, 48))
        assert "Dog/large" in names(dataset)
        for path, pixels in zip(dataset.paths, dataset.images, strict=True):
            np.testing.assert_array_equal(pixels, dataset.preprocessing(path))

    def test_resized_to_what_preprocessing_makes_by_way_of_the_stored_size(
        self, pets: Path
    ) -> None:
        stored = load_images(pets, (24, 18))
        dataset = stored.resized((16, 12))
        assert dataset.preprocessing == Preprocessing((16, 12), stored_size=(24, 18))
        assert stored.resized((24, 18)) is stored
        for path, pixels in zip(dataset.paths, dataset.images, strict=True):
            np.testing.assert_array_equal(pixels, dataset.preprocessing(path))

    def test_subfolders_belong_to_their_class(self, pets: Path) -> None:
        write_pictures(pets / "Dog" / "puppies" / "small", 2)
        assert np.bincount(load_images(str(pets)).labels).tolist() == [10, 7]

    def test_real_photographs(self, tmp_path: Path, photographs: Path) -> None:
        for name in ("Cat", "Dog"):
            (tmp_path / name).mkdir()
            for path in sorted((photographs / name).glob("*.jpg"))[:20]:
                shutil.copy(path, tmp_path / name)
        dataset = load_images(tmp_path)
        assert np.bincount(dataset.labels).tolist() == [20, 20]
        assert not dataset.skipped
        for path, pixels in zip(dataset.paths, dataset.images, strict=True):
            with Image.open(path) as image:
                whole = image.convert("RGB").resize((64, 64), Image.Resampling.BILINEAR)
            assert np.abs(np.asarray(whole, dtype=int) - pixels).mean() < 1


class TestDirt:
    def test_is_skipped_with_path_and_reason_and_left_there(self, pets: Path) -> None:
        cat = pets / "Cat"
        (cat / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
        (cat / ".hidden.png").write_bytes(b"")
        (cat / "empty.jpg").touch()
        (cat / "text.jpg").write_text("<html>not found</html>")
        Image.effect_noise((64, 64), 50).convert("RGB").save(cat / "whole.jpg")
        whole = (cat / "whole.jpg").read_bytes()
        (cat / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
        (cat / "header.jpg").write_bytes(whole[:20])
        (pets / "README.txt").write_text("pictures of pets")
        before = contents(pets)

        dataset = load_images(pets)
        reasons = {path.relative_to(pets).as_posix(): why for path, why in dataset.skipped}
        expected = {
            "Cat/.hidden.png": "hidden",
            "Cat/Thumbs.db": "operating system",
            "Cat/empty.jpg": "zero-length",
            "Cat/header.jpg": "",  # Pillow's words
            "Cat/text.jpg": "not an image",
            "Cat/truncated.jpg": "truncated",
            "README.txt": "beside the class folders",
        }
        assert list(reasons) == list(expected)
        for name, words in expected.items():
            assert reasons[name]
            assert words in reasons[name]
        assert contents(pets) == before
        # The others are all there, each with its own pixels.
        assert len(dataset) == 16
        for path, pixels in zip(dataset.paths, dataset.images, strict=True):
            np.testing.assert_array_equal(pixels, dataset.preprocessing(path))

    def test_names_do_not_decide(self, pets: Path) -> None:
        (pets / "Cat" / "00.png").rename(pets / "Cat" / "00.jpg")
        (pets / "Cat" / "01.png").rename(pets / "Cat" / "photo")
        dataset = load_images(pets)
        assert {"Cat/00", "Cat/photo"} < set(names(dataset))
        assert not dataset.skipped

    def test_decompression_bomb(self, pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        Image.new("1", (20, 20)).save(pets / "Dog" / "bomb.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150)
        (skipped,) = load_images(pets).skipped
        assert skipped.path == pets / "Dog" / "bomb.png"
        assert "decompression bomb" in skipped.reason

    def test_stays_with_both_parts(self, pets: Path) -> None:
        (pets / "Dog" / "empty.jpg").touch()
        dataset = load_images(pets)
        assert len(dataset.skipped) == 1
        assert [part.skipped for part in dataset.split()] == [dataset.skipped] * 2


class TestSplit:
    @pytest.mark.parametrize(
        ("fraction", "cats", "dogs"), [(0.2, 2, 1), (0.5, 5, 3), (0.1, 1, 1), (0.75, 8, 4)]
    )
    def test_counts_of_each_class(self, pets: Path, fraction: float, cats: int, dogs: int) -> None:
        dataset = load_images(pets)
        training, validation = dataset.split(fraction, seed=3)
        assert np.bincount(validation.labels).tolist() == [cats, dogs]
        assert np.bincount(training.labels).tolist() == [10 - cats, 5 - dogs]
        assert sorted(training.paths + validation.paths) == dataset.paths
        for part in (training, validation):
            assert part.class_names == dataset.class_names
            for path, pixels, label in zip(part.paths, part.images, part.labels, strict=True):
                index = dataset.paths.index(path)
                np.testing.assert_array_equal(pixels, dataset.images[index])
                assert label == dataset.labels[index]

    def test_same_seed_same_parts(self, pets: Path) -> None:
        dataset = load_images(pets)
        drawn = [dataset.split(0.4, seed)[1].paths for seed in (0, 0, 1, 2, 3)]
        assert drawn[0] == drawn[1]
        assert len({tuple(paths) for paths in drawn}) > 2

    def test_part_without_a_class(self, pets: Path) -> None:
        with pytest.raises(ValueError, match=r"^fraction: expected .* got 5 .* 0 .* of 'Dog'"):
            load_images(pets).split(0.05)

    @pytest.mark.parametrize("fraction", [0.0, 1.0, -0.2, float("nan")])
    def test_bad_fraction(self, pets: Path, fraction: float) -> None:
        with pytest.raises(ValueError, match=r"^fraction: expected"):
            load_images(pets).split(fraction)


class TestPair:
    @pytest.mark.parametrize(
        ("training_name", "validation_name"),
        [("train", "val"), ("Training", "validation"), ("train", "valid")],
    )
    def test_folders_decide_the_split(
        self, tmp_path: Path, training_name: str, validation_name: str
    ) -> None:
        for name, count in ((training_name, 3), (validation_name, 2), ("test", 1)):
            for kind in ("Cat", "Dog"):
                write_pictures(tmp_path / name / kind, count)
        dataset = load_images(tmp_path)
        training, validation = dataset.split(0.9, seed=5)
        assert (len(dataset), dataset.class_names) == (10, ("Cat", "Dog"))
        for part, name, labels in (
            (training, training_name, [0, 0, 0, 1, 1, 1]),
            (validation, validation_name, [0, 0, 1, 1]),
        ):
            assert part.labels.tolist() == labels
            assert {path.parents[1] for path in part.paths} == {tmp_path / name}
        assert [path for path, _ in dataset.skipped] == [tmp_path / "test"]

    def test_other_classes_in_each(self, tmp_path: Path) -> None:
        for name in ("train/Cat", "train/Dog", "val/Cat"):
            write_pictures(tmp_path / name, 1)
        with pytest.raises(ValueError, match=r"same classes .*'Cat', 'Dog' .*training and 'Cat'"):
            load_images(tmp_path)

    def test_pair_beside_classes(self, tmp_path: Path) -> None:
        for name in ("train/Cat", "train/Dog", "val/Cat", "val/Dog", "Cow"):
            write_pictures(tmp_path / name, 1)
        with pytest.raises(ValueError, match=r"one train and one val folder .*'Cow', 'train'"):
            load_images(tmp_path)


class TestClassNames:
    def test_order_of_the_labels_is_theirs(self, pets: Path) -> None:
        dataset = load_images(pets, class_names=["Dog", "Cow", "Cat"])
        assert dataset.class_names == ("Dog", "Cow", "Cat")
        assert dataset.labels.tolist() == [2] * 10 + [0] * 5

    def test_one_class_is_enough(self, pets: Path) -> None:
        shutil.rmtree(pets / "Cat")
        assert load_images(pets, class_names=("Cat", "Dog")).labels.tolist() == [1] * 5

    def test_folder_of_another_name(self, pets: Path) -> None:
        with pytest.raises(ValueError, match=r"^folder: .*'cat', 'dog' in .*'Cat', 'Dog'"):
            load_images(pets, class_names=("cat", "dog"))

    def test_bad_names(self, pets: Path) -> None:
        with pytest.raises(ValueError, match=r"^class_names: expected different names"):
            load_images(pets, class_names=("Cat", "Cat"))
        with pytest.raises(TypeError, match=r"^class_names: expected a sequence"):
            load_images(pets, class_names="Cat")


class TestErrors:
    def test_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"^folder: expected .*none"):
            load_images(tmp_path / "none")

    def test_file_instead_of_a_folder(self, pets: Path) -> None:
        with pytest.raises(NotADirectoryError, match=r"^folder: expected .*00\.png"):
            load_images(pets / "Cat" / "00.png")

    def test_no_class_folders(self, pets: Path) -> None:
        with pytest.raises(ValueError, match=r"^folder: expected .* got 10 files and no such"):
            load_images(pets / "Cat")

    def test_one_class(self, pets: Path) -> None:
        shutil.rmtree(pets / "Dog")
        with pytest.raises(ValueError, match=r"at least two class folders .* got only 'Cat'"):
            load_images(pets)

    def test_class_folders_one_level_down(self, pets: Path) -> None:
        with pytest.raises(ValueError, match=r"got only 'pets'; did you mean .*pets\?"):
            load_images(pets.parent)

    def test_class_without_images(self, pets: Path) -> None:
        (pets / "Cow").mkdir()
        (pets / "Cow" / "empty.jpg").touch()
        with pytest.raises(ValueError, match=r"got none of 'Cow' .*empty\.jpg: zero-length"):
            load_images(pets)

    def test_no_images_at_all(self, tmp_path: Path) -> None:
        for name in ("Cat", "Dog"):
            (tmp_path / name).mkdir()
        with pytest.raises(ValueError, match=r"^folder: expected readable images in .* got none"):
            load_images(tmp_path)

    def test_bad_image_size(self, pets: Path) -> None:
        with pytest.raises(ValueError, match=r"^image_size: expected"):
            load_images(pets, (64, 0))
