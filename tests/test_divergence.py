"""Training that diverges in its last step, which no batch has met: nothing infinite is kept."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ferrocnn
from ferrocnn import CNN, Augment, DivergedError, Run, train
from ferrocnn.optimizers import Adam
from run_cases import weights

pytestmark = pytest.mark.filterwarnings("ignore:overflow", "ignore:X_train", "ignore:invalid")

SHAPE = (8, 8, 3)
HUGE = 3e38


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def small_model() -> CNN:
    return CNN(SHAPE, [(4, 3)], [1], seed=0)


def data(largest: float = 500.0) -> tuple[np.ndarray, np.ndarray]:
    """Images with large pixels, negative for one class: so are the gradients."""
    y = np.arange(16) % 2
    X = np.random.default_rng(0).random((16, *SHAPE)) * largest
    X[y == 1] *= -1
    return X.astype(np.float32), y


def fit(model: CNN, largest: float = 500.0, **options: Any) -> None:
    arguments = {"epochs": 1, "batch_size": 16, "learning_rate": HUGE, "seed": 0}
    train(model, *data(largest), progress=False, **(arguments | options))


LAST_STEPS: dict[str, Callable[[], dict[str, Any]]] = {
    "weights": dict,
    "weights, average": lambda: {"average": 0.9},
    "weights, average that is the newest": lambda: {"average": 0.0},
    # Gradients are finite, their squares are not, and so nothing moves.
    "moments": lambda: {"optimizer": Adam(1e-6), "largest": 1e25},
    "moments, average": lambda: {"optimizer": Adam(1e-6), "largest": 1e25, "average": 0.9},
}


@pytest.mark.parametrize("case", LAST_STEPS)
def test_what_the_last_step_of_an_epoch_left_is_looked_at(case: str) -> None:
    model = small_model()
    before = weights(model)
    with pytest.raises(DivergedError, match=r"learning_rate: .*much lower"):
        fit(model, **LAST_STEPS[case]())
    assert weights(model) == before
    assert model.training == {}


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("case", LAST_STEPS)
def test_ctrl_c_saves_nothing_that_cannot_be_resumed(case: str, kept: bool, tmp_path: Path) -> None:
    model = small_model()
    before, step = weights(model), model.train_step

    def signalled(*arguments: Any, **options: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return step(*arguments, **options)

    model.train_step = signalled  # type: ignore[method-assign]
    run = Run(tmp_path / "run")
    options = {"run": run, "resume": True} if kept else {}
    with pytest.raises(DivergedError, match=r"learning_rate: .*before training"):
        fit(model, **options, **LAST_STEPS[case]())
    assert weights(model) == before
    if kept:
        with np.load(run.folder / "state.npz") as state:
            assert all(state[name].tobytes() == bits for name, bits in _saved(before).items())
        assert run.history().epochs == 0


def _saved(model: dict[str, bytes]) -> dict[str, bytes]:
    return {f"model/{name}": bits for name, bits in model.items()}


def test_in_an_epoch_of_small_images() -> None:
    """The weights that the small model shares are given back, and what it saw is named."""
    X, y = data()
    X = np.abs(X / 2).astype(np.uint8)
    model = CNN(SHAPE, [(4, 3)], [1], global_average_pool=True, batch_norm=True, seed=0)
    before = weights(model)
    arguments = {"augment": Augment(), "progressive": (0.5, 1.0), "progress": False, "seed": 0}
    with pytest.raises(DivergedError, match=r"in epoch 1; .*before training"):
        train(model, X, y, epochs=2, learning_rate=HUGE, **arguments)
    assert weights(model) == before

    good: dict[str, bytes] = {}

    def spoil(model: CNN, history: ferrocnn.History) -> None:
        good.update(weights(model))
        optimizer.learning_rate = HUGE

    optimizer = ferrocnn.SGD(0.01)
    with pytest.raises(DivergedError, match=r"in epoch 2; .*after epoch 1"):
        train(model, X, y, epochs=4, optimizer=optimizer, callbacks=[spoil], **arguments)
    assert weights(model) == good


class Signalling(np.ndarray):
    """An array that Ctrl-C comes to twice as it is written to; the second waits for no epoch."""

    def __setitem__(self, key: Any, value: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        super().__setitem__(key, value)


def test_ctrl_c_waits_until_all_averages_are_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    model, averages = small_model(), {}
    state = model.state

    def last(model: CNN, history: ferrocnn.History) -> None:
        """From the third exchange on: in for the callbacks, out, and in for good."""
        averages.update(model.snapshot())
        monkeypatch.setattr(model, "set_state", second)

    def second(values: Any) -> None:
        monkeypatch.setattr(model, "set_state", third)
        CNN.set_state(model, values)

    def third(values: Any) -> None:
        own = state()
        own["conv1.bias"] = own["conv1.bias"].view(Signalling)
        with monkeypatch.context() as patch:
            patch.setattr(model, "state", lambda: own)
            CNN.set_state(model, values)

    with pytest.raises(KeyboardInterrupt):
        fit(model, learning_rate=1e-6, batch_size=8, average=0.5, callbacks=[last])
    for name, value in model.state().items():
        np.testing.assert_array_equal(value, averages[name])
