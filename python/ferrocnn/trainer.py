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
from ferrocnn.checks import Images
from ferrocnn.errors import DivergedError, StopTraining
from ferrocnn.history import History
from ferrocnn.interrupts import Unbroken
from ferrocnn.losses import make_loss
from ferrocnn.metrics import Evaluation, judge
from ferrocnn.optimizers import Optimizer
from ferrocnn.progress import Reporter
from ferrocnn.schedules import Schedule

if TYPE_CHECKING:
    from ferrocnn.model import CNN

Labels = NDArray[np.int64]
State = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Data:
    """Images as `check_images` returns them, labels (n,), and what each image weighs, (n,)."""

    X: Images
    y: Labels
    weights: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.X)


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
        record: Mapping[str, Any],
    ) -> None:
        self.model = model
        self.history = History()
        self.epochs = epochs
        self.images = len(data)
        self._data, self._validation = data, validation
        self._batch_size = min(batch_size, len(data))
        self._batches = math.ceil(len(data) / self._batch_size)
        self._optimizer, self._schedule = optimizer, schedule
        self._rate = optimizer.learning_rate
        self._seed, self._shuffle = seed, shuffle
        self._augment = augment
        self._loss = make_loss(model.fc_layers[-1], label_smoothing)
        self._clip_norm = clip_norm
        self._average = None if average is None else AveragedWeights(average)
        self._record = record
        self._progress = Progress()
        self._gathered = np.empty_like(data.X, shape=(self._batch_size, *data.X.shape[1:]))
        self._batch = self._gathered
        if augment is not None:
            self._batch = np.empty((self._batch_size, *model.input_shape), np.uint8)
        self._good = model.snapshot()

    def run(
        self, callbacks: Sequence[Callable[["CNN", History], object]], reporter: Reporter
    ) -> History:
        """Go on to the last epoch. What it raises is said at `ferrocnn.train`."""
        try:
            while self.history.epochs < self.epochs:
                try:
                    self._run_epoch(reporter)
                    with self._averaged():
                        self._end_epoch()
                        for callback in callbacks:
                            callback(self.model, self.history)
                except DivergedError as error:
                    self.model.set_state(self._good)
                    raise DivergedError(self._advice()) from error
                reporter.epoch(self.history)  # last: an epoch that was seen to end has been saved
        except StopTraining:
            reporter.epoch(self.history)
        finally:
            if self._schedule is not None:
                self._optimizer.learning_rate = self._rate
        if self._average is not None:
            self.model.set_state(self._average.values())
        return self.history

    def _run_epoch(self, reporter: Reporter) -> None:
        """Take one step for each batch that is left of the epoch."""
        epoch, progress = self.history.epochs, self._progress
        order = np.arange(len(self._data))
        if self._shuffle:
            generator = np.random.Generator(np.random.PCG64([self._seed, epoch]))
            order = generator.permutation(len(self._data))
        while progress.batch < self._batches:
            first = progress.batch * self._batch_size
            rows = order[first : first + self._batch_size]
            started = time.perf_counter()
            with Unbroken():
                loss, weight, hits = self._step(epoch, progress.batch, rows)
                progress.batch += 1
                progress.loss += loss * weight
                progress.weight += weight
                progress.hits += hits
                progress.images += len(rows)
                progress.seconds += time.perf_counter() - started
            reporter.batch(
                len(rows), progress.loss / (progress.weight or 1.0), progress.hits / progress.images
            )

    def _step(self, epoch: int, batch: int, rows: NDArray[np.int64]) -> tuple[float, float, int]:
        """Do one step; return the loss, what the images weigh together, and the hits."""
        number = epoch * self._batches + batch
        key = int(np.random.SeedSequence([self._seed, number]).generate_state(1, np.uint64)[0])
        # mode="clip" gathers straight into `out`; the default mode goes through a copy.
        X = np.take(self._data.X, rows, axis=0, out=self._gathered[: len(rows)], mode="clip")
        targets = self._loss.targets(self._data.y[rows])
        if self._augment is not None:
            X = self._augment.apply(X, key, self._batch[: len(rows)])
            targets = self._augment.mix(X, targets, key)
        weights = None if self._data.weights is None else self._data.weights[rows]
        if self._schedule is not None:
            factor = self._schedule.factor(number, self.epochs * self._batches)
            self._optimizer.learning_rate = self._rate * factor
        loss, hits = self.model.train_step(
            X, targets, self._optimizer, weights=weights, key=key, clip_norm=self._clip_norm
        )
        if self._average is not None:
            self._average.update(self.model.state())
        return loss, float(len(rows) if weights is None else weights.sum()), hits

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Give the model its averaged weights for a while, where there are some."""
        if self._average is None:
            yield
            return
        with Unbroken():
            own = self.model.snapshot()
            self.model.set_state(self._average.values())
        try:
            yield
        finally:
            with Unbroken():
                self.model.set_state(own)

    def _end_epoch(self) -> None:
        """Judge the model and write the epoch down."""
        progress, history = self._progress, self.history
        result = self._judge()
        with Unbroken():
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
            self._good = self.model.snapshot()
            self._progress = Progress()
            best = history.best_epoch
            reached = {"epochs": history.epochs, "best_epoch": best, **history.metrics(best)}
            self.model.training = reached | dict(self._record)

    def _judge(self) -> Evaluation | None:
        """Evaluate. DivergedError where the weights or what they give is not finite."""
        model = self.model
        # What the last step left has met no batch yet, so the loss of the epoch cannot tell.
        finite = all(np.isfinite(value).all() for value in model.state().values())
        if not (finite and np.isfinite(model.infer(self._batch)).all()):
            raise DivergedError("the epoch's last step: expected finite weights and logits")
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
            f"try a rate ten times lower or less: {min(rate / 10, 0.001):g}"
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """Return copies of all that is needed to go on with equal bits from the last batch on."""
        position = {"progress": asdict(self._progress), "history": asdict(self.history)}
        arrays: dict[str, NDArray[Any]] = {"position": np.array(json.dumps(position))}
        parts: dict[str, State] = {
            "model": self.model.snapshot(),
            "optimizer": self._optimizer.state(),
            "average": {} if self._average is None else self._average.state(),
        }
        for part, values in parts.items():
            arrays |= {f"{part}/{name}": value for name, value in values.items()}
        return arrays

    def set_state(self, state: State) -> None:
        """Go on from what `state` gave. ValueError or KeyError where it does not fit the run."""
        position = json.loads(str(state["position"]))

        def part(name: str) -> dict[str, NDArray[Any]]:
            start = f"{name}/"
            return {key[len(start) :]: state[key] for key in state if key.startswith(start)}

        self.model.set_state(part("model"))
        self._optimizer.set_state(part("optimizer"), self.model.parameters())
        if self._average is not None:
            self._average.set_state(part("average"), self.model.state())
        self.history = History(**position["history"])
        self._progress = Progress(**position["progress"])
        self._good = self.model.snapshot()
