"""`ferrocnn demo`: train on drawn cats and dogs, and show the result as a picture."""

import importlib.util
from pathlib import Path

import click

from ferrocnn.cli.common import check_writable, command_line, note, plural
from ferrocnn.cli.fit import describe_kept, describe_model

SEED = 0
DRAWINGS_PER_CLASS = 1000  # for training and for choosing the epoch
HELD_BACK_PER_CLASS = 250  # seen by neither: the accuracy is measured on these
EPOCHS = 8


@click.command(name="demo", short_help="Train on drawn cats and dogs, and show the result.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo"),
    show_default=True,
    help="The folder for the drawings, the model and the picture.",
)
def demo_command(out: Path) -> None:
    """Draw cats and dogs, train on them, and show what was learned.

    Takes about a minute and needs no data. The drawings go through the same steps as your own
    photographs would.

    \b
    Example:
      ferrocnn demo
    """
    with_picture = importlib.util.find_spec("matplotlib") is not None
    if not with_picture:
        note("matplotlib is not installed, so no picture: pip install 'ferrocnn[plot]' for it")
    out.mkdir(parents=True, exist_ok=True)
    model_path = out / "model.npz"
    check_writable(model_path)

    import ferrocnn
    from ferrocnn.drawings import write_drawings
    from ferrocnn.images import load_images
    from ferrocnn.metrics import evaluate

    count = 2 * (DRAWINGS_PER_CLASS + HELD_BACK_PER_CLASS)
    click.echo(f"drawing {count:,} cats and dogs into {out}")
    drawings = write_drawings(out / "drawings", count_per_class=DRAWINGS_PER_CLASS, seed=SEED)
    held_back = write_drawings(
        out / "held-back", count_per_class=HELD_BACK_PER_CLASS, seed=SEED + 1
    )
    # Drawn anew each time, so a cache would never be of use.
    training, validation = load_images(drawings, cache=False).split(0.2, SEED)
    click.echo(
        f"{drawings}: {plural(len(training), 'drawing')} to train on, "
        f"{len(validation):,} to validate on"
    )
    height, width = training.preprocessing.image_size
    model = ferrocnn.CNN((height, width, 3), seed=SEED)
    click.echo(describe_model(model))
    history = ferrocnn.train(
        model,
        training,
        epochs=EPOCHS,
        optimizer="adam",
        validation_data=validation,
        seed=SEED,
        callbacks=[ferrocnn.SaveBest(model_path)],
    )
    click.echo(describe_kept(model_path, EPOCHS))

    model = ferrocnn.load(model_path)
    unseen = load_images(held_back, class_names=training.class_names, cache=False)
    result = evaluate(model, unseen.images, unseen.labels)
    click.echo(
        f"accuracy {result.accuracy:.4f} on {plural(result.count, 'drawing')} held back from "
        f"training, in {held_back}"
    )
    click.echo(f"model    {model_path}")
    if with_picture:
        from ferrocnn.figures import demo_figure

        picture = demo_figure(
            out / "demo.png",
            history,
            unseen.images,
            unseen.labels,
            model.predict_proba(unseen.images)[:, 0],
            training.class_names,
        )
        click.echo(f"picture  {picture}")
    click.echo("What to type next:")
    click.echo("  " + command_line("predict", model_path, unseen.paths[0], unseen.paths[-1]))
    click.echo("  " + command_line("evaluate", model_path, held_back))
    click.echo("  " + command_line("train", "FOLDER") + "    # holding your own Cat and Dog, say")
