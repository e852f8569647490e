"""A training run as a folder: its settings, its results, its models, and what resuming needs."""

import csv
import hashlib
import io
import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ferrocnn._kernels import __version__
from ferrocnn.batches import Data
from ferrocnn.callbacks import CsvLog, SaveBest, SaveLast
from ferrocnn.files import is_leftover, replacing
from ferrocnn.history import History
from ferrocnn.locks import holder, locked

if TYPE_CHECKING:
    from ferrocnn.images import ImageDataset
    from ferrocnn.model import CNN

__all__ = ["Run"]

FORMAT = "ferrocnn-run"
FORMAT_VERSION = 1

# Sections of the settings, with what is read of each before all are compared.
_READ = {
    "model": ("seed", "flip_average"),
    "train": ("epochs", "seed", "optimizer", "schedule", "augment"),
    "data": (),
    "command": (),
}
_COLUMNS = ("path", "label", "part", "crc32")  # of the list of images
_NAMED = 3  # of the images that differ


class Run:
    """The folder of a training run.

    `ferrocnn.train(..., run=folder)` makes it and `ferrocnn train` makes one a run. It holds
    `settings.json` (how it is trained, and on what), `images.csv` (the files of an ImageDataset,
    with label, part and the CRC-32 of the pixels), `results.csv` (a row an epoch), `best.npz` and
    `last.npz` (model files) and `state.npz` (weights, moments and position of the last end of an
    epoch, or of where Ctrl-C stopped it). Each file is replaced whole. `lock` is there while a
    process trains, and holds its id.

    folder: need not exist. command: what else the settings keep, as JSON can hold it.
    """

    def __init__(
        self, folder: str | os.PathLike[str], command: Mapping[str, Any] | None = None
    ) -> None:
        if not isinstance(folder, str | os.PathLike):
            raise TypeError(f"run: expected the path of a folder, or a Run, got {folder!r}")
        self.folder = Path(folder)
        self.best = self.folder / "best.npz"
        self.last = self.folder / "last.npz"
        self.results = self.folder / "results.csv"
        self._command = command
        self._settings, self._state, self._images, self._lock = (
            self.folder / name for name in ("settings.json", "state.npz", "images.csv", "lock")
        )

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @classmethod
    def numbered(cls, folder: Path, name: str, command: Mapping[str, Any]) -> "Run":
        """Make the folder of a new run in `folder`: `name` with the first number that is free."""
        folder.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            try:
                (folder / f"{name}-{number}").mkdir()
            except FileExistsError:
                number += 1
            else:
                return cls(folder / f"{name}-{number}", command)

    @property
    def exists(self) -> bool:
        """Whether the folder holds a run."""
        return self._settings.is_file()

    def settings(self) -> dict[str, Any]:
        """Return the settings: `command`, and what `train` was given as `model`, `train`, `data`.

        FileNotFoundError where the folder holds no run, ValueError where it holds a damaged one.
        """
        if not self.exists:
            raise FileNotFoundError(f"run: expected the folder of a run, got {self.folder}")
        try:
            settings = json.loads(self._settings.read_text("utf-8"))
            name, number, _ = (settings[key] for key in ("format", "format_version", "version"))
            if name != FORMAT or number > FORMAT_VERSION:
                raise ValueError(f"{name} {number}")
            for section, names in _READ.items():
                if not isinstance(settings[section], dict):
                    raise TypeError(f"{section} {settings[section]!r}")
                missing = [name for name in names if name not in settings[section]]
                if missing:
                    raise ValueError(f"{section} without {', '.join(missing)}")
        except (ValueError, KeyError, TypeError) as error:
            found = f"no {error}" if isinstance(error, KeyError) else error
            raise ValueError(
                f"{self._settings}: expected settings of {FORMAT} {FORMAT_VERSION}, got other or "
                f"damaged ones: {found}"
            ) from error
        return dict(settings)

    def history(self) -> History:
        """Return what the epochs up to the saved state reached. Raises as `settings` does."""
        return History(**self._position()["history"])

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end. Raises as `settings` does."""
        epochs: int = self.settings()["train"]["epochs"]
        position = self._position()
        return bool(position["stopped"]) or len(position["history"]["loss"]) == epochs

    def check_idle(self) -> None:
        """Raise ValueError where another process trains this run."""
        process = holder(self._lock)
        if process is not None:
            raise ValueError(
                f"run: expected a run that no process trains, got {self.folder}, which is being "
                f"trained by process {process}; wait for it, or remove {self._lock} if that is no "
                "training"
            )

    def locked(self) -> AbstractContextManager[None]:
        """Return a block in which no other process trains this run. Raises as `check_idle`."""
        self.check_idle()
        return locked(self._lock)

    def begin(
        self,
        settings: Mapping[str, Any],
        images: Sequence[tuple[str, ...]] | None,
        state: Mapping[str, NDArray[Any]],
    ) -> None:
        """Make the folder.

        ValueError where there is something in it; that or TypeError where settings are not JSON.
        Nothing is written then.
        """
        self.check_free()
        record = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "version": __version__,
            "command": dict(self._command or {}),
            **settings,
        }
        _check_json({"command": record["command"], **settings["train"]})
        self.folder.mkdir(parents=True, exist_ok=True)
        if images is not None:
            _write(self._images, _csv_text([_COLUMNS, *images]))
        else:
            self._images.unlink(missing_ok=True)  # of another attempt
        self.save(state)
        # Last: where there are settings there is all that resuming needs.
        _write(self._settings, json.dumps(record, indent=2) + "\n")

    def check_free(self) -> None:
        """Raise ValueError if there is something in the folder: a run never overwrites.

        What `begin` left that was stopped before it wrote the settings is nothing.
        """
        if self.exists:
            raise ValueError(
                f"run: expected a new folder, got {self.folder}, which holds a run; choose "
                "another, or go on with it: resume=True"
            )
        if not self.folder.exists():
            return
        if not self.folder.is_dir() or not all(
            path in (self._state, self._images) or is_leftover(path)
            for path in self.folder.iterdir()
        ):
            raise ValueError(f"run: expected a new or empty folder, got {self.folder}")

    def check(self, settings: Mapping[str, Any], images: Sequence[tuple[str, ...]] | None) -> None:
        """Raise ValueError, naming what differs, unless the run was begun with just these."""
        own = self.settings()
        _check_json(settings["train"])
        if images is not None and self._images.is_file():
            with open(self._images, encoding="utf-8", errors="surrogateescape", newline="") as file:
                known = [tuple(row) for row in list(csv.reader(file))[1:]]
            self._check_images(known, list(images))
        given = json.loads(json.dumps(settings))
        differences = [
            f"{name} {section[name]} (the run has {own[key].get(name)})"
            for key in ("model", "train")
            for section in [given[key]]
            for name in section
            if section[name] != own[key].get(name) and (key, name) != ("model", "seed")
        ]
        if differences:
            reason = (
                "; the learning rate of every step follows from all epochs of the run"
                if given["train"]["epochs"] != own["train"]["epochs"]
                else ""
            )
            raise ValueError(
                f"resume: expected the settings of {self.folder}, got {', '.join(differences)}"
                f"{reason}; begin a new run for others"
            )
        data, known = given["data"], own["data"]
        changed = [name for name in {**known, **data} if data.get(name) != known.get(name)]
        if changed:
            got = ", ".join(
                f"{name} {data.get(name)} (the run has {known.get(name)})"
                for name in changed
                if "sha256" not in name
            )
            raise ValueError(
                f"resume: expected the images, labels and weights that {self.folder} was begun "
                f"with, got others{': ' + got if got else ' of the same number and size'}; bring "
                "them back, or begin a new run"
            )

    def _check_images(self, known: list[tuple[str, ...]], found: list[tuple[str, ...]]) -> None:
        width = len(known[0]) if known else len(_COLUMNS)  # earlier versions list no pixels
        found = [row[:width] for row in found]
        if found == known:
            return
        before, now = ({path: rest for path, *rest in rows} for rows in (known, found))
        changes = [
            ("new", [path for path in now if path not in before]),
            ("gone", [path for path in before if path not in now]),
        ]
        if before.keys() == now.keys():  # over other files the parts are drawn anew
            changes = [
                ("of another class or part", [p for p in now if now[p][:2] != before[p][:2]]),
                ("with other content", [p for p in now if now[p][2:] != before[p][2:]]),
            ]
        said = "; ".join(
            f"{len(paths):,} {what}: {', '.join(paths[:_NAMED])}"
            + (", ..." if len(paths) > _NAMED else "")
            for what, paths in changes
            if paths
        )
        raise ValueError(
            f"resume: expected the {len(known):,} images that {self.folder} was begun with, got "
            f"{len(found):,} ({said or 'in another order'}); bring them back, or begin a new run"
        )

    def save(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Keep what `Trainer.state` gave."""
        arrays: dict[str, Any] = dict(state)
        with replacing(self._state) as file:
            np.savez(file, **arrays)

    def restore(self, set_state: Callable[[Mapping[str, NDArray[Any]]], object]) -> None:
        """Give `set_state` what was saved last.

        FileNotFoundError or ValueError where that is gone or damaged.
        """
        try:
            with open(self._state, "rb") as file, np.load(file, allow_pickle=False) as arrays:
                state = {name: arrays[name] for name in arrays.files}
            set_state(state)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"{self._state}: expected the state of a run, got no such file{self._way_out()}"
            ) from None
        except OSError:
            raise
        except Exception as error:  # on damaged bytes numpy and zipfile raise nearly anything
            raise ValueError(
                f"{self._state}: expected the state of a run: {error}{self._way_out()}"
            ) from error

    def _way_out(self) -> str:
        """What to do where there is no state to go on from."""
        kept = f"; {self.best} can be used as it is" if self.best.is_file() else ""
        return f"{kept}; begin a new run to train on"

    def callbacks(self) -> "list[Callable[[CNN, History], object]]":
        """Return those that write the models and the results."""
        return [SaveBest(self.best), SaveLast(self.last), CsvLog(self.results)]

    def _position(self) -> dict[str, Any]:
        self.settings()
        positions: list[dict[str, Any]] = []
        self.restore(lambda state: positions.append(json.loads(str(state["position"]))))
        return positions[0]


def describe_data(training: Data, validation: Data | None) -> dict[str, Any]:
    """Return size and digests of the data, as JSON can hold them: others give other digests."""
    parts = {"images": training} | ({} if validation is None else {"validation_images": validation})
    described: dict[str, Any] = {}
    for name, data in parts.items():
        described[name] = len(data)
        described[f"{name}_shape"] = list(data.X.shape[1:])
        described[f"{name}_dtype"] = str(data.X.dtype)
        arrays = [data.X, data.y] + ([] if data.weights is None else [data.weights])
        digest = hashlib.sha256()
        for array in arrays:
            digest.update(np.ascontiguousarray(array).data)
        described[f"{name}_sha256"] = digest.hexdigest()
    return described


def list_images(
    training: "ImageDataset", validation: "ImageDataset | None"
) -> list[tuple[str, ...]]:
    """Return path, label, part and CRC-32 of the pixels of each image.

    Paths are from the folder that holds them all.
    """
    parts = {"training": training} | ({} if validation is None else {"validation": validation})
    rows = [
        (
            os.path.abspath(path),
            str(label),
            part,
            f"{zlib.crc32(np.ascontiguousarray(image).data):08x}",
        )
        for part, data in parts.items()
        for path, label, image in zip(data.paths, data.labels, data.images, strict=True)
    ]
    root = os.path.commonpath([os.path.dirname(path) for path, *_ in rows])
    return [(Path(path).relative_to(root).as_posix(), *rest) for path, *rest in rows]


def _check_json(settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"{name}: expected settings that JSON can hold, to keep them with the run, "
                f"got {value} ({error})"
            ) from error


def _csv_text(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode("utf-8", "surrogateescape"))
