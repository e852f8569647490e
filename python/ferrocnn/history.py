"""What a training run reached, epoch by epoch."""

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any

_OF_THE_RUN = ("seconds", "learning_rate")


@dataclass
class History:
    """What each epoch of a training run reached. Every list has one entry an epoch.

    Attributes:
        loss: mean cross-entropy of the epoch's images, each taken before its own step, as it was
            trained: augmented, smoothed, weighted.
        accuracy: share of the epoch's images named rightly before their own step, 0 to 1.
        val_loss: mean cross-entropy of the validation images after the epoch. It and all that
            follows of the validation is empty without one.
        val_accuracy: share of the validation images named rightly.
        val_balanced_accuracy, val_auc, val_f1: as `Evaluation` defines them.
        seconds: wall time of the epoch's training steps; validation and callbacks not counted.
        learning_rate: of the epoch's last step.
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)
    val_balanced_accuracy: list[float] = field(default_factory=list)
    val_auc: list[float] = field(default_factory=list)
    val_f1: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """Number of finished epochs."""
        return len(self.loss)

    @property
    def best_epoch(self) -> int:
        """The best epoch, counted from 1. ValueError before the first has ended.

        The highest validation accuracy wins, then the lower validation loss, then the earlier
        epoch. Without validation the lowest training loss wins.
        """
        if not self.loss:
            raise ValueError("history: expected at least one finished epoch, got none")
        if not self.val_loss:
            return self.loss.index(min(self.loss)) + 1
        return min(range(self.epochs), key=lambda i: (-self.val_accuracy[i], self.val_loss[i])) + 1

    def metrics(self, epoch: int) -> dict[str, float]:
        """Return loss and accuracy of an epoch, counted from 1, and all of its validation.

        What is not finite (the AUC where a class has no images) is left out.
        """
        lists = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _OF_THE_RUN}
        newest = {name: values[epoch - 1] for name, values in lists.items() if values}
        return {name: value for name, value in newest.items() if math.isfinite(value)}

    def keep(self, epochs: int) -> None:
        """Forget all epochs after the first `epochs`."""
        for entry in fields(self):
            del getattr(self, entry.name)[epochs:]

    def to_dict(self) -> dict[str, Any]:
        """Return the lists, `epochs` and `best_epoch` (None before any), as JSON can hold them."""
        best = self.best_epoch if self.loss else None
        return asdict(self) | {"epochs": self.epochs, "best_epoch": best}
