"""Training: `train` checks its arguments and runs a `Trainer`."""

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike

from ferrocnn.augmentation import Augment
from ferrocnn.batches import Data
from ferrocnn.callbacks import EarlyStopping
from ferrocnn.checks import (
    as_array,
    check_bool,
    check_decay,
    check_images,
    check_int,
    check_not_negative,
    check_positive_float,
    check_positive_int,
)
from ferrocnn.history import History
from ferrocnn.labels import check_class_weight, check_classes, check_sample_weight
from ferrocnn.metrics import as_dataset, check_model
from ferrocnn.optimizers import Optimizer, make_optimizer
from ferrocnn.progress import open_reporter
from ferrocnn.progressive import check_progressive
from ferrocnn.runs import Run, describe_data, list_images
from ferrocnn.schedules import Constant, Schedule, make_schedule
from ferrocnn.trainer import Trainer

if TYPE_CHECKING:
    from ferrocnn.images import ImageDataset
    from ferrocnn.model import CNN

Callback: TypeAlias = "Callable[[CNN, History], object]"
ClassWeight = str | Mapping[Any, float] | Sequence[float] | None


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
    *,
    schedule: str | Schedule = "constant",
    augment: Augment | None = None,
    label_smoothing: float = 0.0,
    class_weight: ClassWeight = None,
    sample_weight: ArrayLike | None = None,
    clip_norm: float | None = None,
    average: float | None = None,
    progressive: Sequence[float] = (1.0,),
    run: str | os.PathLike[str] | Run | None = None,
    resume: bool = False,
) -> History:
    """Train a model on labelled images, a batch at a time.

    The same seed gives the same weights, bit for bit, on any number of threads. A last batch
    that is smaller is trained like the others. After each epoch `model.training` holds a record of
    the run so far; the callbacks see it.

    Args:
        model: trained in place.
        X_train: (n, height, width, channels) images, uint8 (0..255) or float (taken as it is); or
            an ImageDataset, from which the model also takes class names and preprocessing.
        y_train: labels from 0 up, (n,) or (n, 1), or one-hot (n, k); None with an ImageDataset.
        epochs: passes over the images.
        learning_rate: step size of an optimiser given by name; an instance has its own.
        batch_size: images a step.
        optimizer: "sgd", "momentum", "nesterov", "adam", "adamw", "lion"; or an instance, which
            goes on from its state.
        validation_data: (X, y) or an ImageDataset, evaluated after each epoch.
        shuffle: whether each epoch takes the images in a new random order.
        seed: of that order, of augmentation and dropout; None draws one, which `model.training`
            then tells, or takes that of the run that is resumed.
        progress: whether standard error shows a bar (a terminal) or a line an epoch (otherwise).
        callbacks: called in turn as `callback(model, history)` after each epoch. One that raises
            `StopTraining` ends the run as its last epoch would.
        schedule: what the learning rate is multiplied by over the run: "constant", "step",
            "cosine", "linear", "one-cycle", or an instance (`ferrocnn.schedules`).
        augment: random changes of the training images, which must be uint8. They may then be of
            another size than the model's: crops of them are resized to it.
        label_smoothing: share of a target that goes to all classes alike, at least 0, below 1.
        class_weight: what an image of each class weighs in the loss: "balanced" for the same
            weight of every class, or a mapping from labels or class names, or a number a class.
        sample_weight: (n,), what each image weighs, times the weight of its class.
        clip_norm: the largest norm of the gradient of all parameters together; larger ones are
            scaled down to it (Pascanu et al. 2013).
        average: decay of an exponential moving average of the weights, below 1. Validation,
            callbacks and the trained model get the average.
        progressive: sizes of the training images over the run, as shares of the model's; each is
            kept for an equal part of the epochs, one or more. Small images are fast, and good
            enough to begin with; a last share below 1 suits crops, which show things larger than
            inference does (Touvron et al. 2019). Needs `augment`, which makes them, and a model
            with global_average_pool.
        run: a folder, new or empty, that keeps the run: settings, results, best and last model,
            and what resuming needs (see `Run`). Written after each epoch, before the callbacks.
        resume: whether to go on with the run that the folder holds; where it holds none yet, one
            begins. No other process may be training it. Data and settings must be those that it
            was begun with, and the result has the same bits as if it had never been stopped, by
            Ctrl-C or in any other way. The callbacks of an epoch that was interrupted while they
            were called are called again. A run that is finished gives its model and history.

    Raises:
        ValueError, TypeError: an argument cannot be used, or does not agree with the run that is
            resumed. The model is unchanged.
        DivergedError: the loss, a gradient, a weight, what the optimiser keeps or the validation
            loss is not finite. The model has the weights of the last epoch that ended well, or
            those it came with; an optimiser that was given keeps its state, so make a new one.
            Ctrl-C after a step that left such weights ends in this, too.
        KeyboardInterrupt: Ctrl-C. The batch, or the judging and the callbacks of an epoch, is
            finished first, and the state of a `run` saved; a second Ctrl-C waits for a step alone.
    """
    check_model(model)
    epochs = check_positive_int("epochs", epochs)
    learning_rate = check_positive_float("learning_rate", learning_rate)
    batch_size = check_positive_int("batch_size", batch_size)
    run = run if run is None or isinstance(run, Run) else Run(run)
    if check_bool("resume", resume) and run is None:
        raise ValueError("resume: expected a run to go on with, got none; give run=folder as well")
    begun = run if resume and run is not None and run.exists else None
    if seed is None:
        seed = secrets.randbits(32) if begun is None else begun.settings()["train"]["seed"]
    seed = check_int("seed", seed, 0)
    label_smoothing = check_decay("label_smoothing", label_smoothing)
    clip_norm = None if clip_norm is None else check_positive_float("clip_norm", clip_norm)
    average = None if average is None else check_decay("average", average)
    _check_callbacks(callbacks, validated=validation_data is not None)
    if augment is not None and not isinstance(augment, Augment):
        raise TypeError(f"augment: expected an Augment or None, got {augment!r}")
    progressive = check_progressive(progressive, epochs, augment)
    schedule = make_schedule(schedule)

    images, labels, dataset = _unpack(X_train, y_train, model)
    names = dataset.class_names if dataset is not None else model.class_names
    training = _check_training(model, images, labels, augment, (class_weight, sample_weight), names)
    validation = None
    if validation_data is not None:
        X_val, y_val = _unpack_validation(validation_data, names)
        X = check_images(X_val, model.input_shape, "validation_data")
        validation = Data(X, check_classes(y_val, len(X), model.classes, "validation_data"))
    optimizer = make_optimizer(optimizer, learning_rate)
    rate = check_not_negative("optimizer.learning_rate", optimizer.learning_rate)
    optimizer.learning_rate = rate

    arguments = {
        "optimizer": optimizer.config() | {"learning_rate": rate},  # it may have been set by hand
        "schedule": schedule.config(),
        "augment": None if augment is None else augment.to_dict(),
        "batch_size": batch_size,
        "shuffle": bool(shuffle),
        "label_smoothing": label_smoothing,
        "clip_norm": clip_norm,
        "average": average,
        "progressive": list(progressive),
        "seed": seed,
    }
    trainer = Trainer(
        model,
        training,
        validation,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        schedule=None if isinstance(schedule, Constant) else schedule,
        seed=seed,
        shuffle=bool(shuffle),
        augment=augment,
        label_smoothing=label_smoothing,
        clip_norm=clip_norm,
        average=average,
        progressive=progressive,
        record={
            **arguments,
            "images": len(training),
            "validation_images": len(validation) if validation else 0,
        },
    )
    with ExitStack() as stack:
        if run is not None:
            settings = {
                "model": {**model.config(), "flip_average": model.flip_average},
                "train": {"epochs": epochs, **arguments},
                "data": describe_data(training, validation),
            }
            files = None if dataset is None else list_images(dataset, as_dataset(validation_data))
            if begun is None:
                run.begin(settings, files, trainer.state())
                stack.enter_context(run.locked())
            else:
                if not begun.finished:
                    stack.enter_context(begun.locked())
                begun.check(settings, files)
                begun.restore(trainer.set_state)
                model.seed = begun.settings()["model"]["seed"]  # of the weights that it has now
            callbacks = [*run.callbacks(), *callbacks]
        if dataset is not None:
            model.class_names = dataset.class_names
            model.preprocessing = dataset.preprocessing.resized(model.input_shape[:2])
        reporter = open_reporter(progress, epochs, len(training), trainer.images_done)
        stack.callback(reporter.close)
        return trainer.run(callbacks, reporter, None if run is None else run.save)


def _check_training(
    model: "CNN",
    X: ArrayLike,
    y: ArrayLike,
    augment: Augment | None,
    weights: tuple[ClassWeight, ArrayLike | None],
    class_names: Sequence[str] | None,
) -> Data:
    """Return images, labels and weights, checked."""
    shape: Sequence[int] = model.input_shape
    if augment is not None:
        array = as_array(X, "X_train")
        if array.dtype != np.uint8:
            raise TypeError(
                f"X_train: expected uint8 images, as augment changes only such, got {array.dtype}"
            )
        if array.ndim == 4 and min(array.shape) > 0:
            shape = (*array.shape[1:3], model.input_shape[2])  # augment makes them fit
    images = check_images(X, shape, "X_train")
    if augment is not None:  # not all changes are for all numbers of channels
        augment.apply(np.zeros((1, *shape), np.uint8), key=0)
    labels = check_classes(y, len(images), model.classes, "y_train")
    class_weight, sample_weight = weights
    if class_weight is None and sample_weight is None:
        return Data(images, labels)
    names = class_names or tuple(map(str, range(model.classes)))
    of_images = check_class_weight(class_weight, labels, names)[labels]
    if sample_weight is not None:
        own = check_sample_weight(sample_weight, len(images))
        product = np.multiply(of_images, own, dtype=np.float64)
        of_images = check_sample_weight(product, len(images), "class_weight times sample_weight")
    return Data(images, labels, of_images)


def _check_callbacks(callbacks: Sequence[Callback], *, validated: bool) -> None:
    # A generator would be used up by this check, and no callback ever called.
    if not isinstance(callbacks, Sequence) or not all(map(callable, callbacks)):
        raise TypeError(f"callbacks: expected a list of callables, got {callbacks!r}")
    for callback in callbacks:
        if isinstance(callback, EarlyStopping):
            callback.check(validated=validated)


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
    if len(dataset.class_names) != model.classes:
        raise ValueError(
            f"X_train: expected {model.classes} classes, as fc_layers ends with "
            f"{model.fc_layers[-1]}, got {len(dataset.class_names)}: "
            f"{', '.join(dataset.class_names)}"
        )
    _check_names("X_train", dataset, model.class_names)
    own = dataset.preprocessing.resized(model.input_shape[:2])
    if model.preprocessing not in (None, own):
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
