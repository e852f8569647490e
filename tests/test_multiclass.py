"""Several classes from end to end: arrays, data sets, folders, names, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import ferrocnn
from ferrocnn import CNN, AdamW, Augment, evaluate, load_images, train
from ferrocnn.images import ImageDataset
from ferrocnn.preprocessing import Preprocessing

SHAPE = (8, 8, 3)
NAMES = ("Ant", "Bee", "Cow")


def bands(
    count: int, classes: int, shape: tuple[int, int, int], seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Noise with a bright column whose place tells the class."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, classes, count)
    X = generator.integers(0, 100, (count, *shape), dtype=np.uint8)
    X[np.arange(count), :, y * shape[1] // classes] += 120
    return X, y


def small_model(classes: int = 3, seed: int = 0) -> CNN:
    return CNN(SHAPE, [(4, 3)], [8, classes], seed=seed)


def dataset(names: tuple[str, ...] = NAMES, seed: int = 0) -> ImageDataset:
    X, y = bands(60, len(names), SHAPE, seed)
    paths = [Path(f"{i}.png") for i in range(len(X))]
    return ImageDataset(X, y, names, paths, [], Preprocessing(SHAPE[:2]))


def bits(model: CNN) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in model.state().items()}


def write_classes(folder: Path, names: tuple[str, ...], count: int, seed: int = 0) -> Path:
    """`count` pictures a class, as `bands` makes them."""
    X, y = bands(40 * count * len(names), len(names), SHAPE, seed)
    for label, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number, pixels in enumerate(X[y == label][:count]):
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.parametrize("seed", [0, 1])
def test_the_digits_of_scikit_learn(seed: int) -> None:
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    X, y = (digits.images[..., None] * 15).astype(np.uint8), digits.target
    held_back = np.random.default_rng(seed).permutation(len(X)) < len(X) // 5
    model = CNN((8, 8, 1), [(16, 3), (32, 3)], [64, 10], batch_norm=True, seed=seed)
    train(
        model,
        X[~held_back],
        y[~held_back],
        epochs=12,
        batch_size=32,
        optimizer=AdamW(0.01),
        schedule="one-cycle",
        augment=Augment(shift=1),
        seed=seed,
        progress=False,
    )
    assert evaluate(model, X[held_back], y[held_back]).accuracy >= 0.97


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_integers_and_one_hot_rows_give_the_same_bits(classes: int) -> None:
    X, y = bands(60, classes, (8, 20, 1))
    forms = [
        y,
        y[:, None],
        y.astype(np.float64),
        np.eye(classes)[y],
        np.eye(classes, dtype=bool)[y],
    ]
    models = []
    for labels in forms:
        model = CNN((8, 20, 1), [(4, 3)], [classes], seed=0)
        train(model, X, labels, epochs=2, seed=3, validation_data=(X, labels), progress=False)
        models.append(model)
    assert all(bits(model) == bits(models[0]) for model in models)
    assert all(model.training == models[0].training for model in models)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize(
    ("shape", "classes"),
    [((8, 8, 1), 3), ((20, 28, 2), 4), ((28, 20, 4), 5), ((9, 17, 3), 2), ((5, 30, 1), 15)],
)
def test_any_size_any_channels_any_classes(
    shape: tuple[int, int, int], classes: int, dtype: str
) -> None:
    X, y = bands(20 * classes, classes, shape)
    images: Any = X if dtype == "uint8" else X.astype(np.float32) / 255
    model = CNN(shape, [(8, 3)], [classes], seed=0)
    history = train(
        model, images, y, epochs=12, optimizer=AdamW(0.02), batch_size=16, seed=0, progress=False
    )
    assert history.loss[0] > 0.5 * np.log(classes)
    assert history.loss[-1] < 0.2 * history.loss[0]
    probabilities = model.predict_proba(images)
    assert probabilities.shape == (len(X), classes)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(model.predict(images), probabilities.argmax(axis=1))
    assert evaluate(model, images, y).accuracy > 0.9


def test_a_data_set_brings_its_names_to_files_and_predictions(tmp_path: Path) -> None:
    model = small_model()
    history = train(
        model, dataset(), epochs=15, optimizer=AdamW(0.02), seed=0, progress=False,
        validation_data=dataset(seed=1),
    )  # fmt: skip
    assert history.val_accuracy[-1] > 0.9
    model.save(tmp_path / "model.npz")
    loaded = ferrocnn.load(tmp_path / "model.npz")
    assert loaded.class_names == NAMES
    X, y = dataset(seed=2).images, dataset(seed=2).labels
    np.testing.assert_array_equal(loaded.forward(X), model.forward(X))
    pictures = [Image.fromarray(image) for image in X]
    shares = model.forward(X)
    for found, row in zip(loaded.predict(pictures), shares, strict=True):
        assert found.name == NAMES[row.argmax()]
        assert found.probability == row.max()
    names = [found.name for found in loaded.predict(pictures)]
    assert np.mean([name == NAMES[label] for name, label in zip(names, y, strict=True)]) > 0.9


def test_two_outputs_are_two_classes() -> None:
    X, y = bands(80, 2, SHAPE)
    model = small_model(2)
    train(model, X, y, epochs=10, optimizer=AdamW(0.02), seed=0, progress=False)
    assert model.forward(X).shape == (80, 2)
    assert evaluate(model, X, y).accuracy > 0.9


@pytest.mark.parametrize("count", [3, 10])
def test_folders_of_several_classes(tmp_path: Path, count: int) -> None:
    names = tuple(f"class {label:02d}" for label in range(count))
    data = load_images(write_classes(tmp_path / "all", names, 5), SHAPE[:2], cache=False)
    assert data.class_names == names
    assert np.bincount(data.labels).tolist() == [5] * count
    training, validation = data.split(0.2, seed=0)
    assert np.bincount(validation.labels).tolist() == [1] * count
    model = small_model(count)
    train(model, training, epochs=1, validation_data=validation, progress=False)
    assert model.class_names == names
    assert evaluate(model, validation).support.tolist() == [1] * count


def test_a_pair_of_folders_whose_validation_lacks_classes(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", NAMES, 4)
    write_classes(tmp_path / "val", NAMES[1:], 2)
    with pytest.raises(ValueError, match=r"^folder: expected the same classes in both parts"):
        load_images(tmp_path, SHAPE[:2], cache=False)
    # Read one by one, with the names of all, they go together.
    training = load_images(tmp_path / "train", SHAPE[:2], cache=False)
    validation = load_images(
        tmp_path / "val", SHAPE[:2], cache=False, class_names=training.class_names
    )
    assert np.bincount(validation.labels, minlength=3).tolist() == [0, 2, 2]
    model = small_model()
    history = train(model, training, epochs=1, validation_data=validation, progress=False)
    result = evaluate(model, validation)
    assert result.accuracy == history.val_accuracy[0]
    assert np.isnan(result.auc)
    assert "val_auc" not in model.training  # no number that JSON can hold


@pytest.mark.parametrize("names", [("Ant", "Bee"), ("Bee", "Ant", "Cow"), (*NAMES, "Dog")])
def test_data_of_other_classes_is_not_evaluated(names: tuple[str, ...]) -> None:
    model = small_model()
    model.class_names = NAMES
    with pytest.raises(ValueError, match=r"^X: expected the model's classes Ant, Bee, Cow, got"):
        evaluate(model, dataset(names))


def test_data_of_another_number_of_classes_is_not_evaluated() -> None:
    with pytest.raises(
        ValueError, match=r"^X: expected 3 classes, as fc_layers ends with 3, got 2"
    ):
        evaluate(small_model(), dataset(("Ant", "Bee")))
    assert evaluate(small_model(), dataset()).count == 60  # a model without names


LABELS = np.arange(60) % 3

REFUSED = [
    (1, LABELS, {}, r"y_train: expected labels from 0 to 1, .* got 2; .* let fc_layers end with"),
    (3, LABELS + 1, {}, r"y_train: expected labels from 0 to 2, .* got 3; number the classes"),
    (3, LABELS - 1, {}, r"y_train: expected labels from 0 to 2, .* got -1; number the classes"),
    (1, np.eye(3)[LABELS], {}, r"y_train: .* got \(60, 3\); one-hot rows of 3 want fc_layers"),
    (3, np.eye(4)[LABELS], {}, r"y_train: .* got \(60, 4\); one-hot rows of 4 want fc_layers"),
    (3, np.array(NAMES)[LABELS], {}, r"y_train: expected integers .* give each class name its num"),
    (4, LABELS, {"class_weight": "balanced"}, r"class_weight: .* got none of 3; add some, or give"),
    (3, LABELS, {"class_weight": [1, 2]}, r"class_weight: expected \(3,\) numbers, got \(2,\)"),
    (3, LABELS, {"class_weight": {"Emu": 2}}, r"class_weight: expected labels from 0 to 2 or the"),
]  # fmt: skip


@pytest.mark.parametrize(("units", "y", "options", "says"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_trained_says_what_to_change(
    units: int, y: Any, options: dict[str, Any], says: str
) -> None:
    model = small_model(units)
    before = bits(model)
    with pytest.raises((ValueError, TypeError), match=f"^{says}"):
        train(model, bands(60, 3, SHAPE)[0], y, epochs=1, progress=False, **options)
    assert bits(model) == before
    assert model.training == {}


@pytest.mark.parametrize("units", [1, 4])
def test_a_data_set_of_other_classes_is_not_trained_on(units: int) -> None:
    with pytest.raises(ValueError, match=rf"^X_train: expected {max(units, 2)} classes, .*: Ant"):
        train(small_model(units), dataset(), epochs=1, progress=False)


def test_names_of_weights_are_those_of_the_data_set() -> None:
    by_name, by_label = small_model(), small_model()
    for model, weight in ((by_name, {"Bee": 3.0}), (by_label, {1: 3.0})):
        train(model, dataset(), epochs=1, seed=0, class_weight=weight, progress=False)
    assert bits(by_name) == bits(by_label)
