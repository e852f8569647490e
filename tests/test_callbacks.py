"""What the callbacks write, and when they end a run."""

import csv
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ferrocnn
from ferrocnn import (
    CsvLog,
    DivergedError,
    EarlyStopping,
    History,
    SaveLast,
    StopTraining,
    TensorBoard,
    train,
)
from run_cases import data, make_model

MODEL = make_model("sgd")


def stops_after(patience: int, metric: str, values: list[float]) -> int | None:
    """The epoch, counted from 1, after which training ends; None if it does not."""
    callback = EarlyStopping(patience, metric)
    for epoch in range(1, len(values) + 1):
        history = History(loss=[1.0] * epoch)
        setattr(history, metric, values[:epoch])
        try:
            callback(MODEL, history)
        except StopTraining:
            return epoch
    return None


@pytest.mark.parametrize(
    ("patience", "metric", "values", "expected"),
    [
        (1, "val_accuracy", [0.5, 0.6, 0.7], None),
        (1, "val_accuracy", [0.5, 0.6, 0.6, 0.9], 3),
        (2, "val_accuracy", [0.5, 0.6, 0.6, 0.7, 0.1, 0.1], 6),
        (2, "val_loss", [0.5, 0.4, 0.4, 0.4], 4),
        (2, "val_loss", [0.5, 0.6, 0.4, 0.5, 0.6], 5),
        (3, "loss", [3.0, 2.0, 1.0, 0.5], None),
        (2, "val_auc", [math.nan, 0.5, math.nan, math.nan], 4),
        (2, "val_f1", [math.nan, math.nan, 0.1], None),
    ],
)
def test_early_stopping(
    patience: int, metric: str, values: list[float], expected: int | None
) -> None:
    assert stops_after(patience, metric, values) == expected


def test_early_stopping_is_a_function_of_the_history_alone() -> None:
    history = History(loss=[1.0] * 4, val_accuracy=[0.5, 0.6, 0.6, 0.6])
    with pytest.raises(StopTraining):
        EarlyStopping(2)(MODEL, history)  # though it saw no earlier epoch


def test_early_stopping_ends_train_and_the_epoch_counts() -> None:
    model = make_model("sgd")
    history = train(
        model, *data(), epochs=9, learning_rate=1e-12, seed=0, progress=False,
        validation_data=data(20, seed=1), callbacks=[EarlyStopping(2)],
    )  # fmt: skip
    assert history.epochs == model.training["epochs"] == 3


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((0,), "patience"),
        ((1.5,), "patience"),
        ((1, "speed"), "metric"),
        ((1, "seconds"), "metric"),
    ],
)
def test_early_stopping_names_what_is_wrong(arguments: tuple, name: str) -> None:
    with pytest.raises((ValueError, TypeError), match=f"^{name}: expected"):
        EarlyStopping(*arguments)


def test_early_stopping_needs_what_it_watches() -> None:
    model, seen = make_model("sgd"), []
    callbacks = [lambda *_: seen.append(1), EarlyStopping(1)]
    with pytest.raises(ValueError, match=r"^metric: .*val_accuracy.*validation_data"):
        train(model, *data(), epochs=1, progress=False, callbacks=callbacks)
    assert not seen  # before the first epoch, not after it


def test_save_last_keeps_each_epoch_in_turn(tmp_path: Path) -> None:
    path, seen = tmp_path / "last.npz", []

    def look(model: ferrocnn.CNN, history: History) -> None:
        saved = ferrocnn.load(path)
        seen.append(saved.training["epochs"])
        own, kept = model.state(), saved.state()
        assert all(np.array_equal(own[name], kept[name]) for name in own)

    callbacks = [SaveLast(path), look]
    train(make_model("sgd"), *data(), epochs=3, progress=False, callbacks=callbacks)
    assert seen[-1] >= 1
    assert len(seen) == 3


@pytest.mark.parametrize("validation", [None, data(20, seed=1)])
def test_csv_log_has_a_row_an_epoch(tmp_path: Path, validation: object) -> None:
    path = tmp_path / "results.csv"
    path.write_text("of an older run")
    history = train(
        make_model("sgd"), *data(), epochs=3, seed=0, progress=False, validation_data=validation,
        callbacks=[CsvLog(path)],
    )  # fmt: skip
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row.pop("epoch") for row in rows] == ["1", "2", "3"]
    measured = {name: values for name, values in vars(history).items() if values}
    assert set(rows[0]) == set(measured)
    assert ("val_loss" in measured) == (validation is not None)
    for name, values in measured.items():
        assert [float(row[name]) for row in rows] == values


def test_csv_log_that_cannot_be_written_leaves_the_older_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        CsvLog(tmp_path / "absent" / "results.csv")(MODEL, History(loss=[1.0], accuracy=[0.5]))
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    from tensorboardX.proto.event_pb2 import Event

    callback = TensorBoard(tmp_path / "logs")
    history = train(
        make_model("sgd"), *data(), epochs=3, seed=0, progress=False,
        validation_data=data(20, seed=1), callbacks=[callback],
    )  # fmt: skip
    callback.close()
    (path,) = (tmp_path / "logs").iterdir()
    found: dict[str, dict[int, float]] = {}
    content, place = path.read_bytes(), 0
    while place < len(content):  # a record: its length, 4 bytes of checksum, the event, 4 more
        length = int.from_bytes(content[place : place + 8], "little")
        event = Event.FromString(content[place + 12 : place + 12 + length])
        place += 16 + length
        for value in event.summary.value:
            found.setdefault(value.tag, {})[event.step] = value.simple_value
    assert set(found) == {name for name, values in vars(history).items() if values}
    for name, values in found.items():
        assert list(values) == [1, 2, 3]
        assert list(values.values()) == pytest.approx(getattr(history, name), rel=1e-6)


def test_tensorboard_without_its_library_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"pip install 'ferrocnn\[tensorboard\]'"):
        TensorBoard(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_library_is_imported_only_when_it_is_used() -> None:
    code = "import sys, ferrocnn; print('tensorboardX' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


@pytest.mark.filterwarnings("ignore:overflow")
def test_an_epoch_that_diverges_meets_no_callback() -> None:
    with pytest.raises(DivergedError):
        train(
            make_model("sgd"), *data(), epochs=2, learning_rate=1e30, progress=False,
            callbacks=[pytest.fail],
        )  # fmt: skip
