"""Pictures as people pass them: paths, PIL images, or lists of them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from PIL.Image import Image

    Picture = str | os.PathLike[str] | Image


class Prediction(NamedTuple):
    """The class of a picture, and the probability that the model gives it."""

    name: str
    probability: float


def as_pictures(X: Any) -> list[Any] | None:
    """Return the paths or PIL images in X, or None where X is something else."""
    candidates = list(X) if isinstance(X, (list, tuple)) else [X]
    return candidates if candidates and all(map(_is_picture, candidates)) else None


def _is_picture(value: object) -> bool:
    pillow = sys.modules.get("PIL.Image")  # without Pillow loaded there are no PIL images
    return isinstance(value, (str, os.PathLike)) or (
        pillow is not None and isinstance(value, pillow.Image)
    )
