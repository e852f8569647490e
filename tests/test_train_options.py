"""The options of `train`: each against the same steps by hand."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import ferrocnn
from ferrocnn import CNN, SGD, Augment, History, evaluate, schedules, train

SHAPE = (8, 8, 3)
COUNT, CLASSES = 24, 3
RATE = 0.5

Floats = NDArray[np.float32]


def small_model(units: int = CLASSES, **options: Any) -> CNN:
    return CNN(SHAPE, [(4, 3)], [6, units], seed=0, **options)


def data(classes: int = CLASSES) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    y = np.arange(COUNT) % classes
    y[:4] = 0
    noise = np.random.default_rng(0).integers(0, 156, (COUNT, *SHAPE))
    X = noise + 40 * y[:, None, None, None]
    return X.astype(np.uint8), y


def one_step(model: CNN, X: Any, y: Any, **options: Any) -> tuple[History, dict[str, Floats]]:
    """Train for one step of gradient descent on all images; return by how much weights moved."""
    before = model.snapshot()
    arguments = {"epochs": 1, "batch_size": len(X), "shuffle": False, "progress": False}
    history = train(model, X, y, **(arguments | {"learning_rate": RATE} | options))
    return history, {name: value - before[name] for name, value in model.parameters().items()}


def assert_moved(moves: Mapping[str, Floats], gradients: Mapping[str, Any]) -> None:
    """The weights moved against the gradients."""
    assert any(np.abs(gradient).max() > 1e-3 for gradient in gradients.values())
    for name, move in moves.items():
        np.testing.assert_allclose(move, -RATE * gradients[name], rtol=1e-4, atol=2e-7)


@pytest.mark.parametrize("units", [1, 2, 3])
def test_a_weight_of_two_is_the_image_twice_and_of_zero_none(units: int) -> None:
    X, y = data(max(units, 2))
    weights = np.arange(COUNT) % 3
    history, moves = one_step(small_model(units), X, y, sample_weight=weights)
    chosen = np.repeat(np.arange(COUNT), weights)
    loss, gradients = small_model(units).gradients(X[chosen], y[chosen])
    assert_moved(moves, gradients)
    assert history.loss == pytest.approx([loss], rel=1e-6)


@pytest.mark.parametrize("units", [1, 3])
@pytest.mark.parametrize("kind", ["balanced", "numbers", "mapping"])
def test_class_weights_are_weights_of_the_images(units: int, kind: str) -> None:
    X, y = data(max(units, 2))
    classes, counts = max(units, 2), np.bincount(y)
    given: dict[str, Any] = {
        "balanced": "balanced",
        "numbers": [0.5, 2.0, 3.0][:classes],
        "mapping": {1: 4.0},
    }
    by_hand = {
        "balanced": COUNT / (classes * counts),
        "numbers": np.array(given["numbers"]),
        "mapping": np.array([1.0, 4.0, 1.0][:classes]),
    }[kind][y]
    _, moves = one_step(small_model(units), X, y, class_weight=given[kind])
    # The weighted mean of the gradients of single images.
    sums = {name: np.zeros(value.shape) for name, value in moves.items()}
    for i in range(COUNT):
        _, gradients = small_model(units).gradients(X[i : i + 1], y[i : i + 1])
        for name, gradient in gradients.items():
            sums[name] += by_hand[i] / by_hand.sum() * gradient
    assert_moved(moves, sums)


def test_weights_of_classes_and_of_images_are_multiplied() -> None:
    X, y = data()
    own, of_class = np.linspace(0.5, 3, COUNT), np.array([1.0, 2.0, 4.0])
    _, both = one_step(small_model(), X, y, sample_weight=own, class_weight=of_class)
    _, one = one_step(small_model(), X, y, sample_weight=own * of_class[y])
    for name in both:
        np.testing.assert_allclose(both[name], one[name], rtol=1e-4, atol=2e-7)


def test_the_loss_of_an_epoch_is_the_weighted_mean_over_its_batches() -> None:
    X, y = data()
    weights = np.linspace(0, 3, COUNT)
    options = {"sample_weight": weights, "learning_rate": 1e-12}
    apart, _ = one_step(small_model(), X, y, batch_size=7, **options)
    together, _ = one_step(small_model(), X, y, **options)
    assert apart.loss == pytest.approx(together.loss, rel=1e-6)


@pytest.mark.parametrize("units", [1, 2, 3])
def test_label_smoothing_gives_a_share_to_all_classes_alike(units: int) -> None:
    X, y = data(max(units, 2))
    history, moves = one_step(small_model(units), X, y, label_smoothing=0.3)
    # The loss is linear in the targets: 0.7 of that with the labels, and 0.3 / k of that where
    # all images are of class c, for each c.
    classes = max(units, 2)
    parts = [(0.7, y), *((0.3 / classes, np.full(COUNT, label)) for label in range(classes))]
    loss, sums = 0.0, {name: np.zeros(value.shape) for name, value in moves.items()}
    for share, labels in parts:
        part, gradients = small_model(units).gradients(X, labels)
        loss += share * part
        for name, gradient in gradients.items():
            sums[name] += share * gradient
    assert history.loss == pytest.approx([loss], rel=1e-5)
    assert_moved(moves, sums)


class Steps:
    """What `train_step` was given and what the model held after it."""

    def __init__(self, model: CNN, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given: list[tuple[Any, Any, int]] = []
        self.states: list[dict[str, Floats]] = []
        step = model.train_step

        def spy(X: Any, targets: Any, optimizer: Any, **options: Any) -> tuple[float, int]:
            self.given.append((X.copy(), targets.copy(), options["key"]))
            result = step(X, targets, optimizer, **options)
            self.states.append(model.snapshot())
            return result

        monkeypatch.setattr(model, "train_step", spy)


@pytest.mark.parametrize("units", [1, 3])
def test_augmented_and_mixed_images_are_trained_on(
    units: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = data(max(units, 2))
    augment, model = Augment(flip=True, shift=2, mixup=0.4), small_model(units)
    steps = Steps(model, monkeypatch)
    train(
        model, X, y, epochs=2, batch_size=10, shuffle=False, augment=augment, label_smoothing=0.1,
        seed=0, progress=False,
    )  # fmt: skip
    one_hot = np.eye(CLASSES)[y] if units > 1 else y[:, None]
    smooth = (0.9 * one_hot + 0.1 / max(units, 2)).astype(np.float32)
    assert [len(images) for images, _, _ in steps.given] == [10, 10, 4] * 2
    assert len({key for _, _, key in steps.given}) == 6
    changes = []
    for number, (images, targets, key) in enumerate(steps.given):
        rows = slice(number % 3 * 10, number % 3 * 10 + 10)
        expected = augment.apply(X[rows], key)
        mixed = augment.mix(expected, smooth[rows], key)
        np.testing.assert_array_equal(images, expected)
        np.testing.assert_allclose(targets, mixed, rtol=1e-6)
        assert (images != X[rows]).any()
        changes.append(np.abs(targets - smooth[rows]).max())
    assert max(changes) > 0.1


def test_images_of_another_size_are_cropped_to_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(0).integers(0, 256, (COUNT, 12, 10, 3), dtype=np.uint8)
    model, augment = small_model(), Augment(crop=0.5)
    steps = Steps(model, monkeypatch)
    one_step(model, X, data()[1], augment=augment, seed=0)
    ((images, _, key),) = steps.given
    expected = augment.apply(X, key, np.empty((COUNT, *SHAPE), np.uint8))
    np.testing.assert_array_equal(images, expected)


@pytest.mark.parametrize(
    ("shares", "epochs", "sizes"),
    [
        ((0.5, 0.75, 1), 3, [4, 6, 8]),
        ((0.5, 0.75, 1), 5, [4, 4, 6, 6, 8]),
        ((0.5, 0.75, 1), 7, [4, 4, 4, 6, 6, 8, 8]),
        ((0.5, 0.75), 2, [4, 6]),
    ],
)
def test_small_images_come_first(
    shares: tuple[float, ...], epochs: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each size is trained as a model of that size would be, with pixels of its own size."""
    X, y = data()
    augment = Augment(shift=2, cutout=4)
    model = small_model(batch_norm=True, global_average_pool=True)
    seen: list[tuple[Any, int]] = []
    step = CNN.train_step

    def spy(model: CNN, X: Any, targets: Any, *others: Any, **options: Any) -> Any:
        seen.append((X.copy(), options["key"]))
        return step(model, X, targets, *others, **options)

    monkeypatch.setattr(CNN, "train_step", spy)
    train(
        model, X, y, epochs=epochs, batch_size=12, learning_rate=0.1, shuffle=False, seed=0,
        augment=augment, progressive=shares, progress=False,
    )  # fmt: skip
    monkeypatch.undo()
    assert [len(images[0]) for images, _ in seen] == [size for size in sizes for _ in range(2)]
    by_hand = small_model(batch_norm=True, global_average_pool=True)
    for number, (images, key) in enumerate(seen):
        rows, size = slice(number % 2 * 12, number % 2 * 12 + 12), len(images[0])
        scaled = Augment(shift=size // 4, cutout=size // 2) if size != 6 else augment.scaled(0.75)
        expected = scaled.apply(X[rows], key, np.empty((12, size, size, 3), np.uint8))
        np.testing.assert_array_equal(images, expected)
        sized = CNN(**by_hand.config() | {"input_shape": (size, size, 3)})
        sized.set_state(by_hand.snapshot())
        sized.backward(images, y[rows], 0.1)
        by_hand.set_state(sized.snapshot())
    for name, value in model.state().items():
        np.testing.assert_array_equal(value, by_hand.state()[name])
    assert model.training["progressive"] == list(shares)


def test_a_gradient_is_clipped_to_its_norm() -> None:
    X, y = data()
    _, gradients = small_model().gradients(X, y)
    norm = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in gradients.values()))
    _, moves = one_step(small_model(), X, y, clip_norm=norm / 4)
    assert_moved(moves, {name: gradient / 4 for name, gradient in gradients.items()})
    free, loose = small_model(), small_model()
    one_step(free, X, y)
    one_step(loose, X, y, clip_norm=norm * 1.01)
    for name, value in free.parameters().items():
        np.testing.assert_array_equal(loose.parameters()[name], value)


def test_the_average_of_the_weights_is_validated_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = data()
    model = small_model(batch_norm=True)
    steps, seen = Steps(model, monkeypatch), []

    def look(model: CNN, history: History) -> None:
        seen.append((model.snapshot(), evaluate(model, X, y).loss, history.val_loss[-1]))

    train(
        model, X, y, epochs=3, batch_size=10, learning_rate=0.1, average=0.25, seed=0,
        validation_data=(X, y), callbacks=[look], progress=False,
    )  # fmt: skip
    expected, averages = {name: v.astype(np.float64) for name, v in steps.states[0].items()}, []
    for t, state in enumerate(steps.states):
        decay = min(0.25, (1 + t) / (10 + t)) if t else 0
        for name, value in state.items():
            expected[name] = decay * expected[name] + (1 - decay) * value
        averages.append({name: value.copy() for name, value in expected.items()})
    assert len(averages) == 9
    for (state, loss, reported), average in zip(seen, averages[2::3], strict=True):
        assert reported == loss
        for name, value in state.items():
            np.testing.assert_allclose(value, average[name], rtol=1e-5, atol=1e-7)
    for name, value in model.state().items():
        np.testing.assert_array_equal(value, seen[-1][0][name])
        assert (value != steps.states[-1][name]).any()


class Spy(SGD):
    """Gradient descent that writes down the rate of each step."""

    def __init__(self, learning_rate: float) -> None:
        super().__init__(learning_rate)
        self.rates: list[float] = []

    def step(self, parameters: Any, gradients: Any) -> None:
        self.rates.append(self.learning_rate)
        super().step(parameters, gradients)


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("constant", [1] * 9),
        (schedules.Step(drops=(0.5,), gamma=0.1), [1] * 5 + [0.1] * 4),
        (schedules.Linear(warmup=0.0), [1 - step / 9 for step in range(9)]),
        (schedules.Cosine(warmup=0.0), [(1 + np.cos(np.pi * step / 9)) / 2 for step in range(9)]),
        ("one-cycle", [schedules.OneCycle().factor(step, 9) for step in range(9)]),
    ],
    ids=["constant", "step", "linear", "cosine", "one-cycle"],
)
def test_each_step_has_the_rate_of_the_schedule(schedule: Any, factors: list[float]) -> None:
    X, y = data()
    optimizer = Spy(0.2)
    history = train(
        small_model(), X, y, epochs=3, batch_size=10, optimizer=optimizer, schedule=schedule,
        progress=False,
    )  # fmt: skip
    assert optimizer.rates == pytest.approx([0.2 * factor for factor in factors])
    assert history.learning_rate == optimizer.rates[2::3]
    assert optimizer.learning_rate == 0.2


def test_the_record_tells_all_options() -> None:
    X, y = data()
    model, augment = small_model(), Augment(flip=True)
    train(
        model, X, y, epochs=1, optimizer=ferrocnn.AdamW(0.01), schedule="cosine", augment=augment,
        label_smoothing=0.1, clip_norm=2.0, average=0.9, seed=5, progress=False,
    )  # fmt: skip
    record = model.training
    assert ferrocnn.optimizer_from_config(record["optimizer"]).config() == record["optimizer"]
    assert record["optimizer"]["name"] == "adamw"
    assert schedules.schedule_from_config(record["schedule"]) == schedules.Cosine()
    assert Augment.from_dict(record["augment"]) == augment
    options = ("label_smoothing", "clip_norm", "average", "seed")
    assert [record[name] for name in options] == [0.1, 2.0, 0.9, 5]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"label_smoothing": 1}, "label_smoothing: expected at least 0 and below 1, got 1"),
        ({"label_smoothing": "a"}, "label_smoothing: expected a number"),
        ({"clip_norm": 0}, "clip_norm: expected a finite number above 0, got 0"),
        ({"average": 1.0}, "average: expected at least 0 and below 1, got 1"),
        ({"schedule": "magic"}, "schedule: expected one of constant, step, cosine"),
        ({"augment": "flip"}, "augment: expected an Augment or None, got 'flip'"),
        ({"X": data()[0] / 255.0, "augment": Augment(flip=True)}, "X_train: expected uint8 images"),
        ({"X": np.zeros((COUNT, 9, 9, 3), np.uint8)}, "X_train: expected"),
        ({"X": np.zeros((COUNT, 9, 9, 1), np.uint8), "augment": Augment()}, "X_train: expected"),
        ({"sample_weight": [1, 2]}, "sample_weight: expected .24,., one for each image"),
        ({"sample_weight": -np.ones(COUNT)}, "sample_weight: expected finite numbers of at least"),
        ({"class_weight": "even"}, "class_weight: expected None, 'balanced'"),
        (
            {"sample_weight": np.full(COUNT, 1e30), "class_weight": {1: 1e30}},
            "class_weight times sample_weight: expected finite numbers of at least 0, got 1e.60",
        ),
        (
            {"sample_weight": np.full(COUNT, 1e-30), "class_weight": [1e-30] * CLASSES},
            "class_weight times sample_weight: expected a weight above 0, got zeros alone",
        ),
        (
            {"X": [[1], [1, 2]], "y": [0, 1], "augment": Augment()},
            "X_train: expected an array, got",
        ),
        ({"progressive": "half"}, "progressive: expected a list of shares up to 1, got 'half'"),
        ({"progressive": ()}, "progressive: expected a list of shares up to 1"),
        ({"progressive": 1.0}, "progressive: expected a list of shares up to 1"),
        ({"progressive": (0.5, "all")}, "progressive: expected a number"),
        ({"progressive": (0.0, 1)}, "progressive: expected a finite number above 0, got 0"),
        ({"progressive": (2, 1)}, "progressive: expected shares up to 1, got"),
        ({"progressive": (0.5,), "epochs": 2}, r"progressive: expected \[1\] without augment"),
        (
            {"progressive": (0.5, 1), "augment": Augment()},
            r"progressive: expected no more sizes than epochs \(1\), .*, got 2",
        ),
        (
            {"progressive": (0.5, 1), "augment": Augment(), "epochs": 2},
            "progressive: expected sizes that the model can take, got 0.5 .global_average_pool",
        ),
        (
            {"progressive": (0.01, 1), "augment": Augment(), "epochs": 2},
            "progressive: expected sizes that the model can take, got 0.01 .input_shape",
        ),
    ],
)
def test_options_that_cannot_be_used_change_nothing(changes: dict[str, Any], says: str) -> None:
    model, (X, y) = small_model(), data()
    before = {name: value.tobytes() for name, value in model.state().items()}
    with pytest.raises((ValueError, TypeError), match=f"^{says}"):
        one_step(model, **({"X": X, "y": y} | changes))
    assert {name: value.tobytes() for name, value in model.state().items()} == before
    assert model.training == {}


@pytest.mark.parametrize("images", [1, 2])
def test_batches_of_one_image_are_refused_where_a_batch_norm_sees_one_pixel(images: int) -> None:
    """The variance of one value is 0, whatever the value: the norm would learn nothing of it."""
    X, y = data()
    kept = X[:: COUNT // images][:images], y[:: COUNT // images][:images]
    blocks = [(4, 3), (4, 3), (4, 3)]
    model = CNN(SHAPE, blocks, [CLASSES], batch_norm=True, seed=0)
    before = model.snapshot()
    with pytest.raises(ValueError, match=r"^batch_size: expected at least 2 images, as norm3"):
        train(model, *kept, epochs=1, batch_size=1, progress=False)
    assert all(np.array_equal(before[name], value) for name, value in model.snapshot().items())
    larger = CNN(SHAPE, blocks[:2], [CLASSES], batch_norm=True, seed=0)
    assert train(larger, *kept, epochs=1, batch_size=1, progress=False).epochs == 1
