"""`ferrocnn train`: a folder of photographs in, one model file out."""

import secrets
from pathlib import Path

import click

from ferrocnn.cli.common import (
    FiniteRange,
    check_writable,
    command_line,
    describe_dataset,
    no_cache_option,
    note,
    plural,
)
from ferrocnn.cli.fit import fit


@click.command(name="train", short_help="Train a classifier on a folder of photographs.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("model.npz"),
    show_default=True,
    help="Where to keep the model. An older model there is replaced.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Passes over the training images.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Images in one step.",
)
@click.option(
    "--learning-rate",
    type=FiniteRange(min=0, min_open=True),
    default=0.001,
    show_default=True,
    help="Size of a step.",
)
@click.option(
    "--optimizer",
    type=click.Choice(["sgd", "momentum", "adam"]),
    default="adam",
    show_default=True,
    help="How a gradient becomes a step.",
)
@click.option(
    "--image-size",
    type=click.IntRange(min=4),  # two 2x2 pools leave one pixel of four
    default=64,
    show_default=True,
    help="Height and width, in pixels, that every image is resized to.",
)
@click.option(
    "--val-fraction",
    type=FiniteRange(min=0, max=1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of each class held back to validate on.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Fixes the split, the first weights and the order.  [default: drawn and printed]",
)
@no_cache_option
def train_command(
    folder: Path,
    out: Path,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    optimizer: str,
    image_size: int,
    val_fraction: float,
    seed: int | None,
    no_cache: bool,
) -> None:
    """Train a classifier on FOLDER, which holds one folder of images for each of two classes.

    A FOLDER with train and val inside, each holding the class folders, is used as it is
    split. Files that cannot be read are skipped and named. The epoch with the best
    validation accuracy is kept.

    \b
    Example:
      ferrocnn train PetImages --epochs 6 --out pets.npz
    """
    check_writable(out)
    from ferrocnn.folders import read_layout
    from ferrocnn.images import load_images

    names = read_layout(folder, None).class_names
    if len(names) != 2:
        raise ValueError(
            f"{folder}: expected a folder of images for each of two classes, got {len(names)} "
            f"({', '.join(names)}); this version trains two, so move the others away"
        )
    dataset = load_images(folder, (image_size, image_size), cache=not no_cache, progress=True)
    for line in describe_dataset(dataset, folder):
        click.echo(line)
    if seed is None:
        seed = secrets.randbelow(2**31)
        click.echo(f"seed {seed} was drawn; --seed {seed} repeats this run")
    if dataset.validation is not None:
        note("the folder's own train/val split is used; --val-fraction is not")
    training, validation = dataset.split(val_fraction, seed)
    click.echo(f"{plural(len(training), 'image')} to train on, {len(validation):,} to validate on")

    fit(
        training,
        validation,
        out,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        optimizer=optimizer,
        seed=seed,
    )
    # The same folder tells nothing new, unless its val part was held back all along.
    other = folder if dataset.validation is not None else Path("OTHER_FOLDER")
    click.echo("What to type next:")
    click.echo("  " + command_line("predict", out, validation.paths[0]))
    click.echo("  " + command_line("evaluate", out, other))
    click.echo("  " + command_line("info", out))
