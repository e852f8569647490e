"""What Pillow leaves open: colour modes, the EXIF orientation, dangerous files, its warnings."""

from __future__ import annotations

import io
import os
import stat
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # Pillow is imported where a picture is read: it takes longer than all the rest
    from PIL import Image

_ORIENTATION_TAG = 0x0112
# Files up to this size are read in one go: Pillow reads a JPEG's header a few bytes at a time,
# which is quicker from memory.
_READ_WHOLE = 2**20


class _QuietPillow:
    """Silences Pillow's warnings from the first entry to the last exit, in whatever threads.

    Warning filters belong to the whole process: threads that each saved and restored them could
    restore them in the wrong order, and so change them for good.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entered = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._entered == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._entered += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._entered -= 1
            if self._entered == 0:
                self._filters.__exit__(None, None, None)


quiet_pillow = _QuietPillow()


# What turns pixels upright, by EXIF orientation; 1 is upright already.
UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, 3),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: np.rot90,
}


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation of a loaded image, 1 to 8; 1 where there is none, or it is broken."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
        return value if value in UPRIGHT else 1
    except Exception:  # a broken EXIF block raises nearly anything, and must not cost the picture
        return 1


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded image of any mode to RGB, transparency over white."""
    from PIL import Image

    if image.mode == "F" or image.mode.startswith("I"):
        image = _to_eight_bits(image)
    if image.mode == "La":  # premultiplied grey, which Pillow converts to nothing else
        image = image.convert("LA")
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    picture = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), picture).convert("RGB")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale grey of more than 8 bits (16 or 32, or floats) to mode L; Pillow itself would clip."""
    from PIL import Image

    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode == "F":
        if low >= 0 and high <= 255:
            top = 1 if high <= 1 else 255
            return Image.fromarray((values * (255 / top) + 0.5).astype(np.uint8))
    elif low >= 0 and high <= 65535:
        return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
    raise ValueError(f"grey values from {low} to {high}, and nothing says which is white")


def source(path: str | os.PathLike[str]) -> str | os.PathLike[str] | io.BytesIO:
    """What Pillow opens: a small file's content, or the path.

    What is no file with content is refused; opening a pipe would wait for ever.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")
    if status.st_size == 0:
        raise ValueError("zero-length file")
    if status.st_size > _READ_WHOLE:
        return path
    with open(path, "rb", buffering=0) as file:
        return io.BytesIO(file.read())


def check_pixel_count(image: Image.Image) -> None:
    """Refuse what would not fit memory; Pillow only warns up to twice its own limit."""
    from PIL import Image

    count, limit = image.width * image.height, Image.MAX_IMAGE_PIXELS
    if count == 0:
        raise ValueError("an image without pixels")
    if limit is not None and count > limit:
        raise ValueError(
            f"{image.width} x {image.height} pixels may be a decompression bomb: "
            f"the limit is {limit} (PIL.Image.MAX_IMAGE_PIXELS)"
        )
