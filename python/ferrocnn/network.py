"""The layers of a model with its loss, forward and backward."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferrocnn import _kernels
from ferrocnn.checks import Images
from ferrocnn.gradients import Gradient
from ferrocnn.layers import Dropout, Layer, Plan
from ferrocnn.losses import Loss

Floats = NDArray[np.float32]

# Images that inference takes at a time, so that memory stays bounded.
_CHUNK = 64


class Network:
    """Layers in order, and a loss of the last one's output.

    Between a backward and the use of its gradients the layers hold the batch; in a `with` block
    they let go of it at the end.
    """

    def __init__(self, layers: Sequence[Layer], loss: Loss) -> None:
        self.layers = list(layers)
        self._loss = loss
        self._plan = Plan(self.layers)

    def __enter__(self) -> "Network":
        return self

    def __exit__(self, *_: object) -> None:
        for layer in self.layers:
            layer.forget()

    def infer(self, X: Images, flip_average: bool) -> Floats:
        """Return logits, (n, units), or their mean with those of the mirror images."""
        logits = np.empty((len(X), *self.layers[-1].output_shape), np.float32)
        for layer in self.layers:
            layer.prepare()
        for start in range(0, len(X), _CHUNK):
            chunk = X[start : start + _CHUNK]
            out = logits[start : start + len(chunk)]
            out[...] = self._plan.run(chunk, training=False)
            if flip_average:
                out += self._plan.run(np.ascontiguousarray(chunk[:, :, ::-1]), training=False)
                out *= np.float32(0.5)
        return logits

    def backward(
        self, X: Images, targets: Floats, weights: Floats | None, *, key: int
    ) -> tuple[float, int]:
        """Run a batch forward and backward; return the loss and the number of hits.

        targets: (n, units); weights: (n,); key: below 2^64, of what dropout draws.
        """
        for place, layer in enumerate(self.layers):
            if isinstance(layer, Dropout):
                layer.draw((key + (place << 32)) % 2**64)
        logits = self._plan.run(X, training=True)
        x: NDArray[Any] = X
        for layer in self.layers:
            x = layer.remember(x)
        loss = self._loss.loss(logits, targets, weights)
        hits = _kernels.hits(logits, targets)
        grad: Floats | None = np.empty_like(logits)
        assert grad is not None
        self._loss.gradient(logits, targets, grad, weights)
        for layer in reversed(self.layers):
            assert grad is not None
            grad = layer.backward(grad, need_dx=layer is not self.layers[0])
        return loss, hits

    def gradients(self) -> dict[str, Gradient]:
        """Return the gradients of the last backward by parameter name."""
        return {name: g for layer in self.layers for name, g in layer.gradients().items()}

    def count(self) -> None:
        """Take the last batch into the running statistics."""
        for layer in self.layers:
            layer.count()
