"""Callbacks of `train`: what happens after each epoch."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ferrocnn.history import History
    from ferrocnn.model import CNN


class SaveBest:
    """A callback that saves the model to `path` whenever the newest epoch is the best so far.

    `History.best_epoch` says what best means. A file that is there is replaced.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __call__(self, model: "CNN", history: "History") -> None:
        """Save the model if its newest epoch is the best."""
        if history.best_epoch == history.epochs:
            model.save(self.path)
