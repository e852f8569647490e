"""Which files of a folder belong to which class. Only names are looked at; no file is opened."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_TRAINING = {"train", "training"}
_VALIDATION = {"val", "valid", "validation"}
_TEST = {"test", "testing"}
_SHOWN_FOLDERS = 3
_SYSTEM_NAMES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"}


class SkippedFile(NamedTuple):
    """A file or folder that gave no image, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Layout:
    """The files of all classes, sorted by part, class and path.

    `labels` and `validation` have one entry for each of `paths`; `validation` is None where the
    folder is no pair of a training and a validation folder.
    """

    class_names: tuple[str, ...]
    paths: list[Path]
    labels: list[int]
    validation: list[bool] | None
    skipped: list[SkippedFile]


def read_layout(folder: str | os.PathLike[str], class_names: Sequence[str] | None) -> Layout:
    """Find the class folders in `folder` and all files below them.

    The rules and the errors are those of :func:`ferrocnn.images.load_images`.
    """
    root = Path(folder)
    if not root.is_dir():
        error, got = (
            (NotADirectoryError, "a file") if root.exists() else (FileNotFoundError, "no such path")
        )
        raise error(f"folder: expected a folder that holds one folder per class, got {got}: {root}")
    known = None if class_names is None else _checked_names(class_names)

    skipped: list[SkippedFile] = []
    folders = _class_folders(root, skipped)
    pair = _training_and_validation(folders, skipped)
    parts = [folders] if pair is None else [_class_folders(part, skipped) for part in pair]
    found = [sorted({folder.name for folder in part}) for part in parts]
    if known is not None:
        _check_known(root, known, sorted({name for names in found for name in names}))
    elif found[0] != found[-1]:
        raise ValueError(
            f"folder: expected the same classes in both parts of {root}, got {_listed(found[0])} "
            f"for training and {_listed(found[1])} for validation"
        )
    elif len(found[0]) < 2:
        raise ValueError(
            f"folder: expected at least two class folders in {parts[0][0].parent}, got only "
            f"{found[0][0]!r}{_hint(parts[0][0])}"
        )
    elif pair is None:
        _check_level(root, folders)
    names = known or tuple(found[0])

    paths: list[Path] = []
    labels: list[int] = []
    validation: list[bool] = []
    for is_validation, part in enumerate(parts):
        for class_folder in part:
            files = list(_files(class_folder, skipped))
            paths += files
            labels += [names.index(class_folder.name)] * len(files)
            validation += [bool(is_validation)] * len(files)
    return Layout(names, paths, labels, validation if pair else None, skipped)


def _class_folders(folder: Path, skipped: list[SkippedFile]) -> list[Path]:
    """Return the visible folders in `folder`, by name; all else goes to `skipped`."""
    folders = []
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    for entry in entries:
        reason = _reason_to_skip(entry.name)
        if reason is None and not entry.is_dir():
            reason = "beside the class folders, not in one"
        if reason is None:
            folders.append(entry)
        else:
            skipped.append(SkippedFile(entry, reason))
    if not folders:
        files = "1 file" if len(entries) == 1 else f"{len(entries)} files"
        raise ValueError(
            f"folder: expected a folder of images for each class in {folder}, got {files} and "
            f"no such folder; if {folder.name!r} is one of the classes give {folder.parent}, else "
            f"move each image into {folder / 'CLASS_NAME'}"
        )
    return folders


def _training_and_validation(
    folders: list[Path], skipped: list[SkippedFile]
) -> tuple[Path, Path] | None:
    """Return the two if `folders` are such a pair, None if they are plain class folders."""
    training = [folder for folder in folders if folder.name.lower() in _TRAINING]
    validation = [folder for folder in folders if folder.name.lower() in _VALIDATION]
    test = [folder for folder in folders if folder.name.lower() in _TEST]
    if not training or not (validation or test):
        return None
    others = len(folders) - len(training) - len(validation) - len(test)
    if others or len(training) != 1 or len(validation) != 1:
        # Taken for classes, they would train a model that tells "train" from "test".
        raise ValueError(
            f"folder: expected class folders, or one train and one val folder that hold them, got "
            f"{_listed([folder.name for folder in folders])} in {training[0].parent}; rename or "
            "move what does not belong, or give the folder that holds the class folders"
        )
    skipped += [SkippedFile(folder, "the test folder of a train and val pair") for folder in test]
    return training[0], validation[0]


def _files(folder: Path, skipped: list[SkippedFile]) -> Iterator[Path]:
    """Yield all files in and below `folder` in sorted order; what is not taken is `skipped`."""

    def unreadable(error: OSError) -> None:
        skipped.append(SkippedFile(Path(error.filename), error.strerror or str(error)))

    for base, folders, names in os.walk(folder, onerror=unreadable):
        here = Path(base)
        for name in sorted(folders):
            reason = _reason_to_skip(name)
            if reason is None and (here / name).is_symlink():  # a link upwards would never end
                reason = "a link to a folder"
            if reason is not None:
                skipped.append(SkippedFile(here / name, reason))
                folders.remove(name)
        folders.sort()
        for name in sorted(names):
            reason = _reason_to_skip(name)
            if reason is None:
                yield here / name
            else:
                skipped.append(SkippedFile(here / name, reason))


def _reason_to_skip(name: str) -> str | None:
    """Why a file or folder of this name is never an image; None if it may be one."""
    if name.startswith("."):
        return "hidden"
    if name.lower() in _SYSTEM_NAMES:
        return "written by the operating system"
    return None


def _checked_names(names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"class_names: expected a sequence of names, got {names!r}")
    if not names or len(set(names)) != len(names):
        raise ValueError(f"class_names: expected different names, got {names!r}")
    return tuple(names)


def _check_known(root: Path, known: tuple[str, ...], found: list[str]) -> None:
    if not set(found) <= set(known):
        raise ValueError(
            f"folder: expected only the classes {_listed(known)} in {root}, got folders named "
            f"{_listed(found)}; rename or move the folders of other names"
        )


def _hint(lone: Path) -> str:
    """What to type where the class folders lie one level further down, as unpacking does."""
    inside = sum(1 for entry in lone.iterdir() if entry.is_dir())
    return f"; did you mean {lone}?" if inside >= 2 else "; add a folder for each other class"


def _check_level(root: Path, folders: list[Path]) -> None:
    """Raise ValueError where each of the class folders looks like a data set itself."""
    if not all(len(_filled_folders(folder)) >= 2 for folder in folders):
        return
    shown = " or ".join(map(str, folders[:_SHOWN_FOLDERS]))
    more = " or another there" if len(folders) > _SHOWN_FOLDERS else ""
    names = _listed([folder.name for folder in folders])
    raise ValueError(
        f"folder: expected images in the class folders of {root}, got only folders of images in "
        f"each of {names}; did you mean {shown}{more}? If these are the classes, move the images "
        "of one of them up into its folder"
    )


def _filled_folders(folder: Path) -> list[str]:
    """The folders in `folder` that hold files at any depth; none where files are beside them."""
    base, folders, names = next(os.walk(folder), ("", [], []))
    if any(_reason_to_skip(name) is None for name in names):
        return []
    below = [Path(base, name) for name in folders if _reason_to_skip(name) is None]
    return [
        path.name
        for path in below
        if not path.is_symlink() and next(_files(path, []), None) is not None
    ]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:10]))
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"
