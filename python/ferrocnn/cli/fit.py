"""Train a model and keep its best epoch, and say so: shared by `train` and `demo`."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from ferrocnn.cli.common import Interrupted, command_line, note
from ferrocnn.cli.jobs import Job
from ferrocnn.files import replacing

if TYPE_CHECKING:
    from ferrocnn.history import History
    from ferrocnn.images import ImageDataset
    from ferrocnn.model import CNN
    from ferrocnn.runs import Run


def fit(
    job: Job,
    run: "Run",
    out: Path,
    model: "CNN",
    arguments: dict[str, Any],
    training: "ImageDataset",
    validation: "ImageDataset",
) -> None:
    """Train `model` to the end of the run; the file `out` holds its best epoch then.

    arguments: of `train`. Raises Interrupted (Ctrl-C), with the command that goes on where the run
    has not come to its end, and what `train` raises.
    """
    import ferrocnn
    from ferrocnn.callbacks import EarlyStopping
    from ferrocnn.training import train

    click.echo(describe_model(model))
    epochs = arguments["epochs"]

    def kept() -> str:
        if not run.best.is_file():
            return "no epoch has ended"
        return f"the best epoch so far is kept: {describe_kept(run.best, epochs)}"

    try:
        history = train(
            model,
            training,
            validation_data=validation,
            class_weight=job.class_weight,
            callbacks=[] if job.patience is None else [EarlyStopping(job.patience)],
            run=run,
            resume=True,
            **arguments,
        )
    except KeyboardInterrupt as error:
        if not run.exists:
            raise
        if run.finished:
            raise Interrupted(
                f"interrupted at the end of the run; the best epoch is kept: {keep(run, out)}"
            ) from error
        resume = command_line("train", "--resume", run.folder)
        raise Interrupted(f"interrupted; {kept()}", resume) from error
    except ferrocnn.DivergedError as error:
        raise ferrocnn.DivergedError(f"{error}; {kept()}") from error
    closing = keep(run, out)
    if history.epochs < epochs:
        last = "the last was no" if job.patience == 1 else f"none of the last {job.patience} was"
        click.echo(f"stopped after epoch {history.epochs}: {last} better")
    click.echo(closing)
    note_chance(history, validation)


def keep(run: "Run", out: Path) -> str:
    """Copy the best epoch to `out`, whole or not at all; return a line that says so."""
    replaced = out.is_file() and out.stat().st_size > 0
    with open(run.best, "rb") as source, replacing(out) as file:
        shutil.copyfileobj(source, file)
    line = describe_kept(out, run.settings()["train"]["epochs"])
    return f"{line}; an older model there was replaced" if replaced else line


def note_chance(history: "History", validation: "ImageDataset") -> None:
    """Say so where no epoch is better than naming every image alike."""
    chance = max(np.bincount(validation.labels)) / len(validation)
    if max(history.val_accuracy) < chance + 0.02:
        note(
            "this is hardly better than naming every image alike; more images, more --epochs or "
            "a lower --learning-rate may help"
        )


def describe_model(model: "CNN") -> str:
    """Describe the architecture in a line."""
    height, width, channels = model.input_shape
    convolutions = ", ".join(
        f"{block.filters} of {block.size}x{block.size}" for block in model.architecture.blocks()
    )
    count = sum(values.size for values in model.parameters().values())
    return (
        f"CNN for {height}x{width}x{channels} images: convolutions {convolutions}; "
        f"dense {', '.join(map(str, model.fc_layers))}; {count:,} parameters"
    )


def describe_kept(path: Path, epochs: int) -> str:
    """What a model file itself says of the epoch that it holds."""
    from ferrocnn.checkpoint import read_model_file

    record = read_model_file(path).training
    return (
        f"{path}: epoch {record['best_epoch']} of {epochs}, "
        f"validation accuracy {record['val_accuracy']:.4f}, loss {record['val_loss']:.4g}"
    )
