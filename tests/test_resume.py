"""A run that was stopped, anywhere and in any way, ends with the bits of one that was not."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ferrocnn
from ferrocnn import CNN, History, Run, StopTraining
from ferrocnn.averaging import AveragedWeights
from ferrocnn.callbacks import CsvLog, SaveBest, SaveLast
from ferrocnn.interrupts import Deferred
from ferrocnn.progress import INTERRUPTED
from run_cases import BATCHES, CASES, EPOCHS, data, fit, make_model, outcome, weights

Whole = Callable[[str], tuple[dict[str, Any], dict[str, bytes]]]


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """Ctrl-C as a program has it that runs in the foreground, whatever the tests run in."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """What a run of a case leaves that is never stopped, and its model's weights."""
    found: dict[str, tuple[dict[str, Any], dict[str, bytes]]] = {}

    def get(case: str) -> tuple[dict[str, Any], dict[str, bytes]]:
        if case not in found:
            run = tmp_path_factory.mktemp("whole") / "run"
            model, history = fit(case, run)
            assert history.epochs == EPOCHS
            found[case] = outcome(run), weights(model)
        return found[case]

    return get


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def interrupt() -> None:
    raise KeyboardInterrupt


def at_call(number: int, act: Callable[[], None], function: Callable[..., Any]) -> Any:
    """Return `function`, which does `act` before its call of this number, counted from 1."""
    calls = 0

    def acting(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            act()
        return function(*arguments, **options)

    return acting


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "steps", [(1,), (2,), (3,), (4,), (5, 3), (7,), (BATCHES * EPOCHS,), (1, 1, 1)]
)
def test_stopped_by_ctrl_c_in_a_step_of_any_epoch(
    case: str,
    steps: tuple[int, ...],
    tmp_path: Path,
    whole: Whole,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for step in steps:
        model = make_model(case, seed=step)  # but the first: resuming brings the weights
        if step == steps[0]:
            model = make_model(case)
        with monkeypatch.context() as patch:
            patch.setattr(CNN, "train_step", at_call(step, ctrl_c, CNN.train_step))
            with pytest.raises(KeyboardInterrupt):
                fit(case, tmp_path / "run", model)
    assert Run(tmp_path / "run").history().epochs == (sum(steps) - 1) // BATCHES
    model, history = fit(case, tmp_path / "run", make_model(case, seed=99))
    assert (outcome(tmp_path / "run"), weights(model)) == whole(case)
    assert history.epochs == EPOCHS


PLACES = [
    (CNN, "infer"),
    (CNN, "set_state"),
    (CNN, "snapshot"),
    (AveragedWeights, "values"),
    (SaveBest, "__call__"),
    (SaveLast, "__call__"),
    (CsvLog, "__call__"),
    (Run, "save"),
]


@pytest.mark.parametrize("act", [ctrl_c, interrupt])
@pytest.mark.parametrize(("kind", "name"), PLACES, ids=[f"{k.__name__}.{n}" for k, n in PLACES])
def test_stopped_in_every_call_around_the_end_of_an_epoch(
    kind: type,
    name: str,
    act: Callable[[], None],
    tmp_path: Path,
    whole: Whole,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if act is interrupt and name == "set_state":
        pytest.skip("no signal gets there: the exchange of the weights is unbroken")
    case = "adamw, average, batch norm, dropout"
    stopped = 0
    for call in range(1, 40):
        run = tmp_path / str(call)
        with monkeypatch.context() as patch:
            patch.setattr(kind, name, at_call(call, act, getattr(kind, name)))
            try:
                fit(case, run)
            except KeyboardInterrupt:
                stopped += 1
            else:
                break
        model, _ = fit(case, run)
        assert (outcome(run), weights(model)) == whole(case), call
    assert stopped >= 3


def test_stopped_twice_at_the_end_of_an_epoch(tmp_path: Path, whole: Whole) -> None:
    """In a callback, whose epoch is then ended again: judged, and its callbacks called."""
    case, run = "momentum, one-cycle, augmented", tmp_path / "run"
    called: list[int] = []

    def callback(model: CNN, history: History) -> None:
        called.append(history.epochs)
        if len(called) in (2, 3):
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fit(case, run, callbacks=[callback])
        assert Run(run).history().epochs == 1
    model = make_model(case)
    steps = []
    step = model.train_step
    model.train_step = lambda *a, **o: (steps.append(0), step(*a, **o))[1]  # type: ignore[method-assign]
    fit(case, run, model, callbacks=[callback])
    assert called == [1, 2, 2, 2, 3, 4]
    assert len(steps) == 2 * BATCHES
    assert (outcome(run), weights(model)) == whole(case)


def test_ctrl_c_waits_for_the_callbacks_and_a_second_one_does_not(tmp_path: Path) -> None:
    ended: list[int] = []

    def once(model: CNN, history: History) -> None:
        ctrl_c()
        ended.append(history.epochs)

    with pytest.raises(KeyboardInterrupt):
        fit("sgd", tmp_path / "once", callbacks=[once])
    assert ended == [1]
    assert Run(tmp_path / "once").history().epochs == 1

    def twice(model: CNN, history: History) -> None:
        if history.epochs == 2:
            ctrl_c()
            ctrl_c()
            ended.append(history.epochs)

    with pytest.raises(KeyboardInterrupt):
        fit("sgd", tmp_path / "twice", callbacks=[twice])
    assert ended == [1]
    assert Run(tmp_path / "twice").history().epochs == 1  # as it was saved before


def test_a_handler_that_raises_nothing_is_called_and_training_goes_on(
    tmp_path: Path, whole: Whole
) -> None:
    calls = []
    signal.signal(signal.SIGINT, lambda *_: calls.append(0))
    try:
        model = make_model("sgd")
        model.train_step = at_call(2, ctrl_c, model.train_step)  # type: ignore[method-assign]
        fit("sgd", tmp_path / "run", model)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert calls == [0]
    assert (outcome(tmp_path / "run"), weights(model)) == whole("sgd")


def test_a_signal_that_waits_at_the_end_of_the_block_is_passed_on() -> None:
    with pytest.raises(KeyboardInterrupt), Deferred():
        ctrl_c()


def test_the_first_ctrl_c_is_said_at_once_and_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said: list[str] = []
    step = CNN.train_step

    def train_step(*arguments: Any, **options: Any) -> Any:
        ctrl_c()
        said.append(capsys.readouterr().err)  # amid the step, which ends nevertheless
        ctrl_c()
        return step(*arguments, **options)

    monkeypatch.setattr(CNN, "train_step", train_step)
    for progress, expected in ((True, f"{INTERRUPTED}\n"), (False, "")):
        with pytest.raises(KeyboardInterrupt):
            fit("sgd", tmp_path / str(progress), progress=progress)
        assert said.pop() == expected
        assert capsys.readouterr().err == ""


def test_a_ctrl_c_that_cannot_be_said_still_waits() -> None:
    ended = []

    def block() -> None:
        with Deferred(lambda: 1 // 0) as interrupts:
            with interrupts.unbroken(), interrupts.unbroken():
                ctrl_c()
            ended.append(0)

    with pytest.raises(KeyboardInterrupt):
        block()
    assert ended == [0]


@pytest.mark.parametrize("same_block", [True, False])
def test_a_second_ctrl_c_waits_for_the_end_of_its_block_or_is_the_first(same_block: bool) -> None:
    ended, interrupts = [], Deferred()

    def block() -> None:
        with interrupts:
            with interrupts.unbroken():
                ctrl_c()
                if same_block:
                    ctrl_c()
                ended.append("first")
            with interrupts.unbroken():
                with interrupts.unbroken():
                    if not same_block:
                        ctrl_c()
                ended.append("second")
            ended.append("third")

    with pytest.raises(KeyboardInterrupt):
        block()
    expected = ["first", "second", "third"] if same_block else ["first", "second"]
    assert (ended, interrupts.at_once) == (expected, not same_block)


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize(
    "place",
    [
        "CNN.train_step:8",
        "os.replace:9",
        "os.fsync:14",
        "CNN.infer:5",
        "os.replace:1",
        "os.replace:2",
    ],
)
def test_killed(place: str, tmp_path: Path, whole: Whole) -> None:
    case, run = "three classes, lion, all at once", tmp_path / "run"
    name, call = place.split(":")
    script = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from ferrocnn import CNN
from run_cases import fit
from test_resume import at_call
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
{name} = at_call({call}, kill, {name})
fit({case!r}, Path({str(run)!r}))
"""
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert Run(run).exists is (place not in ("os.replace:1", "os.replace:2"))  # as it began
    model, _ = fit(case, run)
    assert (outcome(run), weights(model)) == whole(case)


def test_stopped_before_it_began_it_begins(tmp_path: Path, whole: Whole) -> None:
    (tmp_path / "run").mkdir()
    model, _ = fit("sgd", tmp_path / "run")
    assert (outcome(tmp_path / "run"), weights(model)) == whole("sgd")


@pytest.mark.parametrize("case", ["sgd", "adamw, average, batch norm, dropout"])
def test_a_finished_run_gives_its_model_and_history(
    case: str, tmp_path: Path, whole: Whole
) -> None:
    run = tmp_path / "run"
    first, history = fit(case, run)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert Run(run).finished
    model, again = fit(case, run, make_model(case, seed=8), callbacks=[pytest.fail])
    assert weights(model) == weights(first) == whole(case)[1]
    assert again == history
    assert model.training == first.training
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_run_that_a_callback_ended_is_finished(tmp_path: Path) -> None:
    def stop(model: CNN, history: History) -> None:
        if history.epochs == 2:
            raise StopTraining

    first, history = fit("sgd", tmp_path / "run", callbacks=[stop])
    assert Run(tmp_path / "run").finished
    model, again = fit("sgd", tmp_path / "run", callbacks=[pytest.fail])
    assert again == history
    assert again.epochs == 2
    assert weights(model) == weights(first)


def test_float_images_without_shuffling_or_validation(tmp_path: Path) -> None:
    X, y = data()
    floats = X.astype(np.float32) / 255
    changes = {"validation_data": None, "shuffle": False, "X_train": floats, "y_train": y}
    results = []
    for stops in ((), (3,), (4, 3)):
        run = tmp_path / f"run{len(stops)}"
        for stop in stops:
            model = make_model("sgd")
            model.train_step = at_call(stop, ctrl_c, model.train_step)  # type: ignore[method-assign]
            with pytest.raises(KeyboardInterrupt):
                _train(model, run, changes)
        model = make_model("sgd")
        _train(model, run, changes)
        results.append((weights(model), outcome(run)))
    assert results[0] == results[1] == results[2]


def _train(model: CNN, run: Path, changes: dict[str, Any]) -> None:
    ferrocnn.train(
        model, epochs=EPOCHS, batch_size=16, seed=3, progress=False, run=run, resume=True, **changes
    )


@pytest.mark.filterwarnings("ignore:overflow")
def test_divergence_after_resuming_gives_the_weights_of_the_last_epoch(tmp_path: Path) -> None:
    good: dict[str, bytes] = {}

    def remember(model: CNN, history: History) -> None:
        good.update(weights(model))

    case, run = "adamw, average, batch norm, dropout", tmp_path / "run"
    model = make_model(case)
    model.train_step = at_call(BATCHES + 2, ctrl_c, model.train_step)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        fit(case, run, model, callbacks=[remember])
    model = make_model(case)

    def spoil(*arguments: Any, **options: Any) -> Any:
        model.parameters()["dense1.weight"][...] = 3e38
        return step(*arguments, **options)

    step, model.train_step = model.train_step, spoil  # type: ignore[method-assign]
    with pytest.raises(ferrocnn.DivergedError, match="after epoch 1"):
        fit(case, run, model)
    assert weights(model) == good
