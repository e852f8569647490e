"""What is measured: the three networks, their weights, and the arrays that all peers are given."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

INPUT_SHAPE = (64, 64, 3)
# So small that timed steps leave the share of dead ReLUs, and so the work, as it was.
LEARNING_RATE = 1e-4
# Of batch norm: what is added to the variance, and the newest batch's share of the running moments.
EPSILON = 1e-5
NEWEST = 0.1


@dataclass(frozen=True)
class Network:
    """Blocks of convolution 3x3 "same" -> max pool 2x2 -> [batch norm] -> ReLU, then dense layers.

    The last has one logit. A convolution before a batch norm has no bias. Training normalises with
    the variance over n; the running variance, over n - 1, is only kept up to date.
    """

    name: str
    filters: tuple[int, ...]
    dense: tuple[int, ...]
    batch_norm: bool = False

    @property
    def conv_filters(self) -> tuple[tuple[int, int], ...]:
        return tuple((count, 3) for count in self.filters)

    @property
    def feature_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) behind the last block."""
        height, width, _ = INPUT_SHAPE
        return height >> len(self.filters), width >> len(self.filters), self.filters[-1]

    def layer_multiply_adds(self) -> dict[str, int]:
        """Multiply-adds of each layer's dense forward pass, for one image."""
        height, width, channels = INPUT_SHAPE
        counts = {}
        for k, filters in enumerate(self.filters, start=1):
            counts[f"conv{k}"] = height * width * 9 * channels * filters
            height, width, channels = height // 2, width // 2, filters
        features = height * width * channels
        for k, units in enumerate(self.dense, start=1):
            counts[f"dense{k}"] = features * units
            features = units
        return counts

    @property
    def training_multiply_adds(self) -> int:
        """Forward, weight gradient and input gradient; the first layer needs none of the last."""
        counts = self.layer_multiply_adds()
        return 3 * sum(counts.values()) - counts["conv1"]

    @property
    def inference_multiply_adds(self) -> int:
        return sum(self.layer_multiply_adds().values())


REFERENCE = Network("reference", (16, 32), (128, 64, 1))
DEEP = Network("deep", (16, 32, 64, 128), (128, 1), batch_norm=True)
WIDE = Network("wide", (32, 64, 128, 256), (256, 1), batch_norm=True)
NETWORKS = (REFERENCE, DEEP, WIDE)

Parameters = dict[str, NDArray[np.float32]]


def parameters(network: Network) -> Parameters:
    """He-normal weights and small biases by ferrocnn's names, in its layout, always the same.

    Convolution weights are (3, 3, in, out), dense weights (in, out) on NHWC features; the gammas of
    batch norms lie about 1, their betas about 0.
    """
    generator = np.random.default_rng(0)
    values: Parameters = {}

    def add(name: str, shape: tuple[int, ...], mean: float, deviation: float) -> None:
        values[name] = generator.normal(mean, deviation, shape).astype(np.float32)

    def add_weight(name: str, shape: tuple[int, ...]) -> None:
        add(f"{name}.weight", shape, 0, np.sqrt(2 / np.prod(shape[:-1])))

    channels = INPUT_SHAPE[2]
    for k, filters in enumerate(network.filters, start=1):
        add_weight(f"conv{k}", (3, 3, channels, filters))
        if network.batch_norm:
            add(f"norm{k}.gamma", (filters,), 1, 0.1)
            add(f"norm{k}.beta", (filters,), 0, 0.1)
        else:
            add(f"conv{k}.bias", (filters,), 0, 0.1)
        channels = filters
    features = int(np.prod(network.feature_shape))
    for k, units in enumerate(network.dense, start=1):
        add_weight(f"dense{k}", (features, units))
        add(f"dense{k}.bias", (units,), 0, 0.1)
        features = units
    return values


def running_moments(network: Network) -> Parameters:
    """The running means and variances of a new network's batch norms, by ferrocnn's names."""
    values: Parameters = {}
    if network.batch_norm:
        for k, filters in enumerate(network.filters, start=1):
            values[f"norm{k}.running_mean"] = np.zeros(filters, np.float32)
            values[f"norm{k}.running_var"] = np.ones(filters, np.float32)
    return values


def images(count: int, side: int = INPUT_SHAPE[0]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """`count` images of noise, uint8 NHWC, and labels 0 and 1 as float32; always the same.

    Photographs of cats and dogs give the same times within five per cent.
    """
    generator = np.random.default_rng(1)
    shape = (count, side, side, INPUT_SHAPE[2])
    X = generator.integers(0, 256, shape, dtype=np.uint8)
    y = generator.integers(0, 2, count).astype(np.float32)
    return X, y
