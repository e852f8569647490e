"""Callbacks of `train`: what happens after each epoch."""

import csv
import io
import math
import os
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferrocnn.checks import check_positive_int
from ferrocnn.errors import StopTraining
from ferrocnn.files import replacing
from ferrocnn.history import History

if TYPE_CHECKING:
    from ferrocnn.model import CNN


class SaveBest:
    """A callback that saves the model to `path` whenever the newest epoch is the best so far.

    `History.best_epoch` says what best means. A file that is there is replaced.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __call__(self, model: "CNN", history: History) -> None:
        """Save the model if its newest epoch is the best."""
        if history.best_epoch == history.epochs:
            model.save(self.path)


class SaveLast:
    """A callback that saves the model to `path` after each epoch, replacing what is there."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __call__(self, model: "CNN", history: History) -> None:
        """Save the model."""
        model.save(self.path)


class EarlyStopping:
    """A callback that ends training when `patience` epochs in a row brought no improvement.

    metric: a list of `History`; lower is better for those with "loss" in their name, higher for
    the others. What is not a number is no improvement. Callbacks after it in the list do not see
    the epoch that it ends with, so it comes last.
    """

    def __init__(self, patience: int, metric: str = "val_accuracy") -> None:
        self.patience = check_positive_int("patience", patience)
        known = [entry.name for entry in fields(History) if "accuracy" in entry.name]
        known += ["loss", "val_loss", "val_auc", "val_f1"]
        if metric not in known:
            raise ValueError(f"metric: expected one of {', '.join(known)}, got {metric!r}")
        self.metric = metric

    def check(self, *, validated: bool) -> None:
        """Raise ValueError where the metric is not measured. `validated`: with validation data."""
        if self.metric.startswith("val_") and not validated:
            raise ValueError(
                f"metric: expected one that is measured, got {self.metric!r} without "
                'validation_data; give some, or take "loss"'
            )

    def __call__(self, model: "CNN", history: History) -> None:
        """Raise StopTraining if it is time. ValueError as `check`."""
        values: list[float] = getattr(history, self.metric)
        self.check(validated=bool(values))
        sign = 1 if "loss" in self.metric else -1
        scores = [math.inf if math.isnan(value) else sign * value for value in values]
        if len(scores) - 1 - scores.index(min(scores)) >= self.patience:
            raise StopTraining


class CsvLog:
    """A callback that writes the history to `path`: a header, then a row an epoch.

    The file is written whole after each epoch, so that it is never torn.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __call__(self, model: "CNN", history: History) -> None:
        """Write all epochs."""
        lists = {entry.name: getattr(history, entry.name) for entry in fields(history)}
        measured = {name: values for name, values in lists.items() if values}
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["epoch", *measured])
        for epoch in range(history.epochs):
            rows.writerow([epoch + 1, *(float(values[epoch]) for values in measured.values())])
        with replacing(self.path) as file:
            file.write(text.getvalue().encode())


class TensorBoard:
    """A callback that writes each epoch's metrics to `folder`, for TensorBoard to show.

    What was written is in the file a second later, or once `close` was called. Needs tensorboardX,
    of `pip install 'ferrocnn[tensorboard]'`; ImportError without it.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "tensorboardX is not installed: pip install 'ferrocnn[tensorboard]'"
            ) from error
        self._writer: Any = SummaryWriter(os.fspath(folder), flush_secs=1)

    def __call__(self, model: "CNN", history: History) -> None:
        """Write the newest epoch."""
        for entry in fields(history):
            values = getattr(history, entry.name)
            if values:
                self._writer.add_scalar(entry.name, float(values[-1]), history.epochs)

    def close(self) -> None:
        """Finish the file. No epoch can be written after that."""
        self._writer.close()
