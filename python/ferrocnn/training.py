"""Training: the loop over epochs and batches."""

import math
import secrets
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferrocnn.checks import (
    Images,
    check_images,
    check_int,
    check_labels,
    check_positive_float,
    check_positive_int,
)
from ferrocnn.errors import DivergedError
from ferrocnn.history import History
from ferrocnn.metrics import Evaluation, as_dataset, check_model, judge
from ferrocnn.optimizers import Optimizer, make_optimizer
from ferrocnn.progress import Reporter, open_reporter

if TYPE_CHECKING:
    from ferrocnn.images import ImageDataset
    from ferrocnn.model import CNN

Labels = NDArray[np.float32]
Callback: TypeAlias = "Callable[[CNN, History], object]"


def train(
    model: "CNN",
    X_train: "ArrayLike | ImageDataset",
    y_train: ArrayLike | None = None,
    epochs: int = 100,
    learning_rate: float = 0.001,
    batch_size: int = 64,
    optimizer: str | Optimizer = "sgd",
    validation_data: "tuple[ArrayLike, ArrayLike] | ImageDataset | None" = None,
    shuffle: bool = True,
    seed: int | None = None,
    progress: bool = True,
    callbacks: Sequence[Callback] = (),
) -> History:
    """Train a model on labelled images, a batch at a time.

    The same seed gives the same weights, bit for bit, on any number of threads. A last batch
    that is smaller is trained like the others. After each epoch `model.training` holds a record of
    the run so far; the callbacks see it.

    Args:
        model: trained in place.
        X_train: (n, height, width, channels) images, uint8 (0..255) or float (taken as it is); or
            an ImageDataset, from which the model also takes class names and preprocessing.
        y_train: (n,) or (n, 1) labels, 0 or 1; None with an ImageDataset.
        epochs: passes over the images.
        learning_rate: step size of an optimiser given by name; an instance has its own.
        batch_size: images a step.
        optimizer: "sgd", "momentum", "adam"; or an instance, which goes on from its state.
        validation_data: (X, y) or an ImageDataset, evaluated after each epoch.
        shuffle: whether each epoch takes the images in a new random order.
        seed: of that order; None draws one, which `model.training` then tells.
        progress: whether standard error shows a bar (a terminal) or a line an epoch (otherwise).
        callbacks: called in turn as `callback(model, history)` after each epoch.

    Raises:
        ValueError, TypeError: an argument cannot be used. The model is unchanged.
        DivergedError: the loss, a gradient, a weight or the validation loss is not finite. The
            model has the weights of the last epoch that ended well, or those it came with; an
            optimiser that was given keeps its state, so make a new one.
        KeyboardInterrupt: Ctrl-C. A step that has begun is finished first.
    """
    check_model(model)
    epochs = check_positive_int("epochs", epochs)
    learning_rate = check_positive_float("learning_rate", learning_rate)
    batch_size = check_positive_int("batch_size", batch_size)
    seed = _draw_seed() if seed is None else check_int("seed", seed, 0)
    _check_callbacks(callbacks)
    X, y, dataset = _unpack(X_train, y_train, model)
    X = check_images(X, model.input_shape, "X_train")
    y = check_labels(y, len(X), "y_train")
    validation = None
    if validation_data is not None:
        class_names = model.class_names if dataset is None else dataset.class_names
        X_val, y_val = _unpack_validation(validation_data, class_names)
        X_val = check_images(X_val, model.input_shape, "validation_data")
        validation = X_val, check_labels(y_val, len(X_val), "validation_data")
    optimizer = make_optimizer(optimizer, learning_rate)

    if dataset is not None:
        model.class_names, model.preprocessing = dataset.class_names, dataset.preprocessing
    settings = {
        "optimizer": optimizer.name,
        "learning_rate": optimizer.learning_rate,
        "batch_size": batch_size,
        "shuffle": bool(shuffle),
        "seed": seed,
        "images": len(X),
        "validation_images": len(validation[0]) if validation else 0,
    }
    history = History()
    generator = np.random.Generator(np.random.PCG64(seed))
    order = np.arange(len(X))
    batch = np.empty_like(X, shape=(min(batch_size, len(X)), *model.input_shape))
    good = model.snapshot()

    with closing(open_reporter(progress, epochs, len(X))) as reporter:
        for epoch in range(1, epochs + 1):
            if shuffle:
                order = generator.permutation(len(X))
            started = time.perf_counter()
            try:
                loss, accuracy = _run_epoch(model, X, y, order, batch, optimizer, reporter)
                seconds = time.perf_counter() - started
                result = _judge(model, batch, validation)
            except DivergedError as error:
                model.set_state(good)
                raise DivergedError(_advice(epoch, optimizer.learning_rate)) from error
            history.loss.append(loss)
            history.accuracy.append(accuracy)
            history.seconds.append(seconds)
            if result is not None:
                history.val_loss.append(result.loss)
                history.val_accuracy.append(result.accuracy)
            good = model.snapshot()
            model.training = _record(history) | settings
            for callback in callbacks:
                callback(model, history)
            reporter.epoch(history)  # last: an epoch that was seen to end has been saved
    return history


def _run_epoch(
    model: "CNN",
    X: Images,
    y: Labels,
    order: NDArray[np.int64],
    batch: Images,
    optimizer: Optimizer,
    reporter: Reporter,
) -> tuple[float, float]:
    """Take one step for each batch of `order`; return the mean loss and the accuracy."""
    loss_sum, correct, seen = 0.0, 0, 0
    for first in range(0, len(order), len(batch)):
        rows = order[first : first + len(batch)]
        # mode="clip" gathers straight into `out`; the default mode goes through a copy.
        images = np.take(X, rows, axis=0, out=batch[: len(rows)], mode="clip")
        with _Unbroken():
            loss, hits = model.train_step(images, y[rows], optimizer)
        loss_sum += loss * len(rows)
        correct += hits
        seen += len(rows)
        reporter.batch(len(rows), loss_sum / seen, correct / seen)
    return loss_sum / seen, correct / seen


class _Unbroken:
    """A block that Ctrl-C does not break: the signal is passed on when the block has ended.

    A step updates one parameter after the other, and an exception between two of them would leave
    a model that no training run ever has. Only the main thread gets signals.
    """

    def __enter__(self) -> None:
        self._caught: tuple[int, FrameType | None] | None = None
        self._handler: Any = None
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler):  # not where SIGINT is ignored, or handled outside Python
                self._handler = handler
                signal.signal(signal.SIGINT, self._catch)

    def __exit__(self, *_: object) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            if self._caught is not None:
                self._handler(*self._caught)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self._caught = number, frame


def _judge(
    model: "CNN", batch: Images, validation: tuple[Images, Labels] | None
) -> Evaluation | None:
    """Evaluate after an epoch. DivergedError where the weights or what they give is not finite."""
    # What the last step left has met no batch yet, so the loss of the epoch cannot tell.
    finite = all(np.isfinite(value).all() for value in model.state().values())
    if not (finite and np.isfinite(model.infer(batch)).all()):
        raise DivergedError("the epoch's last step: expected finite weights and logits")
    if validation is None:
        return None
    X, y = validation
    result = judge(model.infer(X), y)
    if not math.isfinite(result.loss):
        raise DivergedError(f"validation loss: expected a finite value, got {result.loss}")
    return result


def _advice(epoch: int, learning_rate: float) -> str:
    kept = f"after epoch {epoch - 1}" if epoch > 1 else "before training"
    return (
        f"learning_rate: expected a rate at which the loss stays finite, got {learning_rate:g}, "
        f"which diverged in epoch {epoch}; the model has its weights from {kept}; "
        f"try a rate ten times lower or less: {min(learning_rate / 10, 0.001):g}"
    )


def _record(history: History) -> dict[str, Any]:
    """Return what the model's file says of the run so far."""
    best = history.best_epoch
    return {"epochs": history.epochs, "best_epoch": best, **history.metrics(best)}


def _draw_seed() -> int:
    return secrets.randbits(32)


def _check_callbacks(callbacks: Sequence[Callback]) -> None:
    # A generator would be used up by this check, and no callback ever called.
    if not isinstance(callbacks, Sequence) or not all(map(callable, callbacks)):
        raise TypeError(f"callbacks: expected a list of callables, got {callbacks!r}")


def _unpack(
    X: "ArrayLike | ImageDataset", y: ArrayLike | None, model: "CNN"
) -> "tuple[ArrayLike, ArrayLike, ImageDataset | None]":
    """Return images, labels, and the data set that they came in, if any."""
    dataset = as_dataset(X)
    if dataset is None:
        if y is None:
            raise TypeError("y_train: expected labels, got None; only an ImageDataset brings them")
        return cast(ArrayLike, X), y, None
    if y is not None:
        raise TypeError("y_train: expected None, as the ImageDataset X_train brings its labels")
    if len(dataset.class_names) != 2:
        raise ValueError(f"X_train: expected two classes, got {', '.join(dataset.class_names)}")
    _check_names("X_train", dataset, model.class_names)
    if model.preprocessing not in (None, dataset.preprocessing):
        raise ValueError(
            f"X_train: expected images made by the model's {model.preprocessing}, "
            f"got {dataset.preprocessing}"
        )
    return dataset.images, dataset.labels, dataset


def _unpack_validation(
    data: "tuple[ArrayLike, ArrayLike] | ImageDataset", class_names: tuple[str, ...] | None
) -> tuple[ArrayLike, ArrayLike]:
    dataset = as_dataset(data)
    if dataset is not None:
        _check_names("validation_data", dataset, class_names)
        return dataset.images, dataset.labels
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(f"validation_data: expected (X, y) or an ImageDataset, got {type(data)}")
    return data[0], data[1]


def _check_names(name: str, data: "ImageDataset", expected: tuple[str, ...] | None) -> None:
    if expected is not None and data.class_names != expected:
        raise ValueError(f"{name}: expected the classes {expected}, got {data.class_names}")
