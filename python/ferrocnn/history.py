"""What a training run reached, and the callback that keeps its best epoch."""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ferrocnn.model import CNN


@dataclass
class History:
    """What each epoch of a training run reached. Every list has one entry an epoch.

    Attributes:
        loss: mean binary cross-entropy of the epoch's images, each taken before its own step.
        accuracy: share of the epoch's images named rightly before their own step, 0 to 1.
        val_loss: mean binary cross-entropy of the validation images after the epoch; empty
            without validation.
        val_accuracy: share of the validation images named rightly; empty without validation.
        seconds: wall time of the epoch's training steps; validation and callbacks not counted.
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

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
        """Return loss and accuracy of an epoch, counted from 1, and those of its validation."""
        names = ("loss", "accuracy", "val_loss", "val_accuracy")
        return {name: getattr(self, name)[epoch - 1] for name in names if getattr(self, name)}

    def to_dict(self) -> dict[str, Any]:
        """Return the lists, `epochs` and `best_epoch` (None before any), as JSON can hold them."""
        best = self.best_epoch if self.loss else None
        return asdict(self) | {"epochs": self.epochs, "best_epoch": best}


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
