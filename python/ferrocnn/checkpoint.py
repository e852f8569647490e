"""Models as files: one .npz, written whole or not at all, read without pickle.

docs/model-format.md says every key.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ferrocnn._kernels import __version__
from ferrocnn.errors import ModelFileError

if TYPE_CHECKING:
    from ferrocnn.model import CNN
    from ferrocnn.preprocessing import Preprocessing

FORMAT = "ferrocnn-model"
FORMAT_VERSION = 1

_RECORD = "record"
# The record is a page of text, and the header of an array a line; more is not ours.
_LARGEST_RECORD = 1 << 20
_LARGEST_HEADER = 1 << 12


@dataclass(frozen=True)
class ModelFile:
    """What a model file holds.

    config: the arguments of `CNN`. parameters: float32 arrays by name. class_names,
    preprocessing: None for a model of bare arrays. training: how the weights came about.
    version: of the ferrocnn that wrote the file.
    """

    config: dict[str, Any]
    parameters: dict[str, NDArray[np.float32]]
    class_names: tuple[str, ...] | None
    preprocessing: Preprocessing | None
    training: dict[str, Any]
    version: str

    def build(self) -> CNN:
        """Return a new model with these weights and records."""
        model = _build(self.config)
        self.fill(model)
        return model

    def fill(self, model: CNN) -> None:
        """Give a model of the same architecture these weights and records."""
        model.set_parameters(self.parameters)
        model.class_names = self.class_names
        model.preprocessing = self.preprocessing
        model.training = self.training


def save_model(model: CNN, path: str | os.PathLike[str]) -> None:
    """Write a model to `path`, exactly that name; a file that is there is replaced.

    The file appears complete or not at all, even when the machine stops in between. OSError
    where it cannot be written.
    """
    record = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "version": __version__,
        "config": model.config(),
        "class_names": None if model.class_names is None else list(model.class_names),
        "preprocessing": None if model.preprocessing is None else model.preprocessing.to_dict(),
        "training": model.training,
    }
    text = np.array(json.dumps(record, allow_nan=False))
    with _replacing(Path(path)) as file:
        np.savez(file, allow_pickle=False, **{_RECORD: text}, **model.parameters())


def load(path: str | os.PathLike[str]) -> CNN:
    """Build the model that a file holds. ModelFileError where it is not a whole model file."""
    return read_model_file(path).build()


def load_into(model: CNN, path: str | os.PathLike[str]) -> None:
    """Fill a model from a file of the same architecture; ModelFileError, and no change, else."""
    file = read_model_file(path)
    own = model.config()
    differences = [
        f"{key} {own[key]} (the file has {file.config[key]})"
        for key in own
        if key != "seed" and own[key] != file.config[key]
    ]
    if differences:
        raise ModelFileError(
            f"{os.fspath(path)}: expected a model with {', '.join(differences)}; "
            "ferrocnn.load(path) builds the model that the file holds"
        )
    file.fill(model)


def read_model_file(path: str | os.PathLike[str]) -> ModelFile:
    """Read and check a model file whole, without running anything in it.

    OSError where it cannot be opened, ModelFileError where it is not a whole model file. Sizes
    are checked before memory is taken, so a hostile file cannot exhaust it.
    """
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _read(archive)
        except (
            ValueError,
            TypeError,
            KeyError,
            EOFError,
            OSError,
            RuntimeError,  # an encrypted member
            NotImplementedError,  # a compression that zipfile does not know
            MemoryError,
            zipfile.BadZipFile,
            zipfile.zlib.error,  # type: ignore[attr-defined]
        ) as error:
            raise ModelFileError(
                f"{os.fspath(path)}: expected a ferrocnn model file, got one that cannot be "
                f"read: {error}"
            ) from error


def _read(archive: zipfile.ZipFile) -> ModelFile:
    record = _read_record(archive)
    config = _entry(record, "config", dict)
    model = _build(config)
    expected = {name: array.shape for name, array in model.parameters().items()}
    names = archive.namelist()
    wanted = [f"{name}.npy" for name in (_RECORD, *expected)]
    if sorted(names) != sorted(wanted):
        raise ValueError(f"expected the entries {wanted}, got {names}")
    parameters = {name: _read_parameter(archive, name, shape) for name, shape in expected.items()}
    model.set_parameters(parameters)  # checks that they are finite

    class_names = _entry(record, "class_names", (list, type(None)))
    if class_names is not None and not (
        len(class_names) == 2 and all(isinstance(name, str) for name in class_names)
    ):
        raise ValueError(f"class_names: expected two names, got {class_names}")
    preprocessing = _entry(record, "preprocessing", (dict, type(None)))
    if preprocessing is not None:
        from ferrocnn.preprocessing import Preprocessing

        preprocessing = Preprocessing.from_dict(preprocessing)
        if (*preprocessing.image_size, 3) != model.input_shape:
            raise ValueError(
                f"preprocessing: expected the image size of {model.input_shape}, "
                f"got {preprocessing.image_size}"
            )
    return ModelFile(
        config=model.config(),
        parameters=parameters,
        class_names=None if class_names is None else tuple(class_names),
        preprocessing=preprocessing,
        training=_entry(record, "training", dict),
        version=_entry(record, "version", str),
    )


def _read_record(archive: zipfile.ZipFile) -> dict[str, Any]:
    data = _member(archive, _RECORD, _LARGEST_RECORD)
    record = json.loads(str(np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)))
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f"expected the format {FORMAT!r} in {_RECORD}")
    version = _entry(record, "format_version", int)
    if version > FORMAT_VERSION:
        raise ValueError(
            f"format_version: expected at most {FORMAT_VERSION}, got {version}; "
            "upgrade ferrocnn to read this file"
        )
    return record


def _read_parameter(
    archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    size = 4 * int(np.prod(shape))
    data = io.BytesIO(_member(archive, name, size + _LARGEST_HEADER))
    version = np.lib.format.read_magic(data)
    if version != (1, 0):
        raise ValueError(f"{name}: expected .npy version (1, 0), got {version}")
    found, fortran, dtype = np.lib.format.read_array_header_1_0(data)
    if found != shape or dtype != np.float32 or fortran:
        raise ValueError(f"{name}: expected {shape} float32 in C order, got {found} {dtype}")
    content = data.read()
    if len(content) != size:
        raise ValueError(f"{name}: expected {size} bytes, got {len(content)}")
    return np.frombuffer(content, np.float32).reshape(shape).copy()


def _member(archive: zipfile.ZipFile, name: str, largest: int) -> bytes:
    info = archive.getinfo(f"{name}.npy")
    if info.file_size > largest:
        raise ValueError(f"{name}: expected at most {largest} bytes, got {info.file_size}")
    return archive.read(info)


def _entry(record: dict[str, Any], key: str, kind: type | tuple[type, ...]) -> Any:
    if key not in record or not isinstance(record[key], kind):
        raise ValueError(f"{key}: expected {kind}, got {record.get(key)!r}")
    return record[key]


def _build(config: dict[str, Any]) -> CNN:
    from ferrocnn.model import CNN

    return CNN(**config)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path`, which takes its place once it is safe on disk."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, _usual_mode(path))
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    _sync_folder(path.parent)


def _usual_mode(path: Path) -> int:
    """Permissions of the file that is there, or those that `open` would give a new one."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows cannot open folders, and needs no sync to keep a rename
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
