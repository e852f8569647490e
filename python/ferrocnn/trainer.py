"""The loop over epochs and batches, which can be stopped and gone on with at any batch.

Whatever a run draws (the order of an epoch, what a batch is augmented with, what is dropped out)
is a function of its seed and of the number of the epoch and the batch. So its state is its weights,
what the optimiser and the average keep, and where it stands.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ferrocnn.augmentation import Augment
from ferrocnn.averaging import AveragedWeights
from ferrocnn.batches import Batch, Batches, Data
from ferrocnn.errors import DivergedError, StopTraining
from ferrocnn.history import History
from ferrocnn.interrupts import Deferred
from ferrocnn.losses import make_loss
from ferrocnn.metrics import Evaluation, judge
from ferrocnn.optimizers import Optimizer
from ferrocnn.progress import Pace, Reporter, peak_memory
from ferrocnn.progressive import Sizes
from ferrocnn.schedules import Schedule

if TYPE_CHECKING:
    from ferrocnn.model import CNN

State = Mapping[str, NDArray[Any]]
Callbacks = Sequence[Callable[["CNN", History], object]]


@dataclass
class Progress:
    """Where a run stands in its epoch."""

    batch: int = 0
    loss: float = 0.0
    weight: float = 0.0
    hits: int = 0
    images: int = 0
    seconds: float = 0.0


class Trainer:
    """A training run."""

    def __init__(
        self,
        model: "CNN",
        data: Data,
        validation: Data | None,
        *,
        epochs: int,
        batch_size: int,
        optimizer: Optimizer,
        schedule: Schedule | None,
        seed: int,
        shuffle: bool,
        augment: Augment | None,
        label_smoothing: float,
        clip_norm: float | None,
        average: float | None,
        progressive: Sequence[float],
        record: Mapping[str, Any],
    ) -> None:
        self.model = model
        self._sizes = Sizes(model, progressive, epochs, augment)
        self.history = History()
        self.epochs = epochs
        self._stopped = False
        self._pace: Pace | None = Pace()
        self._images, self._validation = len(data), validation
        self._optimizer, self._schedule = optimizer, schedule
        self._rate = optimizer.learning_rate
        self._batches = Batches(
            data,
            make_loss(model.fc_layers[-1], label_smoothing),
            size=batch_size,
            seed=seed,
            shuffle=shuffle,
        )
        if self._batches.size == 1:
            self._sizes.check_single_images()
        self._clip_norm = clip_norm
        self._average = None if average is None else AveragedWeights(average)
        self._record = record
        self._progress = Progress()
        self._good = model.snapshot()
        self._interrupts = Deferred()

    @property
    def finished(self) -> bool:
        """Whether no epoch is left, or a callback has ended the run."""
        return self._stopped or self.history.epochs == self.epochs

    @property
    def images_done(self) -> int:
        """Images that were trained on, over all epochs."""
        return self.history.epochs * self._images + self._progress.images

    def run(
        self,
        callbacks: Callbacks,
        reporter: Reporter,
        save: Callable[[State], object] | None = None,
    ) -> History:
        """Go on to the last epoch. What it raises is said at `ferrocnn.train`.

        save: called with `state` after each epoch and its callbacks, and on Ctrl-C, which waits
        for the end of the batch or the epoch's end that is at work. A second Ctrl-C waits for a
        step alone, and nothing is saved then.
        """
        with Deferred(reporter.interrupted) as self._interrupts:
            try:
                self._run_epochs(callbacks, reporter, save)
            except DivergedError as error:
                with self._interrupts.unbroken():
                    self.model.set_state(self._good)
                raise DivergedError(self._advice()) from error
            finally:
                if self._schedule is not None:
                    self._optimizer.learning_rate = self._rate
            if self._average is not None:
                with self._interrupts.unbroken():
                    self.model.set_state(self._average.values())
        return self.history

    def _run_epochs(
        self,
        callbacks: Callbacks,
        reporter: Reporter,
        save: Callable[[State], object] | None,
    ) -> None:
        try:
            while not self.finished:
                self._run_epoch(reporter)
                self._end_epoch(callbacks)
                if save is not None:
                    save(self.state())
                # An epoch that was seen to end has been saved.
                reporter.epoch(self.history, self._seconds_left())
                self._interrupts.pass_on()
        except KeyboardInterrupt:
            if not self._interrupts.at_once:
                self._check_finite()
                if save is not None:
                    save(self.state())
            raise

    def _run_epoch(self, reporter: Reporter) -> None:
        """Take one step for each batch that is left of the epoch."""
        epoch, progress = self.history.epochs, self._progress
        while progress.batch < len(self._batches):
            started = time.perf_counter()
            with self._interrupts.unbroken():
                loss, weight, hits, images = self._step(epoch)
                progress.batch += 1
                progress.loss += loss * weight
                progress.weight += weight
                progress.hits += hits
                progress.images += images
                progress.seconds += time.perf_counter() - started
            reporter.batch(
                images, progress.loss / (progress.weight or 1.0), progress.hits / progress.images
            )
            self._forecast(time.perf_counter() - started, reporter)
            self._interrupts.pass_on()

    def _forecast(self, seconds: float, reporter: Reporter) -> None:
        """Tell once what the first batches let expect; the newest took `seconds`."""
        if self._pace is None:
            return
        self._pace.add(seconds)
        epoch, batch = self.history.epochs, self._progress.batch
        if not (self._pace.known or batch == len(self._batches)):
            return
        left = self._sizes.work(epoch, self.epochs) / self._sizes.work(epoch, epoch + 1)
        seconds = self._pace.mean * (left * len(self._batches) - batch)
        if self._validation is not None:
            X = self._validation.X[: self._batches.size]
            started = time.perf_counter()
            self.model.infer(X)
            share = len(self._validation) / len(X)
            seconds += (time.perf_counter() - started) * share * (self.epochs - epoch)
        self._pace = None
        largest = self._sizes.at(epoch).share == self._sizes.largest  # smaller ones need less
        reporter.forecast(seconds, peak_memory() if largest else None)

    def _seconds_left(self) -> float:
        """Tell what the epochs that are over let expect of the others."""
        done = self.history.epochs
        pace = sum(self.history.seconds) / self._sizes.work(0, done)
        return pace * self._sizes.work(done, self.epochs)

    def _step(self, epoch: int) -> tuple[float, float, int, int]:
        """Do one step; return the loss, what the images weigh together, the hits and the images."""
        model, batch = self._make(epoch, self._progress.batch)
        if self._schedule is not None:
            step = epoch * len(self._batches) + self._progress.batch
            factor = self._schedule.factor(step, self.epochs * len(self._batches))
            self._optimizer.learning_rate = self._rate * factor
        loss, hits = model.train_step(
            batch.X,
            batch.targets,
            self._optimizer,
            weights=batch.weights,
            key=batch.key,
            clip_norm=self._clip_norm,
        )
        if self._average is not None:
            self._average.update(self.model.state())
        images = len(batch.X)
        weight = float(images if batch.weights is None else batch.weights.sum())
        return loss, weight, hits, images

    def _make(self, epoch: int, number: int) -> "tuple[CNN, Batch]":
        """Return a batch, and the model of the size that images have in that epoch."""
        _, model, augment = self._sizes.at(epoch)
        return model, self._batches.make(epoch, number, model.input_shape, augment)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Give the model its averaged weights for a while, where there are some."""
        if self._average is None:
            yield
            return
        own = self.model.snapshot()
        try:
            with self._interrupts.unbroken():
                self.model.set_state(self._average.values())
            yield
        finally:
            with self._interrupts.unbroken():
                self.model.set_state(own)

    def _end_epoch(self, callbacks: Callbacks) -> None:
        """Judge the model, write the epoch down and call the callbacks.

        Where that is interrupted the epoch has not ended: all of it is done again when the run
        goes on.
        """
        ended, record = self.history.epochs, self.model.training
        self._check_finite()
        try:
            with self._averaged():
                self._write_down(self._judge())
                good = self.model.snapshot()
                for callback in callbacks:
                    callback(self.model, self.history)
        except StopTraining:
            self._stopped = True
        except KeyboardInterrupt:
            self.history.keep(ended)
            self.model.training = record
            raise
        with self._interrupts.unbroken():
            self._good = good
            self._progress = Progress()

    def _write_down(self, result: Evaluation | None) -> None:
        progress, history = self._progress, self.history
        history.loss.append(progress.loss / (progress.weight or 1.0))
        history.accuracy.append(progress.hits / progress.images)
        history.seconds.append(progress.seconds)
        history.learning_rate.append(self._optimizer.learning_rate)
        if result is not None:
            history.val_loss.append(result.loss)
            history.val_accuracy.append(result.accuracy)
            history.val_balanced_accuracy.append(result.balanced_accuracy)
            history.val_auc.append(result.auc)
            history.val_f1.append(result.f1)
        self.model.training = self._describe(history)

    def _describe(self, history: History) -> dict[str, Any]:
        """Return the record that tells what the run has reached."""
        best = history.best_epoch
        reached = {"epochs": history.epochs, "best_epoch": best, **history.metrics(best)}
        return reached | dict(self._record)

    def _check_finite(self) -> None:
        """Raise DivergedError where the last step left what is not finite."""
        kept: list[State] = [self.model.state(), self._optimizer.state()]
        if self._average is not None:
            kept.append(self._average.values())
        if not all(np.isfinite(value).all() for values in kept for value in values.values()):
            raise DivergedError("the last step: expected finite weights, moments and averages")

    def _judge(self) -> Evaluation | None:
        """Evaluate. DivergedError where what the weights give is not finite."""
        model = self.model
        # What the last step left has met no batch yet, so the loss of the epoch cannot tell.
        trained, batch = self._make(self.history.epochs, len(self._batches) - 1)
        if not np.isfinite(trained.infer(batch.X)).all():
            raise DivergedError("the epoch's last step: expected finite logits")
        if self._validation is None:
            return None
        result = judge(model.infer(self._validation.X), self._validation.y)
        if not math.isfinite(result.loss):
            raise DivergedError(f"validation loss: expected a finite value, got {result.loss}")
        return result

    def _advice(self) -> str:
        ended = self.history.epochs
        kept = f"after epoch {ended}" if ended else "before training"
        rate = self._rate if self._schedule is not None else self._optimizer.learning_rate
        return (
            f"learning_rate: expected a rate at which the loss stays finite, got {rate:g}, "
            f"which diverged in epoch {ended + 1}; the model has its weights from {kept}; "
            f"try a much lower rate, such as {min(rate / 10, 0.001):g}"
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """Return copies of all that is needed to go on with equal bits from the last batch on."""
        position = {
            "progress": asdict(self._progress),
            "history": asdict(self.history),
            "learning_rate": self._optimizer.learning_rate,
            "stopped": self._stopped,
        }
        arrays: dict[str, NDArray[Any]] = {"position": np.array(json.dumps(position))}
        parts: dict[str, State] = {
            "model": self.model.snapshot(),
            "good": self._good,
            "optimizer": self._optimizer.state(),
            "average": {} if self._average is None else self._average.state(),
        }
        for part, values in parts.items():
            arrays |= {f"{part}/{name}": value for name, value in values.items()}
        return arrays

    def set_state(self, state: State) -> None:
        """Go on from what `state` gave. Where it does not fit nothing changes."""

        def part(name: str) -> dict[str, NDArray[Any]]:
            start = f"{name}/"
            return {key[len(start) :]: state[key] for key in state if key.startswith(start)}

        position = json.loads(str(state["position"]))
        rate, stopped = position["learning_rate"], position["stopped"]
        history, progress = History(**position["history"]), Progress(**position["progress"])
        training = self._describe(history) if history.epochs else self.model.training
        average = None
        if self._average is not None:
            average = AveragedWeights(self._average.decay)
            average.set_state(part("average"), self.model.state())
        before = self.model.snapshot()
        try:
            self.model.set_state(part("good"))  # checks it
            good = self.model.snapshot()
            self.model.set_state(part("model"))
            self._optimizer.set_state(part("optimizer"), self.model.parameters())
        except Exception:
            self.model.set_state(before)
            raise
        self._optimizer.learning_rate = rate
        self._good, self._average = good, average
        self.history, self._progress, self._stopped = history, progress, stopped
        self.model.training = training
