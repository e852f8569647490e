"""From a picture to the pixels that a model takes.

The folder loader and ``predict("photo.jpg")`` both go through :class:`Preprocessing`, and a model
file carries its fields: what a model sees in use is what it saw in training.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ferrocnn import _kernels
from ferrocnn.checks import check_positive_int
from ferrocnn.pillow import (
    UPRIGHT,
    check_pixel_count,
    orientation_of,
    quiet_pillow,
    source,
    to_rgb,
)

if TYPE_CHECKING:  # Pillow is imported where a picture is read: it takes longer than all the rest
    from PIL import Image

# Counts the changes to this module, `pillow`, jpeg.rs and resize.rs, and the versions of zune-jpeg,
# that change the pixels of any picture, or what is refused: the cache on disk gives nothing back
# that an older count made.
DECODE_VERSION = 3

# A JPEG is decoded at no less than this many times the model's size. At 1 the pixels differ from
# those of a full decode by 0.8 of 255 on average, at 2 by 0.2; full-size photographs take a
# quarter longer for it, and still half of a full decode.
_DRAFT_MARGIN = 2


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
                return self.read(image)
            except ValueError as error:
                named = os.fspath(image) if isinstance(image, str | os.PathLike) else repr(image)
                raise ValueError(
                    f"image: expected a readable picture, got {named}: {error}"
                ) from error

    def read(self, image: str | os.PathLike[str] | Image.Image) -> NDArray[np.uint8]:
        """Do the work of :meth:`__call__`, but leave Pillow's warnings as they are.

        Raises as :meth:`__call__` does; the text of a ``ValueError`` is the bare reason.
        """
        if isinstance(image, str | os.PathLike):
            (pixels,) = self.decode_jpegs([image])
            if pixels is not None:
                return pixels
        return self.decode(image)

    def decode_jpegs(
        self, paths: Sequence[str | os.PathLike[str]]
    ) -> list[NDArray[np.uint8] | None]:
        """Return the pixels of the plain, sound JPEG files that need not be decoded small.

        None for every other file: :meth:`decode` tells what it gives. Python's lock is free
        meanwhile.
        """
        from PIL import Image

        out = np.empty((len(paths), *self.first_size, 3), np.uint8)
        side_limit = 2 * _DRAFT_MARGIN * max(self.first_size)  # decoded at half the size from here
        found = _kernels.decode_jpegs(
            [os.fsdecode(path) for path in paths], side_limit, Image.MAX_IMAGE_PIXELS, out
        )
        return [
            resize(pixels, self.image_size) if here else None
            for pixels, here in zip(out, found, strict=True)
        ]

    def decode(self, image: str | os.PathLike[str] | Image.Image) -> NDArray[np.uint8]:
        """Do the work of :meth:`read` with Pillow."""
        from PIL import Image, UnidentifiedImageError

        if not isinstance(image, str | os.PathLike | Image.Image):
            raise TypeError(
                f"image: expected a path or a Pillow image, got {type(image).__name__}; "
                "arrays need no preprocessing"
            )
        try:
            if isinstance(image, Image.Image):
                return self._pixels(image, box=None)
            with Image.open(source(image)) as opened:
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
        check_pixel_count(image)
        image.load()
        orientation = orientation_of(image) if self.exif_orientation else 1
        height, width = self.first_size
        size = (width, height) if orientation >= 5 else (height, width)
        # A drafted image is rounded up to whole pixels; `box` is the exact extent within it.
        small = resize(np.asarray(to_rgb(image)), size, box)
        if orientation in UPRIGHT:
            small = np.ascontiguousarray(UPRIGHT[orientation](small))
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


def _checked_size(argument: str, size: object) -> tuple[int, int]:
    """``(height, width)`` as two positive ints; JSON gives a list."""
    if not isinstance(size, tuple | list) or len(size) != 2:
        raise ValueError(
            f"{argument}: expected (height, width), got {size!r}; for example (64, 64)"
        )
    height, width = (check_positive_int(argument, side) for side in size)
    return height, width
