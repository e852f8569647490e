"""`ferrocnn evaluate`: how well a model does on a folder of images."""

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from ferrocnn.cli.common import (
    describe_dataset,
    echo_json,
    load_classifier,
    no_cache_option,
    note,
)


@click.command(name="evaluate", short_help="Measure a model on a folder of images.")
@click.argument("model_path", metavar="MODEL", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@no_cache_option
def evaluate_command(model_path: Path, folder: Path, as_json: bool, no_cache: bool) -> None:
    """Measure MODEL on FOLDER: accuracy, loss and which class is taken for which.

    FOLDER holds one folder of images for each class, named as the model names them. Of a
    FOLDER with train and val inside, val is used.

    \b
    Example:
      ferrocnn evaluate pets.npz PetImages/test
    """
    from ferrocnn.images import load_images
    from ferrocnn.metrics import evaluate

    model, names, preprocessing = load_classifier(model_path)
    judged = _validation_part(folder, names)
    if judged != folder:
        note(f"{folder} holds a train/val pair: evaluated on {judged}")
    dataset = load_images(
        judged, preprocessing.image_size, class_names=names, cache=not no_cache, progress=True
    )
    for line in describe_dataset(dataset, judged):
        note(line)
    result = evaluate(model, dataset.images, dataset.labels)
    if as_json:
        echo_json(
            {
                "accuracy": result.accuracy,
                "loss": result.loss,
                "count": result.count,
                "skipped": len(dataset.skipped),
                "confusion": result.confusion.tolist(),
                "class_names": list(names),
            }
        )
        return
    click.echo(f"images    {result.count:,}")
    click.echo(f"accuracy  {result.accuracy:.4f}")
    click.echo(f"loss      {result.loss:.4f}")
    click.echo()
    for line in confusion_table(result.confusion, names):
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

    `confusion` is (k, k) int64, rows truth, columns predicted. The last column is the share of
    the row that is right.
    """
    header = ["", *(f"predicted {name}" for name in names), "right"]
    rows = [header]
    for index, name in enumerate(names):
        counts = confusion[index]
        total = int(counts.sum())
        right = f"{100 * int(counts[index]) / total:.1f} %" if total else "-"
        rows.append([f"true {name}", *(f"{int(count):,}" for count in counts), right])
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
