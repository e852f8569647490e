"""Decoded pictures kept on disk, so that the second run on a folder starts at once.

There is one file for each folder and way of decoding, in the platform's cache folder and never
beside the pictures. It is a zip archive, not compressed, because each entry then carries a
checksum: `record.json` lists the files of the folder, and the other entries hold the uint8 pixels
of those that gave a picture, in the order of the list, a block of pictures an entry.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ferrocnn.decoding import decoder_facts
from ferrocnn.files import replacing
from ferrocnn.preprocessing import Preprocessing

# What all files of the cache may take together; the least recently used are removed first.
LIMIT = 4 * 2**30

_BLOCK_BYTES = 2**20
_RECORD = "record.json"
_OURS = re.compile(r"[0-9a-f]{32}\.zip")
_ABANDONED = 24 * 60 * 60.0  # seconds after which a temporary file has no writer any more

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Pictures:
    """What each of n files gave.

    Attributes:
        images: uint8 ``(n, height, width, 3)``; rows without a picture hold anything.
        reasons: why a file gave no picture; None where it gave one, or was not looked at.
        settled: bool ``(n,)``, true where the content of the file decided on picture or reason.
            Only that is kept on disk: a lack of permission or of memory may pass.
    """

    images: NDArray[np.uint8]
    reasons: list[str | None]
    settled: NDArray[np.bool_]


class PictureCache:
    """The pictures of one folder on disk.

    Make it before the files are decoded: it notes size, modification time and change time of each,
    so that what is changed later is not taken for what was read. (An archive can give all its
    files one modification time; the change time tells when they were moved or unpacked anew.)

    Whatever the disk does or holds, nothing is raised: a file that is damaged or of something else
    is as good as none. Two processes may use one folder; the last to write wins.
    """

    def __init__(
        self, folder: str | os.PathLike[str], paths: Sequence[Path], preprocessing: Preprocessing
    ) -> None:
        base = os.fspath(Path(folder))
        start = 0 if base == "." else len(os.path.join(base, ""))
        self._names = [str(path)[start:] for path in paths]
        self._stamps = [_stamp(path) for path in paths]
        self._key = _key(folder, preprocessing)
        self._read_count = 0  # pictures and reasons

    def read(self, pictures: Pictures) -> int:
        """Fill in what is known of files that have not changed; return the number of pictures."""
        try:
            path = self._path()
            if path.is_file():  # opening a pipe would wait for ever
                with zipfile.ZipFile(path) as archive:
                    self._read(archive, pictures)
                os.utime(path)  # used now
        except Exception as error:  # there is no telling what a broken file raises
            _log.debug("cache not read: %s", error)
        self._read_count = int(np.count_nonzero(pictures.settled))
        return self._read_count - sum(reason is not None for reason in pictures.reasons)

    def write(self, pictures: Pictures) -> None:
        """Keep all that is settled, if it is more than was read; at worst log a warning."""
        count = np.count_nonzero(pictures.settled)
        if count == self._read_count or count * pictures.images[0].nbytes > LIMIT:
            return
        try:
            path = self._path()
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # photographs are private
            if path.is_symlink():  # `replacing` would write where it points
                path.unlink()
            with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
                self._write(archive, pictures)
            _prune(path.parent)
        except (OSError, ValueError) as error:
            where, why = getattr(error, "filename", None), getattr(error, "strerror", None)
            reason = f"{where}: {why}" if where else why or error
            _log.warning("pictures not cached: %s; FERROCNN_CACHE_DIR names another folder", reason)

    def _path(self) -> Path:
        return cache_folder() / f"{hashlib.sha256(self._key.encode()).hexdigest()[:32]}.zip"

    def _read(self, archive: zipfile.ZipFile, pictures: Pictures) -> None:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("compressed: a small file could fill the memory")
        record = json.loads(archive.read(_RECORD))
        if record["key"] != self._key:
            raise ValueError("made from something else")
        indices = {name: i for i, name in enumerate(self._names) if self._stamps[i] is not None}
        rows = []  # where each stored picture goes; -1 for one that is not wanted any more
        for name, stamp, reason in record["files"]:
            index = indices.get(name, -1)
            if index >= 0 and stamp != self._stamps[index]:
                index = -1
            if reason is None:
                rows.append(index)
            elif index >= 0:
                pictures.reasons[index] = str(reason)
                pictures.settled[index] = True
        images = pictures.images
        step = _block_rows(images)
        for start in range(0, len(rows), step):
            block = np.array(rows[start : start + step])
            wanted = block >= 0
            if wanted.any():
                pixels = np.frombuffer(archive.read(str(start)), dtype=np.uint8)
                pixels = pixels.reshape(len(block), *images.shape[1:])
                images[block[wanted]] = pixels[wanted]
                pictures.settled[block[wanted]] = True

    def _write(self, archive: zipfile.ZipFile, pictures: Pictures) -> None:
        kept = [i for i in np.flatnonzero(pictures.settled) if self._stamps[i] is not None]
        files = [(self._names[i], self._stamps[i], pictures.reasons[i]) for i in kept]
        archive.writestr(_RECORD, json.dumps({"key": self._key, "files": files}))
        rows = [i for i in kept if pictures.reasons[i] is None]
        step = _block_rows(pictures.images)
        for start in range(0, len(rows), step):
            archive.writestr(str(start), pictures.images[rows[start : start + step]].tobytes())


def cache_folder() -> Path:
    """Return the folder of the cache, which need not exist.

    It is ``FERROCNN_CACHE_DIR`` where that is set, else ``ferrocnn`` in the platform's place for
    caches.

    Raises:
        FileNotFoundError: this user has no home folder.
    """
    chosen = os.environ.get("FERROCNN_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    folder = platformdirs.user_cache_path("ferrocnn", appauthor=False)
    if not folder.is_absolute():  # a folder named "~" would come to be in the working folder
        raise FileNotFoundError(errno.ENOENT, "no home folder", os.fspath(folder))
    return folder


def _key(folder: str | os.PathLike[str], preprocessing: Preprocessing) -> str:
    """Everything besides the files themselves that decides on pixels and reasons."""
    facts = {"folder": os.path.abspath(folder), **decoder_facts(preprocessing)}
    return json.dumps(facts, default=str)


def _stamp(path: Path) -> list[int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _block_rows(images: NDArray[np.uint8]) -> int:
    return max(1, _BLOCK_BYTES // int(images[0].nbytes))


def _prune(folder: Path) -> None:
    """Remove the least recently used files beyond `LIMIT`, and what broken-off writers left."""
    files = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another process may remove it first
            status = path.stat()
            if _OURS.fullmatch(path.name):
                files.append((status.st_mtime_ns, status.st_size, path))
            elif path.match(".ferrocnn-*.tmp") and time.time() - status.st_mtime > _ABANDONED:
                path.unlink()
    total = 0
    for _, size, path in sorted(files, reverse=True):
        total += size
        if total > LIMIT:
            with contextlib.suppress(OSError):
                path.unlink()
