"""Files to pixels: small pictures load at the speed of the decoder on all cores.

Plain JPEG files are decoded in Rust, all others by Pillow, in processes where they are many: in
threads it hands Python's lock back and forth, and 16,000 small PNG files take 3.2 s, not 1.7.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ferrocnn.pillow import quiet_pillow
from ferrocnn.preprocessing import DECODE_VERSION, Preprocessing

# What a process runs. It finds modules where this one does, whatever changed `sys.path` since;
# the program's own main module is not touched.
_PROGRAM = """
import json, sys
settings = json.loads(sys.stdin.buffer.readline())
sys.path[:] = settings["path"]
from ferrocnn.decoding import serve
serve(settings["facts"])
"""
_BUFFER = 2**16
# Python's lock is held for a tenth of a photograph's time, so more threads only queue for it; of
# processes, each takes 20 MB.
_MOST_AT_ONCE = 8
# From so many files on processes are used, which take 0.2 s to start. Where no other work needs the
# cores, 4,000 PNG files of 32x32 take 0.46 s in place of 0.83.
_MANY = 4000


class Outcome(NamedTuple):
    """What one file gave: pixels, or the reason why there are none.

    `settled` is true where the content of the file decided on it, and not the system.
    """

    pixels: NDArray[np.uint8] | None
    reason: str | None
    settled: bool


def decoder_facts(preprocessing: Preprocessing) -> dict[str, Any]:
    """Everything besides the files themselves that decides on pixels and reasons."""
    import PIL
    from PIL import Image, ImageFile, features

    modules = {name: str(opener.__module__) for name, (opener, _) in list(Image.OPEN.items())}
    return {
        "preprocessing": preprocessing.to_dict(),
        "decode_version": DECODE_VERSION,
        "pillow": PIL.__version__,
        "jpeg_library": features.version("libjpeg_turbo") or features.version("jpg"),
        "added_formats": sorted(n for n, module in modules.items() if module[:4] != "PIL."),
        "max_image_pixels": Image.MAX_IMAGE_PIXELS,
        "load_truncated_images": ImageFile.LOAD_TRUNCATED_IMAGES,
    }


def decoders_for(preprocessing: Preprocessing, files: int) -> list[Decoder]:
    """Return as many decoders as should work at once on so many files."""
    count = min(_usable_cores(), _MOST_AT_ONCE)
    return [Decoder(preprocessing, count > 1 and files >= _MANY) for _ in range(count)]


class Decoder:
    """Decodes files one after another, for one thread at a time.

    With `own_process` that happens in a process, started with the first files, which ends when
    the decoder is closed or this process ends, however that comes. Where no process can be had,
    or its Pillow is another (a format that the program registered, say), the thread decodes.
    """

    def __init__(self, preprocessing: Preprocessing, own_process: bool) -> None:
        self._preprocessing = preprocessing
        # An application that embeds Python, or is frozen, would start itself once more.
        name = "" if getattr(sys, "frozen", False) else Path(sys.executable or "").name.lower()
        self._own_process = own_process and name.startswith(("python", "pypy"))
        self._process: subprocess.Popen[bytes] | None = None

    def decode(self, paths: Sequence[Path]) -> Iterator[Outcome]:
        """Yield the outcome of each file; whatever one file does, the others are still decoded."""
        jpegs = self._preprocessing.decode_jpegs(paths)
        others = [path for path, pixels in zip(paths, jpegs, strict=True) if pixels is None]
        outcomes = self._decode_with_pillow(others)
        for pixels in jpegs:
            yield next(outcomes) if pixels is None else Outcome(pixels, None, True)

    def _decode_with_pillow(self, paths: Sequence[Path]) -> Iterator[Outcome]:
        """Do it in the process if there should be one.

        A file on which two processes die (a fault in a C library, or the memory is full) is
        skipped: tried here, it could take the whole program with it.
        """
        done, one_by_one = 0, False
        while done < len(paths):
            if not self._ready():
                yield _attempt(self._preprocessing, paths[done])
                done += 1
                continue
            try:
                for outcome in self._ask(paths[done : done + 1] if one_by_one else paths[done:]):
                    done += 1
                    yield outcome
            except (OSError, EOFError):
                code = self._stop()
                if one_by_one:
                    reason = f"the process that decodes it died twice (exit code {code})"
                    yield Outcome(None, reason, False)
                    done += 1
                one_by_one = True

    def close(self) -> None:
        """End the process at once; a file that it is at has no outcome."""
        self._own_process = False
        self._stop()

    def _ready(self) -> bool:
        """Whether there is a process to ask; starts one where there should be."""
        if self._process is None and self._own_process:
            self._own_process = self._start()
        return self._process is not None

    def _start(self) -> bool:
        try:
            facts = json.dumps(decoder_facts(self._preprocessing))
            path = json.dumps([entry for entry in sys.path if isinstance(entry, str)])
            self._process = process = subprocess.Popen(
                [sys.executable, "-IBc", _PROGRAM],
                bufsize=_BUFFER,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # NumPy starts twice as quickly
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f'{{"path": {path}, "facts": {facts}}}\n'.encode())
            process.stdin.flush()
            if process.stdout.readline() == f"{facts}\n".encode():
                return True
        except (OSError, ValueError, TypeError):  # the system refuses, or JSON has no such value
            pass
        self._stop()
        return False

    def _ask(self, paths: Sequence[Path]) -> Iterator[Outcome]:
        assert self._process is not None
        requests, replies = self._process.stdin, self._process.stdout
        assert requests is not None
        assert replies is not None
        shape = (*self._preprocessing.image_size, 3)
        size = shape[0] * shape[1] * 3
        # Names may hold any byte but 0, a line end too, and need be no text.
        requests.write(b"".join(os.fsencode(path).hex().encode() + b"\n" for path in paths))
        requests.flush()
        for _ in paths:
            header = replies.readline()
            if not header.endswith(b"\n"):
                raise EOFError
            reason, settled = json.loads(header)
            pixels = None
            if reason is None:
                content = replies.read(size)
                if len(content) < size:
                    raise EOFError
                pixels = np.frombuffer(content, np.uint8).reshape(shape)
            yield Outcome(pixels, reason, settled)

    def _stop(self) -> int | None:
        """End the process, if there is one; return its exit code."""
        process, self._process = self._process, None
        if process is None:
            return None
        with contextlib.suppress(OSError), process:  # closes the pipes, with what lies in them
            process.kill()
        return process.returncode


def _attempt(preprocessing: Preprocessing, path: str | Path) -> Outcome:
    try:
        return Outcome(preprocessing.decode(path), None, True)
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Outcome(None, reason, isinstance(error, ValueError))


def _usable_cores() -> int:
    """Cores that this process may run on, which in a container can be fewer than there are."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        return os.cpu_count() or 1


def serve(facts: dict[str, Any]) -> None:
    """Decode the files named on standard input until it ends: the work of a process."""
    from PIL import Image, ImageFile

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which decides
    replies = os.fdopen(os.dup(1), "wb", _BUFFER)
    os.dup2(2, 1)  # what libraries print must not come between the replies
    Image.MAX_IMAGE_PIXELS = facts["max_image_pixels"]
    ImageFile.LOAD_TRUNCATED_IMAGES = facts["load_truncated_images"]
    preprocessing = Preprocessing.from_dict(facts["preprocessing"])
    replies.write(json.dumps(decoder_facts(preprocessing)).encode() + b"\n")
    replies.flush()

    names: SimpleQueue[str] = SimpleQueue()

    def listen() -> None:
        for line in sys.stdin.buffer:
            names.put(os.fsdecode(bytes.fromhex(line.decode())))
        os._exit(0)  # the parent is gone; in a thread, for a picture may take long

    threading.Thread(target=listen, daemon=True).start()
    with quiet_pillow:
        while True:
            pixels, reason, settled = _attempt(preprocessing, names.get())
            replies.write(json.dumps([reason, settled]).encode() + b"\n")
            if pixels is not None:
                replies.write(pixels.data)
            if names.empty():
                replies.flush()
