"""`ferrocnn train`: a folder of photographs in, a model file and the folder of the run out."""

import contextlib
import filecmp
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click
from click.core import ParameterSource

from ferrocnn.cli.common import FiniteRange, check_writable, command_line, plural
from ferrocnn.cli.fit import describe_kept, fit, keep
from ferrocnn.cli.jobs import Job, adapt, rebuild
from ferrocnn.cli.options import GroupedCommand, GroupedOption
from ferrocnn.recipes import RECIPES

if TYPE_CHECKING:
    from ferrocnn.images import ImageDataset
    from ferrocnn.runs import Run

RUNS = Path("runs")
_SHOWN_RUNS = 5

_RECIPES = "\n".join(
    f"  {name:<8} {recipe.summary}, {recipe.epochs} epochs" for name, recipe in RECIPES.items()
)
_HELP = f"""Train a classifier on FOLDER, which holds one folder of images for each class.

A FOLDER with train and val inside, each holding the class folders, is used as it is
split. Files that cannot be read are skipped and named. The epoch with the best
validation accuracy is kept.

\b
Recipes:
{_RECIPES}

Settings, results and models of the run go to a folder in {RUNS}. Ctrl-C stops after the batch,
and --resume goes on from there.

\b
Examples:
  ferrocnn train PetImages --out pets.npz
  ferrocnn train PetImages --recipe best --epochs 60
  ferrocnn train --resume runs/PetImages-best-1
"""


class _Command(GroupedCommand):
    aliases: ClassVar[Mapping[str, str]] = {
        "fraction": "--val-fraction",
        "conv_filters": "--image-size",
        "folder": "FOLDER",
        "run": "--resume",
    }


_Decorator = Callable[[Callable[..., None]], Callable[..., None]]


def _option(group: str, *names: str, **options: Any) -> _Decorator:
    return click.option(*names, cls=GroupedOption, group=group, **options)


_RUN, _DATA, _TRAINING = "Run", "Images", "Training (default: the recipe's)"


@click.command(
    name="train", cls=_Command, help=_HELP, short_help="Train a classifier on a folder of images."
)
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@_option(
    _RUN,
    "--recipe",
    type=click.Choice(list(RECIPES)),
    default="fast",
    show_default=True,
    help="What is trained, and how.",
)
@_option(
    _RUN,
    "--out",
    type=click.Path(path_type=Path),
    default=Path("model.npz"),
    show_default=True,
    help="Where to keep the model. An older model there is replaced.",
)
@_option(
    _RUN, "--name", help=f"Of the folder in {RUNS}.  [default: FOLDER, the recipe and a number]"
)
@_option(
    _RUN,
    "--resume",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="Go on with the run in this folder, with its own settings.",
)
@_option(
    _RUN,
    "--seed",
    type=click.IntRange(min=0),
    help="Fixes all that is random.  [default: drawn and printed]",
)
@_option(
    _DATA,
    "--val-fraction",
    type=FiniteRange(min=0, max=1, min_open=True, max_open=True),
    default=0.1,
    show_default=True,
    help="Share of each class held back to validate on.",
)
@_option(
    _DATA,
    "--image-size",
    type=click.IntRange(4, 1024),
    help="Height and width, in pixels, that every image is resized to.  [default: the recipe's]",
)
@_option(_DATA, "--no-augment", is_flag=True, help="Train on the images as they are.")
@_option(
    _DATA,
    "--augmented-picture",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Write a PNG of sixteen augmented images, each row after its original, before training.",
)
@_option(
    _DATA,
    "--no-cache",
    is_flag=True,
    help="Decode every picture anew, and keep none in the cache.",
)
@_option(_TRAINING, "--epochs", type=click.IntRange(min=1), help="Passes over the training images.")
@_option(_TRAINING, "--batch-size", type=click.IntRange(min=1), help="Images in one step.")
@_option(
    _TRAINING,
    "--learning-rate",
    "--lr",
    type=FiniteRange(min=0, min_open=True),
    help="Size of a step; its largest, where a schedule changes it.  [default: the recipe's]",
)
@_option(
    _TRAINING,
    "--optimizer",
    type=click.Choice(["sgd", "momentum", "nesterov", "adam", "adamw", "lion"]),
    help="How a gradient becomes a step.",
)
@_option(
    _TRAINING,
    "--label-smoothing",
    type=FiniteRange(min=0, max=1, max_open=True),
    help="Share of each target that goes to all classes alike.",
)
@_option(
    _TRAINING,
    "--class-weight",
    type=click.Choice(["balanced"]),
    help="Give rare classes the same weight as frequent ones.",
)
@_option(
    _TRAINING,
    "--average",
    type=FiniteRange(min=0, max=1, max_open=True),
    help="Keep a moving average of the weights, with this decay.",
)
@_option(
    _TRAINING,
    "--patience",
    type=click.IntRange(min=1),
    help="Stop when so many epochs in a row have a validation accuracy no better.",
)
@click.pass_context
def train_command(
    ctx: click.Context,
    /,
    folder: Path | None,
    resume: Path | None,
    no_cache: bool,
    **options: Any,
) -> None:
    """Begin a run, or go on with one."""
    if resume is not None:
        _refuse_others(ctx)
        _go_on(resume, not no_cache)
    elif folder is None:
        raise click.UsageError("Missing argument 'FOLDER'.")
    else:
        _begin(folder, not no_cache, options)


def _begin(folder: Path, cache: bool, options: dict[str, Any]) -> None:
    from ferrocnn.runs import Run

    out: Path = options["out"]
    check_writable(out)
    if options["name"] is not None:
        _check_name(options["name"])
    recipe = adapt(RECIPES[options["recipe"]], options)
    picture = options["augmented_picture"]
    if picture is not None and recipe.augment is None:
        raise click.UsageError("--augmented-picture shows nothing without augmentation.")
    if picture is not None and (picture.is_dir() or not picture.parent.is_dir()):
        raise ValueError(
            f"--augmented-picture: expected a file in an existing folder, got {picture}"
        )
    seed = secrets.randbelow(2**31) if options["seed"] is None else options["seed"]
    job = Job(
        folder=os.path.abspath(folder),
        out=os.path.abspath(out),
        recipe=options["recipe"],
        image_size=recipe.image_size,
        stored_size=recipe.stored_size,
        val_fraction=options["val_fraction"],
        seed=seed,
        class_weight=options["class_weight"],
        patience=options["patience"],
    )
    training, validation, pair = job.load(folder, cache)
    if options["seed"] is None:
        click.echo(f"seed {seed} was drawn; --seed {seed} repeats this run")
    model = recipe.model(len(training.class_names), training.images, seed=seed)
    if picture is not None and recipe.augment is not None:
        recipe.augment.picture(training.images, picture, seed, model.input_shape[:2])
        click.echo(f"augmented images are shown in {picture}")
    if options["name"] is None:
        name = f"{Path(job.folder).name}-{job.recipe}"
        run = Run.numbered(RUNS, name, job.to_dict())
    else:
        run = Run(RUNS / options["name"], job.to_dict())
    click.echo(f"the run is kept in {run.folder}")
    try:
        arguments = {**recipe.training(), "seed": seed}
        fit(job, run, out, model, arguments, training, validation)
    finally:
        with contextlib.suppress(OSError):
            run.folder.rmdir()  # if nothing was begun
    _say_next(out, folder if pair else None, validation)


def _go_on(folder: Path, cache: bool) -> None:
    import ferrocnn
    from ferrocnn.runs import Run

    class Resumed(Run):
        def check(self, *what: Any) -> None:
            super().check(*what)
            ended = plural(self.history().epochs, "epoch")
            click.echo(f"going on with {self.folder} after {ended}")

    run = Resumed(folder)
    if not run.exists:
        raise ValueError(f"resume: expected the folder of a run, got {folder}{_list_runs()}")
    settings = run.settings()
    try:
        job = Job(**settings["command"])
    except TypeError as error:
        raise ValueError(
            f"resume: expected a run that ferrocnn train began, got {folder}; in Python, "
            "ferrocnn.train(..., run=folder, resume=True) goes on with its own"
        ) from error
    out = Path(job.out)
    if run.finished:
        _say_finished(run, out)
        return
    run.check_idle()
    check_writable(out)
    if settings["version"] != ferrocnn.__version__:
        click.echo(
            f"the run was begun with ferrocnn {settings['version']}; with {ferrocnn.__version__} "
            "the rest of it may come out slightly different",
            err=True,
        )
    if not Path(job.folder).is_dir():
        raise ValueError(
            f"resume: expected the images of {folder} in {job.folder}, where they were when it "
            "began, got no such folder; bring them back, or begin a new run"
        )
    training, validation, pair = job.load(Path(job.folder), cache)
    model, arguments = rebuild(settings)
    fit(job, run, out, model, arguments, training, validation)
    _say_next(out, Path(job.folder) if pair else None, validation)


def _list_runs() -> str:
    """The newest runs that are there to be resumed."""
    settings = sorted(RUNS.glob("*/settings.json"), key=os.path.getmtime, reverse=True)
    shown = ", ".join(str(path.parent) for path in settings[:_SHOWN_RUNS])
    more = ", ..." if len(settings) > _SHOWN_RUNS else ""
    return f"; the newest runs here: {shown}{more}" if shown else f"; {RUNS} holds none here"


def _refuse_others(ctx: click.Context) -> None:
    """A run goes on with its own settings: refuse any that came with --resume."""
    for parameter in ctx.command.params:
        name = parameter.name or ""
        given = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if not given or name in ("resume", "no_cache"):
            continue
        shown = parameter.opts[0] if isinstance(parameter, click.Option) else "FOLDER"
        reason = "a run goes on with its own settings"
        if name == "epochs":
            reason = "the learning rate of every step follows from all epochs of the run"
        raise click.UsageError(
            f"{shown} cannot be given with --resume: {reason}. Begin a new run for others."
        )


def _check_name(name: str) -> None:
    from ferrocnn.runs import Run

    if not name or name in (".", "..") or Path(name).name != name:
        raise ValueError(f"--name: expected the name of a folder in {RUNS}, got {name!r}")
    run = Run(RUNS / name)
    try:
        run.check_free()
    except ValueError:
        hint = ", or go on with it: " + command_line("train", "--resume", run.folder)
        raise ValueError(
            f"--name: expected a new name, got {name}: {run.folder} is there; choose another"
            + (hint if run.exists else "")
        ) from None


def _say_finished(run: "Run", out: Path) -> None:
    click.echo(f"{run.folder} is finished, nothing is left to train")
    # Killed just before that: what lies there is of another time.
    if not out.exists() or out.stat().st_mtime_ns < run.best.stat().st_mtime_ns:
        check_writable(out)
        click.echo(keep(run, out))
    elif filecmp.cmp(run.best, out, shallow=False):
        click.echo(describe_kept(out, run.settings()["train"]["epochs"]))
    else:
        click.echo(describe_kept(run.best, run.settings()["train"]["epochs"]))
        click.echo(f"{out} has changed since, and is left as it is")
        out = run.best
    _say_next(out, None)


def _say_next(out: Path, pair: Path | None, validation: "ImageDataset | None" = None) -> None:
    """pair: the folder, where it came with a val part of its own."""
    click.echo("What to type next:")
    click.echo("  " + command_line("predict", out, validation.paths[0] if validation else "PHOTO"))
    click.echo("  " + command_line("evaluate", out, pair or "OTHER_FOLDER"))
    click.echo("  " + command_line("info", out))
