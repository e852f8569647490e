"""Augmentation: random changes of the training images, new ones in each epoch.

What happens to an image depends on the key and on its index in the batch alone, not on the other
images or on the number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferrocnn import _kernels
from ferrocnn.checks import check_float, check_int, check_positive_int, check_size
from ferrocnn.files import replacing

__all__ = ["Augment"]

_LARGEST_KEY = 2**64 - 1
_ROWS, _COLUMNS = 4, 4  # of augmented examples in a picture
_CELL = 128  # pixels that an example in a picture has at least, on its longer side
_GAP = 4  # pixels between examples


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Which random changes images go through.

    Crop, flip, shift, rotation, brightness, contrast, saturation and cutout, in this order; mixup
    comes last. Borders reflect. Without `crop`, images of another size than the output are resized
    as a whole; resizing is bilinear, and averages where it shrinks.

    Attributes:
        flip: whether every second image is mirrored, left and right exchanged.
        shift: the most pixels of the output that an image moves, up or down and left or right.
        crop: the smallest share of the area that a random crop keeps, above 0 and up to 1; the
            crop is resized to the output. Its aspect ratio is 3/4 to 4/3 times the image's
            (Szegedy et al. 2015, "Going deeper with convolutions"). 1 keeps the whole image.
        rotate: the most degrees that an image turns about its centre, either way; up to 180.
        brightness: pixels are multiplied with a factor from ``1 - brightness`` to
            ``1 + brightness``; up to 1.
        contrast: so is their difference from the mean grey of the image; up to 1.
        saturation: so is the difference of each pixel from its own grey; up to 1, and 0 for
            images that are grey.
        cutout: side, in pixels, of a square about a random pixel that is filled with mid-grey,
            128; parts of it may lie outside (DeVries & Taylor 2017, "Improved regularization of
            convolutional neural networks with cutout").
        mixup: alpha of the Beta(alpha, alpha) distribution from which the share of an image is
            drawn in its mean with another of the batch; 0 mixes none (Zhang et al. 2018, "mixup:
            beyond empirical risk minimization"). :meth:`mix` does it.

    Raises:
        ValueError, TypeError: a field cannot be used.
    """

    flip: bool = False
    shift: int = 0
    crop: float = 1.0
    rotate: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    cutout: int = 0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.flip, bool | np.bool_):
            raise TypeError(f"flip: expected True or False, got {self.flip!r}")
        crop = _check_range("crop", self.crop, 1)
        if crop == 0:
            raise ValueError("crop: expected above 0 and at most 1, got 0")
        checked = {
            "flip": bool(self.flip),
            "shift": check_size("shift", self.shift, 0),
            "crop": crop,
            "rotate": _check_range("rotate", self.rotate, 180),
            "brightness": _check_range("brightness", self.brightness, 1),
            "contrast": _check_range("contrast", self.contrast, 1),
            "saturation": _check_range("saturation", self.saturation, 1),
            "cutout": check_size("cutout", self.cutout, 0),
            "mixup": _check_range("mixup", self.mixup, 1000),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def to_dict(self) -> dict[str, bool | int | float]:
        """Return the fields as JSON has them; :meth:`from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Augment:
        """Build from what :meth:`to_dict` gave; fields that are not there have their defaults.

        Raises:
            ValueError, TypeError: a name is unknown, or a value cannot be used.
        """
        known = [field.name for field in fields(cls)]
        if not isinstance(values, Mapping):
            raise TypeError(f"augment: expected fields and their values, got {values!r}")
        for name in values:
            if name not in known:
                raise ValueError(f"augment: expected some of {', '.join(known)}, got {name!r}")
        return cls(**values)

    def scaled(self, ratio: float) -> Augment:
        """Return the same changes for images `ratio` times as large: pixels grow with them."""
        shift, cutout = round(self.shift * ratio), round(self.cutout * ratio)
        return replace(self, shift=shift, cutout=cutout)

    def apply(
        self, images: NDArray[np.uint8], key: int, out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """Change each image of a batch; all but mixup.

        Args:
            images: ``(n, height, width, channels)`` uint8, C-contiguous. They are left alone.
            key: 0 to 2**64 - 1; another one gives other changes.
            out: where the result goes, ``(n, h, w, channels)`` uint8, C-contiguous: its size is
                the size of the result. None makes one of the images' size.

        Returns:
            `out`.

        Raises:
            ValueError, TypeError: an argument cannot be used, or the images have a number of
                channels for which there is no brightness and contrast (1 or 3), or no saturation
                (3). `out` is unchanged.
        """
        _check_batch("images", images)
        if out is None:
            out = np.empty_like(images, order="C")
        _check_batch("out", out)
        _kernels.augment(
            images,
            _check_key(key),
            self.flip,
            self.shift,
            self.crop,
            self.rotate,
            self.brightness,
            self.contrast,
            self.saturation,
            self.cutout,
            out,
        )
        return out

    def mix(
        self, images: NDArray[np.uint8], targets: NDArray[np.float32], key: int
    ) -> NDArray[np.float32]:
        """Mixup: replace each image by its mean with another of the batch, in place.

        Image i becomes ``share[i] * images[i] + (1 - share[i]) * images[partner[i]]``, rounded,
        and its target the same mean of theirs. `partner` is a random order of the batch, and each
        share is drawn from Beta(mixup, mixup). With `mixup` 0 nothing changes.

        Args:
            images: ``(n, height, width, channels)`` uint8, C-contiguous.
            targets: ``(n, k)`` float32, the share of each class (one column: that of class 1).
            key: 0 to 2**64 - 1, as for :meth:`apply`.

        Returns:
            The targets of the mixed images, ``(n, k)`` float32; `targets` is left alone.

        Raises:
            ValueError, TypeError: an argument cannot be used. The images are unchanged.
        """
        _check_batch("images", images)
        key = _check_key(key)
        if not isinstance(targets, np.ndarray) or targets.dtype != np.float32:
            raise TypeError(f"targets: expected a float32 array, got {_describe(targets)}")
        if targets.ndim != 2 or len(targets) != len(images):
            raise ValueError(f"targets: expected ({len(images)}, classes), got {targets.shape}")
        if self.mixup == 0:
            return targets
        rng = np.random.Generator(np.random.PCG64(key))
        partners = rng.permutation(len(images)).astype(np.int64)
        shares = rng.beta(self.mixup, self.mixup, len(images)).astype(np.float32)
        _kernels.mix(images, partners, shares)
        own = shares[:, None]
        return own * targets + (1 - own) * targets[partners]

    def picture(
        self,
        images: NDArray[np.uint8],
        path: str | os.PathLike[str],
        key: int = 0,
        output_size: tuple[int, int] | None = None,
    ) -> Path:
        """Write a PNG of sixteen examples: four images, each followed by four changes of it.

        The images are taken evenly from the batch. With mixup, the sixteen are mixed.

        Args:
            images: ``(n, height, width, channels)`` uint8, C-contiguous; n >= 1, channels 1 or 3.
            path: the file to write; one that is there is replaced.
            key: as for :meth:`apply`.
            output_size: ``(height, width)`` of the examples; None takes that of the images. Small
                ones are drawn several times larger.

        Raises:
            ValueError, TypeError: an argument cannot be used; nothing is written.
            OSError: the file cannot be written.
        """
        from PIL import Image

        _check_batch("images", images)
        count, height, width, channels = images.shape
        if count == 0 or channels not in (1, 3):
            raise ValueError(
                f"images: expected at least one image, of 1 or 3 channels, got {images.shape}"
            )
        if output_size is not None:
            height, width = _check_output_size(output_size)
        rows = images[np.linspace(0, count - 1, _ROWS).astype(np.int64)]
        originals = np.empty((_ROWS, height, width, channels), np.uint8)
        examples = np.empty((_ROWS * _COLUMNS, height, width, channels), np.uint8)
        Augment().apply(rows, key, originals)
        self.apply(np.repeat(rows, _COLUMNS, axis=0), key, examples)
        self.mix(examples, np.zeros((len(examples), 1), np.float32), key)
        cells = np.concatenate(
            [originals[:, None], examples.reshape(_ROWS, _COLUMNS, *originals.shape[1:])], axis=1
        )
        times = max(1, _CELL // max(height, width))
        cells = cells.repeat(times, axis=2).repeat(times, axis=3)
        gaps = [(0, 0), (0, 0), (0, _GAP), (0, _GAP), (0, 0)]
        sheet = np.pad(cells, gaps, constant_values=255).swapaxes(1, 2)
        sheet = sheet.reshape(sheet.shape[0] * sheet.shape[1], -1, channels)[:-_GAP, :-_GAP]
        with replacing(path) as file:
            Image.fromarray(sheet if channels == 3 else sheet[..., 0]).save(file, "PNG")
        return Path(path)


def _check_range(name: str, value: Any, most: float) -> float:
    number = check_float(name, value)
    if not 0 <= number <= most:
        raise ValueError(f"{name}: expected 0 to {most}, got {number:g}")
    return number


def _check_key(key: object) -> int:
    number = check_int("key", key, 0)
    if number > _LARGEST_KEY:
        raise ValueError(f"key: expected at most {_LARGEST_KEY}, got {number}")
    return number


def _check_batch(name: str, images: object) -> None:
    """That `images` are uint8 (n, height, width, channels). The kernels check the rest."""
    if isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim == 4:
        return
    expected = f"{name}: expected a uint8 array (n, height, width, channels)"
    if isinstance(images, np.ndarray) and images.ndim == 4 and images.dtype.kind == "f":
        raise TypeError(
            f"{expected}, got {images.dtype}; augmentation works on bytes, 0 to 255: "
            "convert the images, or do without it"
        )
    raise TypeError(f"{expected}, got {_describe(images)}")


def _describe(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.shape} {value.dtype}"
    return type(value).__name__


def _check_output_size(size: object) -> tuple[int, int]:
    if not isinstance(size, tuple | list) or len(size) != 2:
        raise TypeError(f"output_size: expected (height, width), got {size!r}")
    height, width = (check_positive_int("output_size", side) for side in size)
    return height, width
