"""From the arguments of `CNN` to its layers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ferrocnn.checks import check_positive_int
from ferrocnn.layers import ConvBlock, Dense, Layer


@dataclass(frozen=True)
class Architecture:
    """The checked arguments of `CNN`."""

    input_shape: tuple[int, int, int]
    conv_filters: tuple[tuple[int, int], ...]
    fc_layers: tuple[int, ...]
    padding: str


def check_architecture(
    input_shape: Sequence[int],
    conv_filters: Sequence[tuple[int, int]],
    fc_layers: Sequence[int],
    padding: str,
) -> Architecture:
    """Check all arguments but the geometry, which each block checks as it is built."""
    shape = _integers("input_shape", input_shape)
    if len(shape) != 3:
        raise ValueError(f"input_shape: expected (height, width, channels), got {input_shape}")
    blocks = [_integers("conv_filters", block) for block in _sequence("conv_filters", conv_filters)]
    if not blocks or any(len(block) != 2 for block in blocks):
        raise ValueError(
            f"conv_filters: expected at least one (filters, kernel size), got {conv_filters}"
        )
    units = _integers("fc_layers", fc_layers)
    if not units or units[-1] != 1:
        raise ValueError(f"fc_layers: expected units with 1 at the end, got {fc_layers}")
    if padding not in ("same", "valid"):
        raise ValueError(f'padding: expected "same" or "valid", got {padding!r}')
    height, width, channels = shape
    pairs = tuple((filters, size) for filters, size in blocks)
    return Architecture((height, width, channels), pairs, units, padding)


def build_layers(architecture: Architecture, generator: np.random.Generator) -> list[Layer]:
    """Return the layers, their weights drawn in order from `generator`."""
    layers: list[Layer] = []
    shape: tuple[int, ...] = architecture.input_shape
    for number, (filters, size) in enumerate(architecture.conv_filters, start=1):
        height, width, channels = shape
        image = (height, width, channels)
        try:
            block = ConvBlock(
                f"conv{number}", image, filters, size, architecture.padding, generator
            )
        except ValueError as error:
            raise ValueError(
                f"conv_filters: expected blocks that fit input_shape {architecture.input_shape}, "
                f"got {height}x{width} before block {number} with a {size}x{size} kernel and a "
                f"2x2 pool ({error}); use fewer blocks or a larger input_shape"
            ) from None
        layers.append(block)
        shape = block.output_shape
    for number, units in enumerate(architecture.fc_layers, start=1):
        last = number == len(architecture.fc_layers)
        layers.append(Dense(f"dense{number}", shape, units, generator, relu=not last))
        shape = (units,)
    return layers


def _sequence(name: str, value: object) -> Sequence[object]:
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise TypeError(f"{name}: expected a sequence, got {value!r}")
    return value


def _integers(name: str, value: object) -> tuple[int, ...]:
    return tuple(check_positive_int(name, item) for item in _sequence(name, value))
