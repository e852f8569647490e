"""One adapter a framework, all with the same interface; each runs in a process of its own.

A module `benches.peers.NAME` has

    NAME                                   as people write it
    versions() -> dict[str, str]           of the libraries that it brings
    TRAINING, INFERENCE                    names of the variants (layout, compiler) to choose from
    trainer(network, parameters, variant) -> Trainer
    predictor(network, parameters, variant, batch_size) -> Predictor    without batch norm

and, where it takes part in the race from a folder of photographs to a trained model,

    decode_folder(folder) -> (X, y)        uint8 NHWC images of 64x64 and labels 0 and 1
    tune_decoding(folder)                  if there is something to choose; outside the clock
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benches.networks import Parameters

MODULES = ("ferrocnn", "tensorflow", "pytorch", "jax", "onnxruntime", "numpy_im2col")
# Those that can be left out; the others need no more than ferrocnn itself.
OPTIONAL = ("tensorflow", "pytorch", "jax", "onnxruntime")
BATCH_SIZE = 64  # where a whole training run is measured


class Trainer(ABC):
    """Trains by plain gradient descent on the mean binary cross-entropy."""

    @abstractmethod
    def place(self, X: NDArray[np.uint8], y: NDArray[np.float32]) -> Any:
        """A batch as the framework's own arrays, in the variant's layout; pixels stay uint8."""

    @abstractmethod
    def step(self, batch: Any) -> None:
        """Take one step on a placed batch; it may return before the step is done."""

    def finish(self) -> None:  # noqa: B027  most frameworks have nothing to wait for
        """Return when all steps are done."""

    def epochs(self, X: NDArray[np.uint8], y: NDArray[np.float32], count: int) -> None:
        """Train on shuffled batches of 64. A last one that is smaller is left out: compilers
        would work again for it.
        """
        generator = np.random.default_rng(0)
        for _ in range(count):
            order = generator.permutation(len(X))
            for start in range(0, len(X) - BATCH_SIZE + 1, BATCH_SIZE):
                rows = order[start : start + BATCH_SIZE]
                self.step(self.place(X[rows], y[rows]))
        self.finish()

    @abstractmethod
    def gradients(self, batch: Any) -> tuple[float, Parameters]:
        """Loss and gradients by ferrocnn's names, in its layout, at the present weights."""


class Predictor(ABC):
    """Gives probabilities."""

    @abstractmethod
    def place(self, X: NDArray[np.uint8]) -> Any:
        """A batch as the framework's own array, in the variant's layout; pixels stay uint8."""

    @abstractmethod
    def predict(self, batch: Any) -> NDArray[np.float32]:
        """Probabilities of a placed batch, n of them in any shape."""
