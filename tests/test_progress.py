"""What training says while it runs: which reporter speaks, and what its lines hold."""

import io
import sys

import numpy as np
import pytest

import ferrocnn
from ferrocnn.history import History
from ferrocnn.progress import BarReporter, LineReporter, Reporter, epoch_line, open_reporter


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def history(epochs: int, seconds: float, validation: bool = True) -> History:
    """Epoch i (from 0) has the losses 1 / (i + 1) and 2 / (i + 1)."""
    steps = range(epochs)
    return History(
        loss=[1 / (i + 1) for i in steps],
        accuracy=[0.5 + i / 100 for i in steps],
        val_loss=[2 / (i + 1) for i in steps] if validation else [],
        val_accuracy=[0.4 + i / 100 for i in steps] if validation else [],
        seconds=[seconds] * epochs,
    )


@pytest.mark.parametrize(
    ("progress", "stream", "expected"),
    [
        (False, Terminal, Reporter),
        (True, io.StringIO, LineReporter),
        (True, Terminal, BarReporter),
    ],
)
def test_stream_decides(
    monkeypatch: pytest.MonkeyPatch,
    progress: bool,
    stream: type[io.StringIO],
    expected: type[Reporter],
) -> None:
    monkeypatch.setattr(sys, "stderr", stream())
    reporter = open_reporter(progress, epochs=2, images=10)
    reporter.close()
    assert type(reporter) is expected


def test_line_of_an_epoch() -> None:
    # 500 images in 4 s; two of five epochs are done, so three of 4 s are left.
    assert epoch_line(history(2, seconds=4.0), epochs=5, images=500) == (
        "epoch 2/5: loss 0.5000, accuracy 0.5100, val_loss 1.0000, val_accuracy 0.4100, "
        "125 images/s, 0:12 left"
    )


def test_line_without_validation_and_of_the_last_epoch() -> None:
    line = epoch_line(history(2, seconds=4.0, validation=False), epochs=2, images=500)
    assert line == "epoch 2/2: loss 0.5000, accuracy 0.5100, 125 images/s"


@pytest.mark.parametrize(
    ("seconds", "left"), [(0.2, "0:00"), (59.6, "1:00"), (61, "1:01"), (3725, "1:02:05")]
)
def test_time_left(seconds: float, left: str) -> None:
    assert epoch_line(history(1, seconds), epochs=2, images=10).endswith(f", {left} left")


def test_epoch_that_took_no_measurable_time() -> None:
    assert "images/s" in epoch_line(history(1, seconds=0.0), epochs=1, images=10)


def test_bar_shows_the_running_numbers_and_leaves_the_epochs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    reporter = BarReporter(epochs=2, images=100)
    reporter.bar.mininterval = 0  # draw every batch
    reporter.batch(50, 0.25, 0.75)
    reporter.batch(50, 0.125, 0.875)
    reporter.epoch(history(1, seconds=1.0))
    reporter.batch(50, 0.0625, 0.9375)
    reporter.close()
    drawn = screen.getvalue()
    assert "epoch 1/2  50%" in drawn
    assert "loss 0.1250, accuracy 0.8750" in drawn
    assert "epoch 2/2  75%" in drawn
    assert "images/s" in drawn
    assert " left" in drawn
    kept = [line for line in drawn.split("\n") if line.rpartition("\r")[2].strip()]
    assert [line.rpartition("\r")[2] for line in kept] == [
        epoch_line(history(1, seconds=1.0), 2, 100)
    ]


@pytest.mark.parametrize(("progress", "lines"), [(True, 3), (False, 0)])
def test_train_speaks_on_stderr_only(
    capsys: pytest.CaptureFixture[str], progress: bool, lines: int
) -> None:
    model = ferrocnn.CNN(input_shape=(4, 4, 3), conv_filters=[(2, 3)], fc_layers=[1], seed=0)
    images = np.zeros((4, 4, 4, 3), np.uint8)
    ferrocnn.train(model, images, [0, 1, 0, 1], epochs=2, seed=0, progress=progress)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == lines
