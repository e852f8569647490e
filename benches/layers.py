"""Time of each layer of the reference network, forward and backward, and of whole steps.

    .venv/bin/python benches/layers.py [BATCH]

Prints microseconds per image and core (medians), and images a second of whole steps.
"""

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

import ferrocnn
from ferrocnn import _kernels

REPEATS = 30


def median_seconds(body: Callable[[], object]) -> float:
    for _ in range(3):
        body()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        body()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def layer_seconds(model: ferrocnn.CNN, X: NDArray[np.uint8]) -> list[tuple[str, float, float]]:
    """(name, forward, backward with the update) of each layer, in seconds a batch."""
    results, x = [], X
    rule = ferrocnn.SGD(1e-9)
    for layer in model.layers:
        step = _kernels.Forward(layer.steps(len(x), training=True))
        forward = median_seconds(lambda step=step, x=x: step.run(x))
        output = layer.remember(x).copy()
        grad, need_dx = np.empty_like(output), layer is not model.layers[0]

        def backward(layer=layer, grad=grad, output=output, need_dx=need_dx) -> None:
            grad[...] = output  # backward overwrites it
            layer.backward(grad, need_dx=need_dx)
            rule.step(layer.parameters(), layer.gradients())

        results.append((layer.name, forward, median_seconds(backward)))
        x = output
    return results


def main() -> None:
    batch = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    threads = ferrocnn.get_num_threads()
    generator = np.random.default_rng(0)
    X = generator.integers(0, 256, (batch, 64, 64, 3), dtype=np.uint8)
    y = generator.integers(0, 2, batch).astype(np.float32)
    model = ferrocnn.CNN(seed=0)
    print(f"batch {batch}, {threads} threads, {_kernels.instruction_set()}")

    print(f"{'layer':<8}{'forward':>10}{'backward':>10}   us per image and core")
    scale = 1e6 * threads / batch
    for name, forward, backward in layer_seconds(model, X):
        print(f"{name:<8}{forward * scale:>10.1f}{backward * scale:>10.1f}")

    for optimizer in (ferrocnn.SGD(0.001), ferrocnn.Adam(0.001)):
        seconds = median_seconds(lambda rule=optimizer: model.train_step(X, y, rule))
        print(f"training step, {optimizer.name}: {batch / seconds:,.0f} images/s")
    print(f"inference: {batch / median_seconds(lambda: model.infer(X)):,.0f} images/s")


if __name__ == "__main__":
    main()
