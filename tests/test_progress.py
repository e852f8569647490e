"""What training says while it runs: which reporter speaks, and what its lines hold."""

import io
import sys

import numpy as np
import pytest

import ferrocnn
from ferrocnn.history import History
from ferrocnn.progress import (
    INTERRUPTED,
    BarReporter,
    LineReporter,
    Pace,
    Reporter,
    epoch_line,
    forecast_line,
    open_reporter,
    peak_memory,
)


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
    # 500 images in 4 s.
    assert epoch_line(history(2, seconds=4.0), epochs=5, images=500, left=12.0) == (
        "epoch 2/5: loss 0.5000, accuracy 0.5100, val_loss 1.0000, val_accuracy 0.4100, "
        "125 images/s, 0:12 left"
    )


def test_line_without_validation_and_of_the_last_epoch() -> None:
    line = epoch_line(history(2, seconds=4.0, validation=False), epochs=2, images=500, left=0.0)
    assert line == "epoch 2/2: loss 0.5000, accuracy 0.5100, 125 images/s"


@pytest.mark.parametrize(
    ("seconds", "left"), [(0.2, "0:00"), (59.6, "1:00"), (61, "1:01"), (3725, "1:02:05")]
)
def test_time_left(seconds: float, left: str) -> None:
    line = epoch_line(history(1, 1.0), epochs=2, images=10, left=seconds)
    assert line.endswith(f", {left} left")


def test_epoch_that_took_no_measurable_time() -> None:
    assert "images/s" in epoch_line(history(1, seconds=0.0), epochs=1, images=10, left=0.0)


def test_bar_shows_the_running_numbers_and_leaves_the_epochs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    reporter = BarReporter(epochs=2, images=100)
    reporter.bar.mininterval = 0  # draw every batch
    reporter.batch(50, 0.25, 0.75)
    reporter.batch(50, 0.125, 0.875)
    reporter.epoch(history(1, seconds=1.0), left=1.0)
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
        epoch_line(history(1, seconds=1.0), 2, 100, 1.0)
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


def test_line_of_a_forecast() -> None:
    expected = "expected: 1:05:00 to the end of epoch 20, 412 MB of memory"
    assert forecast_line(3900.0, 20, 411_900_000) == expected
    assert forecast_line(59.7, 3, None) == "expected: 1:00 to the end of epoch 3"


def test_forecast_stands_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    reporter = BarReporter(epochs=2, images=100)
    reporter.bar.mininterval = 0
    reporter.batch(50, 0.25, 0.75)
    reporter.forecast(30.0, 10**8)
    reporter.batch(50, 0.125, 0.875)
    reporter.close()
    drawn = screen.getvalue()
    assert "expected: 0:30 to the end of epoch 2, 100 MB of memory\n" in drawn
    assert "epoch 1/2  50%" in drawn.partition("expected")[2]
    kept = [line.rpartition("\r")[2] for line in drawn.split("\n")]
    assert [line for line in kept if line.strip()] == [forecast_line(30.0, 2, 10**8)]


def test_what_ctrl_c_waits_for_stands_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    reporter = BarReporter(epochs=2, images=100)
    reporter.interrupted()
    reporter.close()
    kept = [line.rpartition("\r")[2] for line in screen.getvalue().split("\n")]
    assert [line for line in kept if line.strip()] == [INTERRUPTED]


def test_bar_of_a_run_that_is_resumed_starts_there(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    open_reporter(True, epochs=4, images=100, done=250).close()
    assert "epoch 3/4  62%" in screen.getvalue()
    open_reporter(True, epochs=4, images=100, done=400).close()
    assert "epoch 4/4 100%" in screen.getvalue()


@pytest.mark.parametrize(
    ("seconds", "known_after"),
    [([0.5] * 12, 10), ([0.01] * 200, 100), ([2.0] + [0.001] * 20, 10)],
)
def test_pace_is_known_after_ten_batches_and_a_second(
    seconds: list[float], known_after: int
) -> None:
    pace = Pace()
    known = []
    for value in seconds:
        pace.add(value)
        known.append(pace.known)
    first = known.index(True) + 1
    assert first == pytest.approx(known_after, abs=1)  # sums of 0.01 round
    assert first >= 10


def test_mean_of_the_pace_leaves_out_the_first_batch() -> None:
    pace = Pace()
    pace.add(9.0)
    assert pace.mean == 9.0
    pace.add(1.0)
    pace.add(2.0)
    assert pace.mean == 1.5


class Noting(Reporter):
    def __init__(self) -> None:
        self.said: list[str] = []
        self.seconds: list[float] = []

    def batch(self, count: int, loss: float, accuracy: float) -> None:
        self.said.append("batch")

    def forecast(self, seconds: float, memory: int | None) -> None:
        self.said.append("forecast")
        self.seconds.append(seconds)

    def epoch(self, history: History, left: float) -> None:
        self.said.append("epoch")


def noted(monkeypatch: pytest.MonkeyPatch, batches: int, seconds: float) -> Noting:
    """What a run of three epochs says whose batches take `seconds` each, on a clock of its own."""
    reporter, clock = Noting(), [0.0]
    model = ferrocnn.CNN((4, 4, 3), [(2, 3)], [1], seed=0)
    step = model.train_step

    def timed(*arguments, **options):
        clock[0] += seconds
        return step(*arguments, **options)

    monkeypatch.setattr(model, "train_step", timed)
    monkeypatch.setattr("ferrocnn.trainer.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr("ferrocnn.training.open_reporter", lambda *_: reporter)
    images = np.zeros((2 * batches, 4, 4, 3), np.uint8)
    ferrocnn.train(model, images, np.arange(2 * batches) % 2, epochs=3, batch_size=2, seed=0)
    return reporter


def test_forecast_comes_once_after_the_first_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = noted(monkeypatch, 40, 0.5)
    assert slow.said.index("forecast") == 10
    assert slow.said.count("forecast") == 1
    assert slow.seconds == [pytest.approx((3 * 40 - 10) * 0.5)]
    quick = noted(monkeypatch, 40, 2**-5)
    assert quick.said.index("forecast") == 32
    assert quick.seconds == [pytest.approx((3 * 40 - 32) * 2**-5)]


def test_forecast_comes_at_the_latest_after_the_first_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reporter = noted(monkeypatch, 4, 0.001)
    assert reporter.said[:6] == ["batch"] * 4 + ["forecast", "epoch"]
    assert reporter.said.count("forecast") == 1
    assert reporter.seconds == [pytest.approx(8 * 0.001)]


def test_forecast_counts_pixels_where_sizes_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of half the size take a quarter of the time, and need less memory."""
    said: list[tuple[float, int | None]] = []
    ends: list[tuple[float, float]] = []

    class Forecast(Reporter):
        def forecast(self, seconds: float, memory: int | None) -> None:
            said.append((seconds, memory))

        def epoch(self, history: History, left: float) -> None:
            ends.append((clock[0], left))

    clock, step = [0.0], ferrocnn.CNN.train_step

    def timed(model, *arguments, **options):
        clock[0] += 0.25 * (model.input_shape[0] / 8) ** 2
        return step(model, *arguments, **options)

    monkeypatch.setattr(ferrocnn.CNN, "train_step", timed)
    monkeypatch.setattr("ferrocnn.trainer.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr("ferrocnn.training.open_reporter", lambda *_: Forecast())
    images = np.zeros((80, 8, 8, 3), np.uint8)
    # What the first ten batches take, or as many as fill a second.
    for sizes, known, memory in [
        ((0.5, 0.5, 1.0), 1.0, False),
        ((1.0, 0.5, 1.0), 2.5, True),
        ((0.75, 0.5, 0.5), 10 * 0.25 * 0.75**2, True),
    ]:
        model = ferrocnn.CNN((8, 8, 3), [(2, 3)], [1], global_average_pool=True, seed=0)
        said.clear()
        ends.clear()
        started = clock[0]
        ferrocnn.train(
            model, images, np.arange(80) % 2, epochs=3, batch_size=4, seed=0,
            augment=ferrocnn.Augment(), progressive=sizes,
        )  # fmt: skip
        assert clock[0] - started == pytest.approx(sum(size**2 for size in sizes) * 20 * 0.25)
        assert said == [(pytest.approx(clock[0] - started - known), said[0][1])]
        assert (said[0][1] is not None) is memory
        assert [left for _, left in ends] == [pytest.approx(clock[0] - time) for time, _ in ends]


def test_memory_is_that_of_this_process() -> None:
    before = peak_memory()
    assert before is not None
    block = np.ones(40_000_000, np.uint8)
    after = peak_memory()
    assert after is not None
    assert after >= max(before, len(block))
    assert after < 2**40
