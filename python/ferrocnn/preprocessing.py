"""From a picture to the pixels that a model takes.

The folder loader and ``predict("photo.jpg")`` both go through :class:`Preprocessing`, and a model
file carries its fields: what a model sees in use is what it saw in training.
"""

from __future__ import annotations

import io
import os
import stat
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ferrocnn import _kernels
from ferrocnn.checks import check_positive_int

if TYPE_CHECKING:  # Pillow is imported where a picture is read: it takes longer than all the rest
    from PIL import Image

# Counts the changes to this module that change the pixels of any picture, or what is refused:
# the cache on disk gives nothing back that an older count made.
DECODE_VERSION = 2

_ORIENTATION_TAG = 0x0112
# A JPEG is decoded at no less than this many times the model's size. At 1 the pixels differ from
# those of a full decode by 0.8 of 255 on average, at 2 by 0.2; full-size photographs take a
# quarter longer for it, and still half of a full decode.
_DRAFT_MARGIN = 2
# Files up to this size are read in one go: Pillow reads a JPEG's header a few bytes at a time,
# which is quicker from memory.
_READ_WHOLE = 2**20


@dataclass(frozen=True)
class Preprocessing:
    """How a picture of any kind becomes ``(height, width, 3)`` uint8 pixels.

    Transparent pictures are laid over white, 16-bit grey is scaled to 8 bits, an animation gives
    its first frame, and every other mode is converted by Pillow.

    Attributes:
        image_size: ``(height, width)`` of the result, in pixels.
        mode: Pillow's name of the colour mode of the result; ``"RGB"``.
        resample: filter of the resize; ``"bilinear"``, which averages when it shrinks.
        fit: how another aspect ratio is met; ``"stretch"``.
        exif_orientation: whether a picture is turned upright as its EXIF data says. (A TIFF file
            always is: Pillow does it while reading.)
        scale: range of the floats that the model makes of the bytes; ``"0..1"``, division by 255.
        stored_size: ``(height, width)`` to which the picture is resized first; None: at once. A
            model that was trained on crops of images of that size sees pictures as sharp as they
            were.

    Raises:
        ValueError: a field holds what this version cannot honour.
    """

    image_size: tuple[int, int] = (64, 64)
    mode: str = "RGB"
    resample: str = "bilinear"
    fit: str = "stretch"
    exif_orientation: bool = True
    scale: str = "0..1"
    stored_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", _checked_size("image_size", self.image_size))
        if self.stored_size is not None:
            stored_size = _checked_size("stored_size", self.stored_size)
            object.__setattr__(self, "stored_size", stored_size)
        if not isinstance(self.exif_orientation, bool):
            raise ValueError(
                f"exif_orientation: expected True or False, got {self.exif_orientation!r}"
            )
        for name in ("mode", "resample", "fit", "scale"):
            value, known = getattr(self, name), getattr(Preprocessing, name)
            if value != known:
                raise ValueError(
                    f"{name}: expected {known!r}, got {value!r}; this version knows no other"
                )

    @property
    def first_size(self) -> tuple[int, int]:
        """The size to which the picture is resized first, which may be the last."""
        return self.stored_size or self.image_size

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON has them; :meth:`from_dict` reads them back."""
        stored_size = None if self.stored_size is None else list(self.stored_size)
        return {**asdict(self), "image_size": list(self.image_size), "stored_size": stored_size}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Build from what :meth:`to_dict` gave, of early versions without ``stored_size``.

        Raises:
            ValueError: a key is missing or unknown, or a value cannot be honoured.
        """
        expected = {field.name for field in fields(cls)}
        if not isinstance(values, Mapping) or {*values, "stored_size"} != expected:
            got = sorted(map(str, values)) if isinstance(values, Mapping) else values
            raise ValueError(f"preprocessing: expected the keys {sorted(expected)}, got {got!r}")
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"preprocessing: {error}") from error

    def resized(self, image_size: tuple[int, int]) -> Preprocessing:
        """Return what makes images of another size by way of the present one."""
        if image_size == self.image_size:
            return self
        return replace(self, image_size=image_size, stored_size=self.image_size)

    def __call__(self, image: str | os.PathLike[str] | Image.Image) -> NDArray[np.uint8]:
        """Read one picture; Pillow's warnings are silenced meanwhile.

        A JPEG file is decoded near the model's size, which is faster. A Pillow image belongs to
        the caller, so it is read whole and not changed; the pixels of the two ways differ a little.

        Args:
            image: path of an image file (of any format, whatever its name), or a Pillow image.

        Returns:
            uint8 array ``(height, width, 3)``, C-contiguous, the caller's own.

        Raises:
            OSError: the file cannot be opened (``FileNotFoundError``, ``PermissionError``).
            ValueError: it can, and is no picture, or a broken or dangerously large one.
            TypeError: neither a path nor a Pillow image.
        """
        with quiet_pillow:
            try:
                return self.decode(image)
            except ValueError as error:
                named = os.fspath(image) if isinstance(image, str | os.PathLike) else repr(image)
                raise ValueError(
                    f"image: expected a readable picture, got {named}: {error}"
                ) from error

    def decode(self, image: str | os.PathLike[str] | Image.Image) -> NDArray[np.uint8]:
        """Do the work of :meth:`__call__`, but leave Pillow's warnings as they are.

        Raises as :meth:`__call__` does; the text of a ``ValueError`` is the bare reason.
        """
        from PIL import Image, UnidentifiedImageError

        if not isinstance(image, str | os.PathLike | Image.Image):
            raise TypeError(
                f"image: expected a path or a Pillow image, got {type(image).__name__}; "
                "arrays need no preprocessing"
            )
        try:
            if isinstance(image, Image.Image):
                return self._pixels(image, box=None)
            with Image.open(_source(image)) as opened:
                if opened.format == "EPS":  # its loader would run Ghostscript on an unknown program
                    raise ValueError("PostScript is a program, not a picture")
                # Of both axes the longer, as a turned picture swaps them.
                least = _DRAFT_MARGIN * max(self.first_size)
                drafted = opened.draft(None, (least, least))
                return self._pixels(opened, box=drafted[1] if drafted else None)
        except UnidentifiedImageError:
            raise ValueError("not an image in any format that Pillow reads") from None
        except (ValueError, MemoryError):
            raise
        except Exception as error:
            # On broken files Pillow raises nearly anything: SyntaxError, struct.error, EOFError...
            # What the operating system refused has a number.
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise ValueError(str(error) or type(error).__name__) from error

    def _pixels(
        self, image: Image.Image, box: tuple[float, float, float, float] | None
    ) -> NDArray[np.uint8]:
        """Load, convert, resize and turn an opened image; ``box`` is what `draft` returned."""
        _check_pixel_count(image)
        image.load()
        orientation = _orientation(image) if self.exif_orientation else 1
        height, width = self.first_size
        size = (width, height) if orientation >= 5 else (height, width)
        # A drafted image is rounded up to whole pixels; `box` is the exact extent within it.
        small = resize(np.asarray(_to_rgb(image)), size, box)
        if orientation in _UPRIGHT:
            small = np.ascontiguousarray(_UPRIGHT[orientation](small))
        # Pixels that are as they were decoded may not be written to.
        return np.require(resize(small, self.image_size), requirements="W")


def resize(
    pixels: NDArray[np.uint8],
    image_size: tuple[int, int],
    box: tuple[float, float, float, float] | None = None,
) -> NDArray[np.uint8]:
    """Return ``(height, width, 3)`` pixels in another size, or themselves if it is their own.

    The filter is Pillow's ``BILINEAR``, and several times faster. ``box`` is the part that is
    taken, (left, upper, right, lower); None: all.
    """
    height, width, channels = pixels.shape
    whole = (0.0, 0.0, float(width), float(height))
    left, upper, right, lower = box or whole
    if image_size == (height, width) and (left, upper, right, lower) == whole:
        return pixels
    out = np.empty((*image_size, channels), np.uint8)
    pixels = np.ascontiguousarray(pixels)
    _kernels.resize(pixels, (upper, left, lower - upper, right - left), out)
    return out


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
_UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, 3),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: np.rot90,
}


def _orientation(image: Image.Image) -> int:
    """EXIF orientation of a loaded image, 1 to 8; 1 where there is none, or it is broken."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
        return value if value in _UPRIGHT else 1
    except Exception:  # a broken EXIF block raises nearly anything, and must not cost the picture
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
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


def _source(path: str | os.PathLike[str]) -> str | os.PathLike[str] | io.BytesIO:
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


def _check_pixel_count(image: Image.Image) -> None:
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


def _checked_size(argument: str, size: object) -> tuple[int, int]:
    """``(height, width)`` as two positive ints; JSON gives a list."""
    if not isinstance(size, tuple | list) or len(size) != 2:
        raise ValueError(
            f"{argument}: expected (height, width), got {size!r}; for example (64, 64)"
        )
    height, width = (check_positive_int(argument, side) for side in size)
    return height, width
