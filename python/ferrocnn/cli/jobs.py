"""What a run of `ferrocnn train` is: its data, its recipe with all that was overridden."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ferrocnn.cli.common import describe_dataset, note, plural

if TYPE_CHECKING:
    from ferrocnn.images import ImageDataset
    from ferrocnn.model import CNN
    from ferrocnn.recipes import Recipe

# Rules for which a recipe's learning rate is of the same size.
_ALIKE = {"adam", "adamw"}


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the settings of a run keep besides model and arguments of `train`.

    folder, out: absolute paths. recipe: its name, for those who look. stored_size: of the training
    images where that is not `image_size`.
    """

    folder: str
    out: str
    recipe: str
    image_size: int
    stored_size: int | None
    val_fraction: float
    seed: int
    class_weight: str | None
    patience: int | None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return asdict(self)

    def load(self, folder: Path, cache: bool) -> "tuple[ImageDataset, ImageDataset, bool]":
        """Read the images and say what was found.

        Returns the training and the validation part, and whether the folder came in those parts.
        """
        from ferrocnn.images import load_images

        size = self.stored_size or self.image_size
        dataset = load_images(folder, (size, size), cache=cache, progress=True)
        for line in describe_dataset(dataset, folder):
            click.echo(line)
        if dataset.validation is not None:
            note("the folder's own train/val split is used; --val-fraction is not")
        training, validation = dataset.split(self.val_fraction, self.seed)
        validation = validation.resized((self.image_size, self.image_size))
        click.echo(
            f"{plural(len(training), 'image')} to train on, {len(validation):,} to validate on"
        )
        return training, validation, dataset.validation is not None


def adapt(recipe: "Recipe", options: Mapping[str, Any]) -> "Recipe":
    """Return the recipe with the options that were given (None: not given) in place of its own.

    What augmentation counts in pixels grows and shrinks with the images. A run of fewer epochs than
    the recipe has progressive sizes leaves out the first of them.
    """
    size = options["image_size"] or recipe.image_size
    ratio = size / recipe.image_size
    names = ("epochs", "batch_size", "label_smoothing", "average")
    changes = {name: options[name] for name in names if options[name] is not None}
    augment, stored = recipe.augment, recipe.stored_size
    if options["no_augment"]:
        augment = stored = None
        changes["progressive"] = (1.0,)
    elif options["epochs"] is not None:
        changes["progressive"] = recipe.progressive[-options["epochs"] :]
    adapted = replace(
        recipe,
        image_size=size,
        stored_size=None if stored is None else round(stored * ratio),
        augment=None if augment is None else augment.scaled(ratio),
        optimizer=_adapt_optimizer(recipe, options["optimizer"], options["learning_rate"]),
        **changes,
    )
    _check_size(adapted, options["recipe"])
    return adapted


def _check_size(recipe: "Recipe", name: str) -> None:
    """Refuse images that are too small for the blocks of the recipe."""

    def fits(size: int) -> bool:
        smallest = max(1, round(size * min(recipe.progressive)))
        # Without the dense layers, whose weights would be drawn for nothing.
        options = {**recipe.options, "global_average_pool": True}
        blocks = replace(recipe, image_size=smallest, hidden_layers=(), options=options)
        try:
            blocks.model(2, seed=0)
        except ValueError:
            return False
        return True

    if not fits(recipe.image_size):
        least = next(size for size in count(recipe.image_size + 1) if fits(size))
        raise ValueError(
            f"--image-size: expected at least {least} for the recipe {name}, "
            f"got {recipe.image_size}"
        )


def _adapt_optimizer(
    recipe: "Recipe", name: str | None, learning_rate: float | None
) -> dict[str, Any]:
    own = dict(recipe.optimizer)
    if name is not None and name != own["name"]:
        if learning_rate is None and not {name, own["name"]} <= _ALIKE:
            raise click.UsageError(
                f"--optimizer {name} needs a --learning-rate of its own: the recipe's "
                f"{own['learning_rate']:g} is for {own['name']}."
            )
        own = {"name": name, "learning_rate": own["learning_rate"]}
    return own if learning_rate is None else own | {"learning_rate": learning_rate}


def rebuild(settings: Mapping[str, Any]) -> "tuple[CNN, dict[str, Any]]":
    """Return a new model and the arguments of `train` of the settings that a run keeps."""
    import ferrocnn
    from ferrocnn.schedules import schedule_from_config

    config, arguments = dict(settings["model"]), dict(settings["train"])
    flip_average = config.pop("flip_average")
    model = ferrocnn.CNN(**config)
    model.flip_average = flip_average
    augment = arguments["augment"]
    return model, arguments | {
        "optimizer": ferrocnn.optimizer_from_config(arguments["optimizer"]),
        "schedule": schedule_from_config(arguments["schedule"]),
        "augment": None if augment is None else ferrocnn.Augment.from_dict(augment),
    }
