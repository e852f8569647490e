"""One process at a time in a folder: a file there holds the id of the process."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, which `holder` finds free; FileExistsError if two try at once.

    What a process left that is gone does not count. Only those are kept out that ask.
    """
    path.unlink(missing_ok=True)
    with open(path, "x", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def holder(path: Path) -> int | None:
    """Return the id of the other process that holds `path`; None where none does."""
    try:
        process = int(path.read_text("ascii"))
    except (FileNotFoundError, ValueError):  # none, or killed before it was written
        return None
    # In a container a later process easily has the id of the one that was killed.
    return process if process != os.getpid() and _runs(process) else None


def _runs(process: int) -> bool:
    if process <= 0:  # not of a single process
        return False
    if sys.platform == "win32":  # where os.kill would end it
        import ctypes

        kernel = ctypes.windll.kernel32
        handle = kernel.OpenProcess(0x00100000, False, process)  # SYNCHRONIZE
        if not handle:
            return False
        try:
            return bool(kernel.WaitForSingleObject(handle, 0) == 0x102)  # WAIT_TIMEOUT
        finally:
            kernel.CloseHandle(handle)
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True
