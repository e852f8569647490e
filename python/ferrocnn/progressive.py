"""Progressive image size: a run begins with small images, by models that share their weights."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ferrocnn.augmentation import Augment
from ferrocnn.checks import check_positive_float
from ferrocnn.layers import BatchNorm

if TYPE_CHECKING:
    from ferrocnn.model import CNN


def check_progressive(shares: object, epochs: int, augment: Augment | None) -> tuple[float, ...]:
    """Return the shares of the model's size, up to 1, one or more epochs for each."""
    if not isinstance(shares, Sequence) or isinstance(shares, str) or not shares:
        raise TypeError(f"progressive: expected a list of shares up to 1, got {shares!r}")
    checked = tuple(check_positive_float("progressive", share) for share in shares)
    if max(checked) > 1:
        raise ValueError(f"progressive: expected shares up to 1, got {shares}")
    if min(checked) < 1 and augment is None:
        raise ValueError(
            f"progressive: expected [1] without augment, which makes smaller images, got {shares}; "
            "Augment() changes nothing else"
        )
    if len(checked) > epochs:
        raise ValueError(
            f"progressive: expected no more sizes than epochs ({epochs}), as each has one or more, "
            f"got {len(checked)}; give fewer sizes or more epochs"
        )
    return checked


class Size(NamedTuple):
    """A share of the model's size, the model for it, and what its images are augmented with."""

    share: float
    model: "CNN"
    augment: Augment | None


class Sizes:
    """What each epoch takes: `model` itself, or one for smaller images that shares its weights.

    shares: as `check_progressive` returns them. augment: meant for images of the model's size.
    ValueError where the model cannot take a size.
    """

    def __init__(
        self, model: "CNN", shares: Sequence[float], epochs: int, augment: Augment | None
    ) -> None:
        self._sizes = [
            Size(share, _resized(model, share), None if augment is None else augment.scaled(share))
            for share in shares
        ]
        self._epochs = epochs
        self.largest = max(shares)

    def at(self, epoch: int) -> "Size":
        """Return the size of an epoch, counted from 0."""
        return self._sizes[epoch * len(self._sizes) // self._epochs]

    def check_single_images(self) -> None:
        """Refuse batches of one image where a batch norm has one pixel of it: nothing varies."""
        for size in self._sizes:
            for layer in size.model.layers:
                if isinstance(layer, BatchNorm) and layer.output_shape[:2] == (1, 1):
                    raise ValueError(
                        f"batch_size: expected at least 2 images, as {layer.name} sees one pixel "
                        "of each, got 1; use larger batches, or larger images"
                    )

    def work(self, first: int, end: int) -> int:
        """Return the pixels of an image over these epochs, by which their time grows."""
        return sum(math.prod(self.at(epoch).model.input_shape[:2]) for epoch in range(first, end))


def _resized(model: "CNN", share: float) -> "CNN":
    if share == 1:
        return model
    height, width, _ = model.input_shape
    try:
        return model.resized(round(height * share), round(width * share))
    except ValueError as error:
        raise ValueError(
            f"progressive: expected sizes that the model can take, got {share:g} ({error})"
        ) from error
