"""Files that are written whole or not at all."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_TEMPORARY = ".ferrocnn-*.tmp"


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path`, which takes its place once it is safe on disk.

    A symbolic link stays, and what it points to is replaced; permissions are those of the file
    that is there, or those that `open` gives a new one. Devices, pipes and folders are refused.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(target.parent))
    if target.exists() and not target.is_file():
        raise ValueError(f"path: expected a file, got {os.fspath(path)}, a device or a pipe")
    temporary = target.with_name(_TEMPORARY.replace("*", os.urandom(8).hex()))
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    with contextlib.suppress(OSError):  # some systems cannot sync a folder; the file is whole
        descriptor = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def is_leftover(path: Path) -> bool:
    """Whether that is a temporary file of `replacing`, there if its process was killed."""
    return path.match(_TEMPORARY)
