"""The training loop: step by step the same as one by hand, and safe when it goes wrong."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ferrocnn
from ferrocnn import CNN, DivergedError, History, SaveBest, train
from ferrocnn.images import ImageDataset
from ferrocnn.preprocessing import Preprocessing

SHAPE = (8, 8, 3)


def small_model(seed: int = 0) -> CNN:
    return CNN(SHAPE, [(4, 3)], [5, 1], seed=seed)


def data(count: int = 50, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images whose brightness tells the label."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 2, count)
    X = generator.integers(0, 156, (count, *SHAPE)) + 100 * y[:, None, None, None]
    return X.astype(np.uint8), y


def dataset(names: tuple[str, ...] = ("Cat", "Dog"), seed: int = 0) -> ImageDataset:
    X, y = data(seed=seed)
    paths = [Path(f"{i}.jpg") for i in range(len(X))]
    return ImageDataset(X, y.astype(np.int64), names, paths, [], Preprocessing(SHAPE[:2]), None)


def bits(model: CNN) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in model.parameters().items()}


def test_without_shuffling_it_is_gradient_descent_batch_by_batch() -> None:
    X, y = data()
    model, by_hand = small_model(), small_model()
    history = train(
        model, X, y, epochs=2, learning_rate=0.05, batch_size=16, shuffle=False, progress=False
    )
    losses = []
    for _ in range(2):
        batches = [(X[i : i + 16], y[i : i + 16]) for i in range(0, 50, 16)]
        steps = [(by_hand.backward(a, b, 0.05), len(a)) for a, b in batches]
        losses.append(sum(loss * n for loss, n in steps) / 50)
    assert bits(model) == bits(by_hand)
    assert history.loss == pytest.approx(losses, rel=1e-12)


def test_shuffling_takes_every_image_once_an_epoch_in_new_orders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X, y = data()
    X[:, 0, 0, 0] = np.arange(50)
    model, seen = small_model(), []
    step = model.train_step

    def remember(images, targets, optimizer, **others):
        seen.extend(images[:, 0, 0, 0].tolist())
        return step(images, targets, optimizer, **others)

    monkeypatch.setattr(model, "train_step", remember)
    train(model, X, y, epochs=2, batch_size=16, seed=4, progress=False)
    first, second = seen[:50], seen[50:]
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second != list(range(50))


def test_shuffling_is_a_permutation_of_pcg64_an_epoch_and_hits_are_counted() -> None:
    X, y = data()
    model, by_hand, losses, accuracies = small_model(), small_model(), [], []
    history = train(
        model, X, y, epochs=2, learning_rate=0.05, batch_size=16, seed=7, progress=False
    )
    for epoch in range(2):
        loss, hits = 0.0, 0
        order = np.random.Generator(np.random.PCG64([7, epoch])).permutation(50)
        for i in range(0, 50, 16):
            rows = order[i : i + 16]
            hits += int((by_hand.predict(X[rows]) == y[rows]).sum())
            loss += by_hand.backward(X[rows], y[rows], 0.05) * len(rows)
        losses.append(loss / 50)
        accuracies.append(hits / 50)
    assert bits(model) == bits(by_hand)
    assert history.loss == losses
    assert history.accuracy == accuracies
    assert model.training["seed"] == 7


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_the_same_seed_gives_the_same_bits_on_any_number_of_threads(optimizer: str) -> None:
    X, y = data(100)
    before, results = ferrocnn.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            ferrocnn.set_num_threads(threads)
            model = small_model()
            train(model, X, y, epochs=2, optimizer=optimizer, seed=1, progress=False)
            results.append(bits(model))
    finally:
        ferrocnn.set_num_threads(before)
    assert results[0] == results[1] == results[2]
    other = small_model()
    train(other, X, y, epochs=2, optimizer=optimizer, seed=2, progress=False)
    assert bits(other) != results[0]


def test_it_learns_and_reports(tmp_path: Path) -> None:
    X, y = data(200)
    model, path = small_model(), tmp_path / "best.npz"
    calls: list[int] = []
    history = train(
        model, X, y, epochs=8, learning_rate=0.01, optimizer="adam", seed=0, progress=False,
        validation_data=data(80, seed=1),
        callbacks=[SaveBest(path), lambda m, h: calls.append(h.epochs)],
    )  # fmt: skip
    assert history.val_accuracy[-1] > 0.9
    assert calls == list(range(1, 9))
    saved = ferrocnn.load(path)
    best = history.best_epoch
    assert saved.training["best_epoch"] == saved.training["epochs"] == best
    assert saved.training["val_accuracy"] == max(history.val_accuracy)
    result = ferrocnn.evaluate(saved, *data(80, seed=1))
    assert result.accuracy == history.val_accuracy[best - 1]
    assert result.loss == history.val_loss[best - 1]


def test_best_epoch_breaks_ties_by_loss_then_by_age() -> None:
    history = History(
        loss=[3, 2, 1, 1], val_accuracy=[0.5, 0.9, 0.9, 0.9], val_loss=[1.0, 0.6, 0.4, 0.4]
    )
    assert history.best_epoch == 3
    assert History(loss=[3, 1, 2]).best_epoch == 2
    with pytest.raises(ValueError, match="history"):
        _ = History().best_epoch


def test_a_data_set_brings_names_and_preprocessing() -> None:
    model = small_model()
    train(model, dataset(), epochs=1, validation_data=dataset(seed=1), progress=False)
    assert model.class_names == ("Cat", "Dog")
    assert model.preprocessing == Preprocessing(SHAPE[:2])


@pytest.mark.filterwarnings("ignore:overflow")
def test_divergence_gives_back_the_last_good_weights() -> None:
    X, y = data()
    model = small_model()
    before = bits(model)
    with pytest.raises(DivergedError, match=r"learning_rate.*much lower"):
        train(model, X, y, epochs=3, learning_rate=1e30, progress=False)
    assert bits(model) == before

    good: dict[str, bytes] = {}

    def spoil(model: CNN, history: History) -> None:
        good.update(bits(model))
        optimizer.learning_rate = 1e38

    optimizer = ferrocnn.SGD(0.01)
    with pytest.raises(DivergedError, match="after epoch 1"):
        train(
            model, X, y, epochs=3, learning_rate=0.01, optimizer=optimizer, progress=False,
            callbacks=[spoil],
        )  # fmt: skip
    assert bits(model) == good


BAD = [
    ({"epochs": 0}, "epochs"),
    ({"epochs": 1.5}, "epochs"),
    ({"learning_rate": 0}, "learning_rate"),
    ({"learning_rate": float("nan")}, "learning_rate"),
    ({"batch_size": -1}, "batch_size"),
    ({"optimizer": "magic"}, "optimizer"),
    ({"seed": -1}, "seed"),
    ({"callbacks": [3]}, "callbacks"),
    ({"callbacks": (callback for callback in ())}, "callbacks"),
    ({"callbacks": print}, "callbacks"),
    ({"validation_data": 3}, "validation_data"),
    ({"validation_data": (data()[0], np.full(50, 2))}, "validation_data"),
    ({"validation_data": (data()[0][:, :4], data()[1])}, "validation_data"),
    ({"X_train": data()[0][:0], "y_train": []}, "X_train"),
    ({"y_train": None}, "y_train"),
    ({"y_train": data()[1] * 2}, "y_train"),
    ({"y_train": np.full(50, np.nan)}, "y_train"),
    ({"X_train": dataset()}, "y_train"),
    ({"X_train": dataset(("a", "b", "c")), "y_train": None}, "X_train"),
    ({"X_train": np.full((50, *SHAPE), np.inf)}, "X_train"),
]


@pytest.mark.parametrize(("changes", "name"), BAD, ids=[str(i) for i in range(len(BAD))])
def test_bad_arguments_are_named_and_change_nothing(changes: dict, name: str) -> None:
    X, y = data()
    model = small_model()
    before = bits(model)
    arguments = {"X_train": X, "y_train": y, "epochs": 1, "progress": False} | changes
    with pytest.raises((ValueError, TypeError), match=f"^{name}"):
        train(model, **arguments)
    assert bits(model) == before
    assert model.training == {}


def test_other_class_names_are_refused() -> None:
    model = small_model()
    model.class_names = ("Hen", "Ox")
    with pytest.raises(ValueError, match=r"X_train.*Hen.*Cat"):
        train(model, dataset(), epochs=1, progress=False)


def test_other_preprocessing_is_refused() -> None:
    model = small_model()
    model.preprocessing = Preprocessing(SHAPE[:2], exif_orientation=False)
    with pytest.raises(ValueError, match=r"X_train.*exif_orientation=False.*=True"):
        train(model, dataset(), epochs=1, progress=False)
    assert model.class_names is None


INTERRUPTED = """
import os, signal, sys
import numpy as np
import ferrocnn
sys.path.insert(0, {tests!r})
from test_training import data, small_model
model = small_model()
step = model.train_step
def signalled(*arguments, **others):
    os.kill(os.getpid(), signal.SIGINT)  # in the middle of a step
    result = step(*arguments, **others)
    print("step ended")
    return result
model.train_step = signalled
try:
    ferrocnn.train(model, *data(), epochs=1, progress=False)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_an_interrupt_waits_for_the_end_of_the_step() -> None:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    script = INTERRUPTED.format(tests=str(Path(__file__).parent))
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[:2] == ["step ended", "interrupted"]
