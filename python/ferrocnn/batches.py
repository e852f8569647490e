"""The batches of a training run: each is a function of the seed and its epoch and number."""

import math
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from ferrocnn import _kernels
from ferrocnn.augmentation import Augment
from ferrocnn.checks import Images
from ferrocnn.losses import Loss

_Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Data:
    """Images as `check_images` returns them, labels (n,), and what each image weighs, (n,)."""

    X: Images
    y: NDArray[np.int64]
    weights: _Floats | None = None

    def __len__(self) -> int:
        return len(self.X)


class Batch(NamedTuple):
    """What a step takes: images, targets (n, units), weights (n,), and a key for all it draws.

    The images are good until the next batch is made.
    """

    X: Images
    targets: _Floats
    weights: _Floats | None
    key: int


class Batches:
    """Makes batches of `size` images; the last of an epoch may be smaller. `len`: an epoch's."""

    def __init__(
        self,
        data: Data,
        loss: Loss,
        *,
        size: int,
        seed: int,
        shuffle: bool,
    ) -> None:
        self.size = min(size, len(data))
        self._data, self._loss = data, loss
        self._seed, self._shuffle = seed, shuffle
        self._epoch, self._order = -1, np.arange(len(data))
        self._keys: list[int] = []
        self._gathered = np.empty_like(data.X, shape=(self.size, *data.X.shape[1:]))
        self._augmented = np.empty((0, 0, 0, 0), np.uint8)

    def __len__(self) -> int:
        return math.ceil(len(self._data) / self.size)

    def make(
        self, epoch: int, number: int, shape: tuple[int, int, int], augment: Augment | None
    ) -> Batch:
        """Return a batch of images of this shape. Epochs, and batches in them, count from 0."""
        data = self._data
        if self._epoch != epoch:
            self._draw(epoch)
        rows, key = self._order[number * self.size : (number + 1) * self.size], self._keys[number]
        X = self._gathered[: len(rows)]
        _kernels.gather(data.X.view(np.uint8), rows, X.view(np.uint8))
        targets = self._loss.targets(data.y[rows])
        if augment is not None:
            if self._augmented.shape[1:] != shape:
                self._augmented = np.empty((self.size, *shape), np.uint8)
            stored = cast(NDArray[np.uint8], X)
            X = changed = augment.apply(stored, key, self._augmented[: len(rows)])
            targets = augment.mix(changed, targets, key)
        return Batch(X, targets, None if data.weights is None else data.weights[rows], key)

    def _draw(self, epoch: int) -> None:
        """Draw the order and the keys of an epoch at once: amid training each key takes 60 us."""
        if self._shuffle:
            generator = np.random.Generator(np.random.PCG64([self._seed, epoch]))
            self._order = generator.permutation(len(self._data))
        steps = range(epoch * len(self), (epoch + 1) * len(self))
        sequences = (np.random.SeedSequence([self._seed, step]) for step in steps)
        self._keys = [int(each.generate_state(1, np.uint64)[0]) for each in sequences]
        self._epoch = epoch
