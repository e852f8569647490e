"""One user of a model at a time: threads wait, signal handlers are refused, children start free."""

import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from ferrocnn import CNN, SGD, load
from ferrocnn.optimizers import Optimizer

SHAPE = (8, 8, 1)


@pytest.fixture
def model() -> CNN:
    return CNN(SHAPE, [(4, 3)], [5, 1], seed=0)


@pytest.fixture
def batch() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.random((6, *SHAPE), np.float32), np.float32([0, 1, 0, 1, 1, 0])


class Meddling(SGD):
    """Calls something in the middle of each step."""

    def __init__(self, meddle) -> None:
        super().__init__(0.1)
        self.meddle = meddle

    def step(self, parameters, gradients) -> None:
        half = dict(list(parameters.items())[:3])
        super().step(half, gradients)
        self.meddle()
        super().step({k: v for k, v in parameters.items() if k not in half}, gradients)


def test_a_file_never_holds_half_a_step(model: CNN, batch, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    saver = threading.Thread(target=model.save, args=(path,))
    before = model.snapshot()
    model.train_step(*batch, Meddling(saver.start))
    saver.join()
    saved, after = load(path).parameters(), model.parameters()
    assert any((before[name] != after[name]).any() for name in after)
    assert all((saved[name] == after[name]).all() for name in after)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_a_signal_handler_cannot_use_the_model_in_the_middle_of_a_step(model: CNN, batch) -> None:
    errors: list[Exception] = []

    def handler(*_: object) -> None:
        try:
            model.predict_proba(batch[0])
        except RuntimeError as error:
            errors.append(error)

    old = signal.signal(signal.SIGUSR1, handler)
    try:
        model.train_step(*batch, Meddling(lambda: signal.raise_signal(signal.SIGUSR1)))
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert len(errors) == 1
    assert "signal handler" in str(errors[0])
    model.predict_proba(batch[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_forked_in_the_middle_of_a_step_can_predict(model: CNN, batch) -> None:
    expected = model.predict_proba(batch[0])
    codes: list[int] = []

    def fork() -> None:
        child = os.fork()
        if child == 0:
            fresh = CNN(SHAPE, [(4, 3)], [5, 1], seed=0)
            model.predict_proba(batch[0])  # would wait for ever on the parent's turn
            os._exit(0 if (fresh.predict_proba(batch[0]) == expected).all() else 1)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    runner = threading.Thread(target=model.train_step, args=(*batch, Meddling(fork)))
    runner.start()
    runner.join()
    assert codes == [0]


def test_an_optimiser_of_another_model_changes_nothing(model: CNN, batch) -> None:
    from ferrocnn import Adam, Momentum

    other = CNN(SHAPE, [(4, 3)], [7, 1], seed=0)
    rules: list[Optimizer] = [Adam(0.1), Momentum(0.1)]
    for rule in rules:
        model.train_step(*batch, rule)
        before = other.snapshot()
        with pytest.raises(ValueError, match=r"optimizer: .*dense1\.weight"):
            other.train_step(*batch, rule)
        assert all((before[name] == value).all() for name, value in other.parameters().items())
