"""What training says while it runs: a bar on a terminal, a line an epoch elsewhere, or nothing."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ferrocnn.history import History

INTERRUPTED = "finishing the batch; Ctrl-C again stops at once"


class Reporter:
    """Says nothing; the base of the two that do."""

    def batch(self, count: int, loss: float, accuracy: float) -> None:
        """Take note of `count` more images, and of the epoch's mean loss and accuracy so far."""

    def forecast(self, seconds: float, memory: int | None) -> None:
        """Take note of the seconds that are left, and the bytes that the process needs, if known.

        Called once, after the first batches.
        """

    def epoch(self, history: "History", left: float) -> None:
        """Take note of the epoch that was just added to `history`; `left` seconds follow."""

    def interrupted(self) -> None:
        """Take note of a Ctrl-C that waits. Called by its handler, amid anything else."""

    def close(self) -> None:
        """Leave the screen as it should stay."""


class LineReporter(Reporter):
    """One plain line an epoch on standard error: for logs, pipes and notebooks."""

    def __init__(self, epochs: int, images: int) -> None:
        self.epochs = epochs
        self.images = images

    def forecast(self, seconds: float, memory: int | None) -> None:
        """Print what is to be expected."""
        print(forecast_line(seconds, self.epochs, memory), file=sys.stderr, flush=True)

    def epoch(self, history: "History", left: float) -> None:
        """Print the newest epoch."""
        print(epoch_line(history, self.epochs, self.images, left), file=sys.stderr, flush=True)

    def interrupted(self) -> None:
        """Print what is waited for."""
        print(INTERRUPTED, file=sys.stderr, flush=True)


class BarReporter(Reporter):
    """A tqdm bar over the whole training, and above it a line for each finished epoch."""

    def __init__(self, epochs: int, images: int, done: int = 0) -> None:
        from tqdm import tqdm

        self.epochs = epochs
        self.images = images
        self.bar = tqdm(
            total=epochs * images,
            initial=done,
            desc=f"epoch {min(done // images + 1, epochs)}/{epochs}",
            unit=" images",
            file=sys.stderr,
            leave=False,
            dynamic_ncols=True,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {remaining} left, {rate_fmt}{postfix}",
        )

    def batch(self, count: int, loss: float, accuracy: float) -> None:
        """Move the bar on; tqdm draws it ten times a second at most."""
        self.bar.set_postfix_str(f"loss {loss:.4f}, accuracy {accuracy:.4f}", refresh=False)
        self.bar.update(count)

    def forecast(self, seconds: float, memory: int | None) -> None:
        """Print above the bar what is to be expected."""
        self.bar.write(forecast_line(seconds, self.epochs, memory), file=sys.stderr)

    def epoch(self, history: "History", left: float) -> None:
        """Print the newest epoch above the bar."""
        self.bar.write(epoch_line(history, self.epochs, self.images, left), file=sys.stderr)
        if history.epochs < self.epochs:
            self.bar.set_description_str(f"epoch {history.epochs + 1}/{self.epochs}")

    def interrupted(self) -> None:
        """Print above the bar what is waited for."""
        self.bar.write(INTERRUPTED, file=sys.stderr)

    def close(self) -> None:
        """Clear the bar; the lines of the epochs stay."""
        self.bar.close()


def open_reporter(progress: bool, epochs: int, images: int, done: int = 0) -> Reporter:
    """Choose the reporter for `epochs` epochs of `images` images: none if `progress` is false.

    done: images that an earlier part of the run was trained on, over all its epochs.
    """
    if not progress:
        return Reporter()
    return (
        BarReporter(epochs, images, done) if sys.stderr.isatty() else LineReporter(epochs, images)
    )


class Pace:
    """How long batches take, from the first ones of a run."""

    def __init__(self) -> None:
        self._seconds: list[float] = []

    def add(self, seconds: float) -> None:
        """Take in the newest batch."""
        self._seconds.append(seconds)

    @property
    def known(self) -> bool:
        """Whether ten batches and a second are over."""
        return len(self._seconds) >= 10 and sum(self._seconds) >= 1.0

    @property
    def mean(self) -> float:
        """Mean seconds of a batch. The first is left out: it also takes memory."""
        later = self._seconds[1:] or self._seconds
        return sum(later) / len(later)


def peak_memory() -> int | None:
    """Return the most bytes that the process has held at once; None where that is not known."""
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def forecast_line(seconds: float, epochs: int, memory: int | None) -> str:
    """Say how long it will take to the end of the last epoch, and with how much memory."""
    line = f"expected: {_duration(seconds)} to the end of epoch {epochs}"
    return line if memory is None else f"{line}, {memory / 1e6:.0f} MB of memory"


def epoch_line(history: "History", epochs: int, images: int, left: float) -> str:
    """Describe the newest epoch of `history` in one line, with speed and the seconds left."""
    parts = [f"loss {loss_text(history.loss[-1])}", f"accuracy {history.accuracy[-1]:.4f}"]
    if history.val_loss:
        parts.append(f"val_loss {loss_text(history.val_loss[-1])}")
        parts.append(f"val_accuracy {history.val_accuracy[-1]:.4f}")
    parts.append(f"{images / max(history.seconds[-1], 1e-9):.0f} images/s")
    if history.epochs < epochs:
        parts.append(f"{_duration(left)} left")
    return f"epoch {history.epochs}/{epochs}: " + ", ".join(parts)


def loss_text(loss: float) -> str:
    """Show a loss to four places, and one that has exploded by its order."""
    return f"{loss:.4f}" if loss < 1e4 else f"{loss:.2e}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
