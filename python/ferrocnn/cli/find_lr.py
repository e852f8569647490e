"""`ferrocnn find-lr`: which learning rate suits a folder of photographs."""

import importlib.util
from pathlib import Path

import click

from ferrocnn.cli.common import command_line, describe_dataset, no_cache_option, note
from ferrocnn.recipes import RECIPES


@click.command(name="find-lr", short_help="Find a learning rate for a folder of photographs.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    default="fast",
    show_default=True,
    help="Whose model, optimizer and batch size the rate is for.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a picture of the loss over the rate, a PNG.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Fixes the first weights and the order of the images.",
)
@no_cache_option
def find_lr_command(
    folder: Path, recipe: str, plot: Path | None, seed: int, no_cache: bool
) -> None:
    """Find a learning rate for FOLDER, laid out as for train.

    A new model is trained for a hundred steps while the rate rises, and is thrown away. The
    rate that is printed is a tenth of that at which the loss was lowest; others of its size
    do as well. Of a FOLDER with train and val inside, train is used.

    \b
    Example:
      ferrocnn find-lr PetImages --plot lr.png
    """
    if plot is not None:
        if not plot.parent.is_dir():
            raise ValueError(f"--plot: expected a file in an existing folder, got {plot}")
        if importlib.util.find_spec("matplotlib") is None:
            raise ValueError(
                "--plot: expected matplotlib to be installed; pip install 'ferrocnn[plot]'"
            )
    import ferrocnn

    chosen = RECIPES[recipe]
    size = (chosen.image_size, chosen.image_size)
    dataset = ferrocnn.load_images(folder, size, cache=not no_cache, progress=True)
    for line in describe_dataset(dataset, folder):
        note(line)
    if dataset.validation is not None:
        dataset, _ = dataset.split()
    optimizer = chosen.training()["optimizer"]
    note("trying ever higher rates on a copy of the model, until its loss grows")
    found = ferrocnn.suggest_learning_rate(
        chosen.model(len(dataset.class_names), dataset.images, seed=seed),
        dataset,
        optimizer=optimizer,
        batch_size=chosen.batch_size,
        seed=seed,
    )
    if plot is not None:
        note(f"picture {found.plot(plot)}")
    rate = f"{found.suggestion:.2g}"
    note(
        f"a careful rate to begin with; the recipe {recipe!r} itself has "
        f"{optimizer.learning_rate:g}. To train with it:"
    )
    words = ("train", folder, "--recipe", recipe, "--learning-rate", rate)
    note("  " + command_line(*words))
    click.echo(rate)
