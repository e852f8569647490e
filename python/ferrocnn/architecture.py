"""From the arguments of `CNN` to its layers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np

from ferrocnn._kernels import ACTIVATIONS
from ferrocnn.checks import check_bool, check_decay, check_positive_int
from ferrocnn.layers import (
    Activation,
    AveragePool,
    BatchNorm,
    Conv2d,
    ConvPool,
    Dense,
    Dropout,
    Layer,
    MaxPool,
)

_POOLS = ("max", "avg", None)


@dataclass(frozen=True)
class Conv:
    """One convolutional block: convolution -> pool -> [batch norm] -> activation.

    Attributes:
        filters: output channels.
        size: height and width of the kernel.
        pool: "max" or "avg", 2x2 windows side by side; None for no pool.
        stride: of the convolution. A max pool behind stride 1 costs nothing extra.
        batch_norm: whether there is one; None leaves it to the model's `batch_norm`.
    """

    filters: int
    size: int = 3
    pool: str | None = "max"
    stride: int = 1
    batch_norm: bool | None = None

    def __post_init__(self) -> None:
        for name in ("filters", "size", "stride"):
            number = check_positive_int(f"conv_filters: {name}", getattr(self, name))
            object.__setattr__(self, name, number)
        if self.pool not in _POOLS:
            raise ValueError(f'conv_filters: expected pool "max", "avg" or None, got {self.pool!r}')
        if self.batch_norm is not None:
            flag = check_bool("conv_filters: batch_norm", self.batch_norm)
            object.__setattr__(self, "batch_norm", flag)


Block = tuple[int, int] | Conv


@dataclass(frozen=True)
class Architecture:
    """The checked arguments of `CNN`."""

    input_shape: tuple[int, int, int]
    conv_filters: tuple[Block, ...]
    fc_layers: tuple[int, ...]
    padding: str
    activation: str
    batch_norm: bool
    dropout: float
    spatial_dropout: float
    global_average_pool: bool

    def blocks(self) -> list[Conv]:
        """Return every block as a record that leaves nothing open."""
        records = [
            block if isinstance(block, Conv) else Conv(*block) for block in self.conv_filters
        ]
        return [
            Conv(
                r.filters,
                r.size,
                r.pool,
                r.stride,
                self.batch_norm if r.batch_norm is None else r.batch_norm,
            )
            for r in records
        ]

    def config(self) -> dict[str, Any]:
        """Return the arguments as JSON can hold them; `check_architecture` takes them back."""
        arguments = {field.name: getattr(self, field.name) for field in fields(self)}
        return arguments | {
            "input_shape": list(self.input_shape),
            "fc_layers": list(self.fc_layers),
            "conv_filters": [
                asdict(block) if isinstance(block, Conv) else list(block)
                for block in self.conv_filters
            ],
        }

    def extent(self) -> tuple[int, int]:
        """Return the number of arrays of a model's state, and that of their elements."""
        height, width, channels = self.input_shape
        arrays, elements = 0, 0
        for block in self.blocks():
            lost = block.size - 1 if self.padding == "valid" else 0
            height, width = (
                max(-(-(side - lost) // block.stride), 0) // (2 if block.pool else 1)
                for side in (height, width)
            )
            arrays += 5 if block.batch_norm else 2
            elements += block.size**2 * channels * block.filters
            channels = block.filters
        features = channels if self.global_average_pool else height * width * channels
        for units in self.fc_layers:
            arrays += 2
            elements += features * units
            features = units
        return arrays, elements


def check_architecture(
    input_shape: Sequence[int],
    conv_filters: Sequence[Any],
    fc_layers: Sequence[int],
    padding: str,
    activation: str = "relu",
    batch_norm: bool = False,
    dropout: float = 0.0,
    spatial_dropout: float = 0.0,
    global_average_pool: bool = False,
) -> Architecture:
    """Check all arguments but the geometry, which each layer checks as it is built."""
    shape = _integers("input_shape", input_shape)
    if len(shape) != 3:
        raise ValueError(f"input_shape: expected (height, width, channels), got {input_shape}")
    blocks = tuple(map(_block, _sequence("conv_filters", conv_filters)))
    if not blocks:
        raise ValueError(
            f"conv_filters: expected at least one (filters, kernel size), got {conv_filters}"
        )
    units = _integers("fc_layers", fc_layers)
    if not units:
        raise ValueError(
            "fc_layers: expected the units of each dense layer, 1 at the end for two classes or "
            f"their number for several, got {fc_layers}"
        )
    if padding not in ("same", "valid"):
        raise ValueError(f'padding: expected "same" or "valid", got {padding!r}')
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"activation: expected one of {', '.join(ACTIVATIONS)}, got {activation!r}"
        )
    height, width, channels = shape
    return Architecture(
        (height, width, channels),
        blocks,
        units,
        padding,
        activation,
        check_bool("batch_norm", batch_norm),
        check_decay("dropout", dropout),
        check_decay("spatial_dropout", spatial_dropout),
        check_bool("global_average_pool", global_average_pool),
    )


def build_layers(architecture: Architecture, generator: np.random.Generator) -> list[Layer]:
    """Return the layers, their weights drawn in order from `generator`."""
    layers: list[Layer] = []
    shape = architecture.input_shape
    for number, block in enumerate(architecture.blocks(), start=1):
        try:
            layers += _block_layers(architecture, number, block, shape, generator)
        except ValueError as error:
            pool = f" and a 2x2 {block.pool} pool" if block.pool else ""
            raise ValueError(
                f"conv_filters: expected blocks that fit input_shape {architecture.input_shape}, "
                f"got {shape[0]}x{shape[1]} before block {number} with a {block.size}x{block.size} "
                f"kernel{pool} ({error}); use fewer blocks or a larger input_shape"
            ) from None
        height, width, channels = layers[-1].output_shape
        shape = (height, width, channels)
    if architecture.global_average_pool:
        layers.append(AveragePool("pool", shape, None))
    layers += _dense_layers(architecture, layers[-1].output_shape, generator)
    for before, layer in pairwise(layers):
        layer.follow(before)
    return layers


def _block_layers(
    architecture: Architecture,
    number: int,
    block: Conv,
    shape: tuple[int, int, int],
    generator: np.random.Generator,
) -> list[Layer]:
    activation, padding = architecture.activation, architecture.padding
    filters = (block.filters, block.size)
    name = f"conv{number}"
    layers: list[Layer] = []
    fused = block.pool == "max" and block.stride == 1
    relu = fused and not block.batch_norm and activation == "relu"

    def output() -> tuple[int, int, int]:
        height, width, channels = layers[-1].output_shape
        return height, width, channels

    if fused:
        pooled = ConvPool(
            name, shape, filters, padding, generator, relu=relu, biased=not block.batch_norm
        )
        layers.append(pooled)
    else:
        layers.append(
            Conv2d(
                name, shape, filters, block.stride, padding, generator, biased=not block.batch_norm
            )
        )
        if block.pool == "max":
            layers.append(MaxPool(f"pool{number}", output()))
        elif block.pool == "avg":
            layers.append(AveragePool(f"pool{number}", output()))
    if block.batch_norm:
        norm = BatchNorm(f"norm{number}", output(), activation)
        if fused:
            pooled.fold(norm)
        layers.append(norm)
    elif not relu and activation != "identity":
        layers.append(Activation(f"activation{number}", output(), activation))
    if architecture.spatial_dropout:
        layers.append(
            Dropout(f"dropout{number}", output(), architecture.spatial_dropout, spatial=True)
        )
    return layers


def _dense_layers(
    architecture: Architecture, shape: tuple[int, ...], generator: np.random.Generator
) -> list[Layer]:
    layers: list[Layer] = []
    activation = architecture.activation
    for number, units in enumerate(architecture.fc_layers, start=1):
        name = f"dense{number}"
        last = number == len(architecture.fc_layers)
        if architecture.dropout:
            layers.append(Dropout(f"{name}.dropout", shape, architecture.dropout, spatial=False))
        relu = not last and activation == "relu"
        layers.append(Dense(name, shape, units, generator, relu=relu))
        shape = (units,)
        if not last and activation not in ("relu", "identity"):
            layers.append(Activation(f"{name}.activation", shape, activation))
    return layers


def _block(value: object) -> Block:
    if isinstance(value, Conv):
        return value
    if isinstance(value, Mapping):
        known = [field.name for field in fields(Conv)]
        unknown = sorted(set(value) - set(known))
        if unknown or "filters" not in value:
            raise ValueError(
                f"conv_filters: expected filters and some of {', '.join(known)}, got {dict(value)}"
            )
        return Conv(**value)
    pair = _integers("conv_filters", value)
    if len(pair) != 2:
        raise ValueError(
            f"conv_filters: expected (filters, kernel size) or a Conv for each block, got {value}"
        )
    return pair[0], pair[1]


def _sequence(name: str, value: object) -> Sequence[object]:
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise TypeError(f"{name}: expected a sequence, got {value!r}")
    return value


def _integers(name: str, value: object) -> tuple[int, ...]:
    return tuple(check_positive_int(name, item) for item in _sequence(name, value))
