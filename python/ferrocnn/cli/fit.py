"""Train the default network and keep its best epoch: shared by `train` and `demo`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from ferrocnn.cli.common import Failure, Interrupted, note

if TYPE_CHECKING:
    from ferrocnn.history import History
    from ferrocnn.images import ImageDataset
    from ferrocnn.model import CNN


def fit(
    training: "ImageDataset",
    validation: "ImageDataset",
    out: Path,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    optimizer: str,
    seed: int,
) -> "History":
    """Train a `CNN` of the default architecture; the file `out` holds its best epoch.

    Says what is trained, shows progress, and ends with one line about the epoch kept. When
    training is interrupted or diverges, the message says whether `out` holds an epoch.

    Raises Interrupted (Ctrl-C), Failure (diverged) and what `train` raises.
    """
    import ferrocnn
    from ferrocnn.callbacks import SaveBest
    from ferrocnn.training import train

    height, width = training.preprocessing.image_size
    model = ferrocnn.CNN(input_shape=(height, width, 3), seed=seed)
    click.echo(_describe(model))

    older = _identity(out)

    def kept() -> str:
        if _identity(out) == older:
            return f"no epoch has ended, so nothing was written to {out}"
        return f"the best epoch so far is kept: {_describe_kept(out, epochs)}"

    try:
        history = train(
            model,
            training,
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            optimizer=optimizer,
            validation_data=validation,
            seed=seed,
            callbacks=[SaveBest(out)],
        )
    except KeyboardInterrupt as error:
        raise Interrupted(f"interrupted; {kept()}") from error
    except ferrocnn.DivergedError as error:
        raise Failure(f"{error}; {kept()}") from error
    click.echo(_describe_kept(out, epochs))
    chance = max(np.bincount(validation.labels)) / len(validation)
    if max(history.val_accuracy) < chance + 0.02:
        note(
            "this is hardly better than naming every image alike; more images, more --epochs or "
            "a lower --learning-rate may help"
        )
    return history


def _describe(model: "CNN") -> str:
    height, width, channels = model.input_shape
    convolutions = ", ".join(f"{count} of {size}x{size}" for count, size in model.conv_filters)
    count = sum(values.size for values in model.parameters().values())
    return (
        f"CNN for {height}x{width}x{channels} images: convolutions {convolutions}; "
        f"dense {', '.join(map(str, model.fc_layers))}; {count:,} parameters"
    )


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from the one that replaces it; None where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _describe_kept(out: Path, epochs: int) -> str:
    """What the file `out` itself says of the epoch that it holds."""
    from ferrocnn.checkpoint import read_model_file

    record = read_model_file(out).training
    return (
        f"{out}: epoch {record['best_epoch']} of {epochs}, "
        f"validation accuracy {record['val_accuracy']:.4f}, loss {record['val_loss']:.4f}"
    )
