"""`ferrocnn predict`: the most probable class of each photograph."""

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from ferrocnn.cli.common import (
    SUFFIXES,
    Failure,
    check_threshold,
    echo_json,
    load_classifier,
    note,
    plural,
    reason,
    threshold_option,
)

if TYPE_CHECKING:
    from ferrocnn.model import CNN
    from ferrocnn.preprocessing import Preprocessing

BATCH = 64  # files decoded and classified together
SHOWN_CLASSES = 3


@dataclass(frozen=True)
class Answer:
    """What came of one file: a name and the probability of every class, or the error."""

    path: str
    name: str = ""
    probabilities: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None

    def __str__(self) -> str:
        """The line that is printed: of several classes the most probable three."""
        shown = [self.name]
        if len(self.probabilities) > 2:
            shown = sorted(self.probabilities, key=self.probabilities.__getitem__, reverse=True)
        names = [f"{name} {self.probabilities[name]:.2f}" for name in shown[:SHOWN_CLASSES]]
        return f"{self.path}: {', '.join(names)}"

    def to_dict(self) -> dict[str, object]:
        """The object that `--json` prints."""
        if self.error is not None:
            return {"path": self.path, "error": self.error}
        return {
            "path": self.path,
            "class": self.name,
            "probability": self.probabilities[self.name],
            "probabilities": dict(self.probabilities),
        }


@click.command(name="predict", short_help="Name what a model sees in photographs.")
@click.argument("model_path", metavar="MODEL", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list instead of lines.")
@threshold_option
def predict_command(
    model_path: Path, files: tuple[Path, ...], as_json: bool, threshold: float | None
) -> None:
    """Name what MODEL sees in each of FILES, with the probability of that name.

    A model of more than two classes gives the three most probable names; --json has all.

    A folder stands for the image files in it and in the folders below it (.jpg, .png, .webp
    and so on; hidden ones are left out, and links to folders but for those directly in it). A
    file that cannot be read is reported and the others are still done; the exit code is then 1.

    \b
    Examples:
      ferrocnn predict model.npz photo.jpg
      ferrocnn predict model.npz holiday/ --json
    """
    model, names, preprocessing = load_classifier(model_path)
    threshold = check_threshold(threshold, model)
    answers: list[Answer] = []
    total = failed = 0
    for answer in classify(model, names, preprocessing, files, threshold):
        total += 1
        if answer.error is not None:
            failed += 1
            note(f"{answer.path}: {answer.error}")
        elif not as_json:
            click.echo(answer)
        if as_json:
            answers.append(answer)
    if as_json:
        echo_json([answer.to_dict() for answer in answers])
    if failed:
        raise Failure(f"{failed:,} of {plural(total, 'path')} could not be classified")


def classify(
    model: "CNN",
    names: tuple[str, ...],
    preprocessing: "Preprocessing",
    paths: Iterable[Path],
    threshold: float,
) -> Iterator[Answer]:
    """An answer for each file among `paths` and in the folders among them, in that order."""
    from ferrocnn.pillow import quiet_pillow

    def decode(item: Path | Answer) -> np.ndarray | Answer:
        if isinstance(item, Answer):
            return item
        try:
            return preprocessing.read(item)
        except (OSError, ValueError, MemoryError) as error:
            return Answer(str(item), error=reason(error))

    files = itertools.chain.from_iterable(expand(path) for path in paths)
    with ThreadPoolExecutor() as pool, quiet_pillow:
        while batch := list(itertools.islice(files, BATCH)):
            decoded = list(pool.map(decode, batch))
            images = [item for item in decoded if isinstance(item, np.ndarray)]
            named = _named(model, names, np.stack(images), threshold) if images else iter(())
            for item, result in zip(batch, decoded, strict=True):
                if isinstance(result, Answer):
                    yield result
                else:
                    yield Answer(str(item), *next(named))


def _named(
    model: "CNN", names: tuple[str, ...], images: np.ndarray, threshold: float
) -> Iterator[tuple[str, Mapping[str, float]]]:
    """The name of each of the images, and the probability of every class."""
    from ferrocnn.losses import make_loss

    loss, logits = make_loss(model.fc_layers[-1]), model.logits(images)
    shares = loss.probabilities(logits)
    if shares.shape[1] == 1:
        shares = np.hstack([1 - shares, shares])
    for label, row in zip(loss.labels(logits, threshold), shares.tolist(), strict=True):
        yield names[label], dict(zip(names, row, strict=True))


def expand(path: Path) -> Iterator[Path | Answer]:
    """`path` itself, or for a folder the image files in and below it, in order of their names.

    Links to folders are followed where training follows them: directly in `path`.
    A folder without any gives one failed `Answer`.
    """
    if not path.is_dir():
        yield path
        return
    empty = True
    for folder, subfolders, names in os.walk(path, followlinks=True):
        below = Path(folder) != path  # links there could lead round for ever
        subfolders[:] = sorted(
            name
            for name in subfolders
            if not name.startswith(".") and not (below and Path(folder, name).is_symlink())
        )
        for name in sorted(names):
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                empty = False
                yield Path(folder, name)
    if empty:
        yield Answer(str(path), error="a folder with no image files in it")
