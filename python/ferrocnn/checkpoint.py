"""Models as files: one .npz, written whole or not at all, read without pickle.

docs/model-format.md says every key.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ferrocnn._kernels import __version__
from ferrocnn.architecture import Architecture, check_architecture
from ferrocnn.checks import check_bool
from ferrocnn.errors import ModelFileError
from ferrocnn.files import replacing

if TYPE_CHECKING:
    from ferrocnn.model import CNN
    from ferrocnn.preprocessing import Preprocessing

FORMAT = "ferrocnn-model"
# 2 has the arguments of `CNN` after `padding`, and the statistics of batch norms.
FORMAT_VERSION = 2
_CONFIG_1 = ["input_shape", "conv_filters", "fc_layers", "padding", "seed"]

_RECORD = "record"
# The record is a page of text, and the header of an array a line; more is not ours.
_LARGEST_RECORD = 1 << 20
_LARGEST_HEADER = 1 << 12
_LONGEST_REASON = 500


@dataclass(frozen=True)
class ModelFile:
    """What a model file holds.

    config: the arguments of `CNN`. state: float32 arrays by name. class_names, preprocessing: None
    for a model of bare arrays. flip_average: whether inference takes mirror images as well.
    training: how the weights came about. format_version: of the file; version: of the ferrocnn
    that wrote it.
    """

    config: dict[str, Any]
    state: dict[str, NDArray[np.float32]]
    class_names: tuple[str, ...] | None
    preprocessing: Preprocessing | None
    flip_average: bool
    training: dict[str, Any]
    format_version: int
    version: str

    def build(self) -> CNN:
        """Return a new model with these weights and records."""
        model = _build(self.config)
        self.fill(model)
        return model

    def fill(self, model: CNN) -> None:
        """Give a model of the same architecture these weights and records."""
        model.set_state(self.state)
        model.seed = self.config["seed"]
        model.class_names = self.class_names
        model.preprocessing = self.preprocessing
        model.flip_average = self.flip_average
        model.training = self.training


def save_model(model: CNN, path: str | os.PathLike[str]) -> None:
    """Write a model to `path`, exactly that name; a file that is there is replaced.

    The file appears complete or not at all, even when the machine stops in between. OSError
    where it cannot be written; ValueError or TypeError, and no file, where the model holds what no
    file may: weights that are not finite, other class names than one a class, a `training` that is
    not JSON.
    """
    state = model.snapshot()
    path = _check_path(path)
    for name, value in state.items():
        if not np.isfinite(value).all():
            raise ValueError(f"{name}: expected finite values, got NaN or infinity; nothing saved")
    record = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "version": __version__,
        "config": model.config(),
        "class_names": _check_class_names(model.class_names, model.classes),
        "preprocessing": None if model.preprocessing is None else model.preprocessing.to_dict(),
        "flip_average": check_bool("flip_average", model.flip_average),
        "training": model.training,
    }
    try:
        text = np.array(json.dumps(record, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise type(error)(f"training: expected what JSON can hold, got {error}") from error
    if text.nbytes > _LARGEST_RECORD - _LARGEST_HEADER:
        raise ValueError(f"training: expected a short record, got one of {text.nbytes} bytes")
    entries: dict[str, Any] = {_RECORD: text, **state}
    with replacing(path) as file:
        np.savez(file, **entries)


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
    path = _check_path(path)
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _read(archive)
        except zipfile.BadZipFile as error:
            raise ModelFileError(
                f"{path}: expected a ferrocnn model file, got another kind of file or a damaged "
                f"one ({error}); train or copy it again"
            ) from error
        # On damaged bytes zipfile, json and numpy raise nearly anything: tokenize.TokenError...
        except Exception as error:
            raise ModelFileError(
                f"{path}: expected a ferrocnn model file, got one that cannot be "
                f"read: {str(error)[:_LONGEST_REASON]}"
            ) from error


def _read(archive: zipfile.ZipFile) -> ModelFile:
    record = _read_record(archive)
    config = _entry(record, "config", dict)
    known = [field.name for field in fields(Architecture)]
    keys = _CONFIG_1 if record["format_version"] == 1 else [*known, "seed"]
    if set(config) != set(keys):
        raise ValueError(f"config: expected the keys {keys}, got {list(config)}")
    _check_extent(archive, config)
    model = _build(config)
    expected = {name: array.shape for name, array in model.state().items()}
    entries = archive.namelist()
    wanted = [f"{name}.npy" for name in (_RECORD, *expected)]
    if sorted(entries) != sorted(wanted):
        raise ValueError(f"expected the entries {wanted}, got {entries}")
    state = {name: _read_array(archive, name, shape) for name, shape in expected.items()}
    model.set_state(state)  # checks that they are finite

    names = _entry(record, "class_names", (list, type(None)))
    class_names = _check_class_names(names, model.classes)
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
        state=state,
        class_names=None if class_names is None else tuple(class_names),
        preprocessing=preprocessing,
        flip_average="flip_average" in record and _entry(record, "flip_average", bool),
        training=_entry(record, "training", dict),
        format_version=record["format_version"],
        version=_entry(record, "version", str),
    )


def _read_record(archive: zipfile.ZipFile) -> dict[str, Any]:
    if f"{_RECORD}.npy" not in archive.namelist():
        raise ValueError(f"expected an entry {_RECORD!r}, got an archive without it")
    data = _member(archive, _RECORD, _LARGEST_RECORD)
    text = str(np.lib.format.read_array(io.BytesIO(data), allow_pickle=False))
    record = json.loads(text, parse_constant=_refuse_constant)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f"expected the format {FORMAT!r} in {_RECORD}")
    version = _entry(record, "format_version", int)
    if isinstance(version, bool) or version < 1:
        raise ValueError(f"format_version: expected a number from 1 up, got {version}")
    if version > FORMAT_VERSION:
        raise ValueError(
            f"format_version: expected at most {FORMAT_VERSION}, got {version}; "
            "upgrade ferrocnn to read this file"
        )
    return record


def _read_array(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
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


def _check_path(path: str | os.PathLike[str]) -> str:
    # A number would be taken for an open descriptor, and closed.
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path: expected a path, got {path!r}")
    return os.fsdecode(path)


def _check_class_names(names: Any, classes: int) -> list[str] | None:
    if names is None:
        return None
    if (
        len({*names}) != classes
        or len(names) != classes
        or not all(isinstance(n, str) for n in names)
    ):
        raise ValueError(f"class_names: expected {classes} different names, got {names}")
    return list(names)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"expected JSON numbers, got {name}")


def _check_extent(archive: zipfile.ZipFile, config: dict[str, Any]) -> None:
    """Check that the file is long enough for the weights of its config, before any are made."""
    for info in archive.infolist():
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{info.filename}: expected an entry that is not compressed")
    architecture = check_architecture(**{k: v for k, v in config.items() if k != "seed"})
    arrays, elements = architecture.extent()
    if len(archive.infolist()) != 1 + arrays:
        raise ValueError(
            f"expected {arrays} arrays and {_RECORD}, got {len(archive.infolist())} entries"
        )
    length = os.fstat(archive.fp.fileno()).st_size  # type: ignore[union-attr]
    if 4 * elements > length:
        raise ValueError(f"config: expected weights that {length} bytes hold, got {elements}")


def _build(config: dict[str, Any]) -> CNN:
    from ferrocnn.model import CNN

    return CNN(**config)
