"""`ferrocnn evaluate`: how well a model does on a folder of images."""

import math
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from ferrocnn.cli.common import (
    check_threshold,
    describe_dataset,
    echo_json,
    load_classifier,
    no_cache_option,
    note,
    threshold_option,
)

WIDEST_TABLE = 20  # classes; of more the commonest mistakes are shown
SHOWN_MISTAKES = 20


@click.command(name="evaluate", short_help="Measure a model on a folder of images.")
@click.argument("model_path", metavar="MODEL", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@threshold_option
@no_cache_option
def evaluate_command(
    model_path: Path, folder: Path, as_json: bool, threshold: float | None, no_cache: bool
) -> None:
    """Measure MODEL on FOLDER: accuracy, F1, AUC, loss, each class, and what is taken for what.

    FOLDER holds one folder of images for each class, named as the model names them. Of a
    FOLDER with train and val inside, val is used.

    \b
    Example:
      ferrocnn evaluate pets.npz PetImages/test
    """
    from ferrocnn.images import load_images
    from ferrocnn.metrics import evaluate, report

    model, names, preprocessing = load_classifier(model_path)
    threshold = check_threshold(threshold, model)
    judged = _validation_part(folder, names)
    if judged != folder:
        note(f"{folder} holds a train/val pair: evaluated on {judged}")
    dataset = load_images(
        judged, preprocessing.first_size, class_names=names, cache=not no_cache, progress=True
    )
    dataset = dataset.resized(preprocessing.image_size)
    for line in describe_dataset(dataset, judged):
        note(line)
    result = evaluate(model, dataset.images, dataset.labels, threshold)
    if as_json:
        more = {"skipped": len(dataset.skipped), "class_names": list(names)}
        echo_json(result.to_dict() | more)
        return
    values = {
        "accuracy": result.accuracy,
        "balanced accuracy": result.balanced_accuracy,
        "F1": result.f1,
        "AUC": result.auc,
        "loss": result.loss,
    }
    click.echo(f"{'images':19}{result.count:,}")
    for name, value in values.items():
        click.echo(f"{name:19}{value:.4f}" if math.isfinite(value) else f"{name:19}-")
    click.echo(f"\n{report(result, names)}\n")
    if len(names) <= WIDEST_TABLE:
        lines = confusion_table(result.confusion, names)
    else:
        lines = commonest_mistakes(result.confusion, names)
    for line in lines:
        click.echo(line)


def _validation_part(folder: Path, names: Sequence[str]) -> Path:
    """The val folder where `folder` is a train/val pair, else `folder` itself."""
    from ferrocnn.folders import read_layout

    layout = read_layout(folder, names)
    if layout.validation is None:
        return folder
    pairs = zip(layout.paths, layout.validation, strict=True)
    path = next((path for path, is_validation in pairs if is_validation), None)
    if path is None:
        raise ValueError(f"{folder}: expected images in its val folder, got none")
    return folder / path.relative_to(folder).parts[0]


def confusion_table(confusion: np.ndarray, names: Sequence[str]) -> list[str]:
    """Lines of a table: a row for each true class, a column for each predicted one.

    `confusion` is (k, k) int64, rows truth, columns predicted.
    """
    rows = [["true", *names]]
    rows += [
        [name, *(f"{count:,}" for count in counts)]
        for name, counts in zip(names, confusion.tolist(), strict=True)
    ]
    first, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
    lines = [
        "  ".join([row[0].ljust(first), *map(str.rjust, row[1:], widths)]).rstrip() for row in rows
    ]
    return [" " * (first + 2) + "predicted", *lines]


def commonest_mistakes(confusion: np.ndarray, names: Sequence[str]) -> list[str]:
    """Lines that name the pairs of classes that are confused most often."""
    mistakes = confusion * (1 - np.eye(len(names), dtype=np.int64))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:SHOWN_MISTAKES]
    pairs = [divmod(int(place), len(names)) for place in order]
    return [
        f"{names[true]} taken for {names[named]}: {mistakes[true, named]:,}"
        for true, named in pairs
        if mistakes[true, named]
    ]
