"""`ferrocnn predict`: a name and a probability for each photograph."""

import itertools
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from ferrocnn.cli.common import Failure, echo_json, load_classifier, note, plural, reason

if TYPE_CHECKING:
    from ferrocnn.model import CNN
    from ferrocnn.preprocessing import Preprocessing

BATCH = 64  # files decoded and classified together

# What a folder is searched for. A file that is named outright is judged by decoding it.
SUFFIXES = frozenset(
    (".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
)


@dataclass(frozen=True)
class Answer:
    """What came of one file: a name and its probability, or the error."""

    path: str
    name: str = ""
    probability: float = 0.0
    error: str | None = None

    def to_dict(self) -> dict[str, object]:
        """The object that `--json` prints."""
        if self.error is not None:
            return {"path": self.path, "error": self.error}
        return {"path": self.path, "class": self.name, "probability": self.probability}


@click.command(name="predict", short_help="Name what a model sees in photographs.")
@click.argument("model_path", metavar="MODEL", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list instead of lines.")
def predict_command(model_path: Path, files: tuple[Path, ...], as_json: bool) -> None:
    """Name what MODEL sees in each of FILES, with the probability of that name.

    A folder stands for the image files in it and in the folders below it (.jpg, .png, .webp
    and so on; hidden ones are left out). A file that cannot be read is reported and the
    others are still done; the exit code is then 1.

    \b
    Examples:
      ferrocnn predict model.npz photo.jpg
      ferrocnn predict model.npz holiday/ --json
    """
    model, names, preprocessing = load_classifier(model_path)
    answers: list[Answer] = []
    total = failed = 0
    for answer in classify(model, names, preprocessing, files):
        total += 1
        if answer.error is not None:
            failed += 1
            note(f"{answer.path}: {answer.error}")
        elif not as_json:
            click.echo(f"{answer.path}: {answer.name} {answer.probability:.2f}")
        if as_json:
            answers.append(answer)
    if as_json:
        echo_json([answer.to_dict() for answer in answers])
    if failed:
        raise Failure(f"{failed:,} of {plural(total, 'path')} could not be classified")


def classify(
    model: "CNN", names: tuple[str, ...], preprocessing: "Preprocessing", paths: Iterable[Path]
) -> Iterator[Answer]:
    """An answer for each file among `paths` and in the folders among them, in that order."""
    from ferrocnn.preprocessing import quiet_pillow

    def decode(item: Path | Answer) -> np.ndarray | Answer:
        if isinstance(item, Answer):
            return item
        try:
            return preprocessing.decode(item)
        except (OSError, ValueError, MemoryError) as error:
            return Answer(str(item), error=reason(error))

    files = itertools.chain.from_iterable(expand(path) for path in paths)
    with ThreadPoolExecutor() as pool, quiet_pillow:
        while batch := list(itertools.islice(files, BATCH)):
            decoded = list(pool.map(decode, batch))
            images = [item for item in decoded if isinstance(item, np.ndarray)]
            seconds = iter(model.predict_proba(np.stack(images))[:, 0] if images else ())
            for item, result in zip(batch, decoded, strict=True):
                if isinstance(result, Answer):
                    yield result
                else:
                    second = float(next(seconds))  # the probability of the second class
                    label = int(second >= 0.5)
                    yield Answer(str(item), names[label], second if label else 1 - second)


def expand(path: Path) -> Iterator[Path | Answer]:
    """`path` itself, or for a folder the image files in and below it, in order of their names.

    A folder without any gives one failed `Answer`.
    """
    if not path.is_dir():
        yield path
        return
    empty = True
    for folder, subfolders, names in os.walk(path):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                empty = False
                yield Path(folder, name)
    if empty:
        yield Answer(str(path), error="a folder with no image files in it")
