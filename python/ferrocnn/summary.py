"""The table that `CNN.summary` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ferrocnn.model import CNN

_HEADER = ("layer", "what it does", "output", "parameters", "multiply-adds")


def table(model: CNN) -> str:
    """Return layers, output shapes, parameters and multiply-adds an image as aligned text."""
    rows = [("input", "", _shape(model.input_shape), "", "")]
    rows += [
        (
            layer.name,
            layer.kind,
            _shape(layer.output_shape),
            f"{sum(p.size for p in layer.parameters().values()):,}",
            f"{layer.multiply_adds:,}",
        )
        for layer in model.layers
    ]
    parameters = sum(p.size for p in model.parameters().values())
    multiply_adds = sum(layer.multiply_adds for layer in model.layers)
    total = ("total", "", "", f"{parameters:,}", f"{multiply_adds:,}")
    widths = [max(map(len, column)) for column in zip(_HEADER, *rows, total, strict=True)]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))

    def line(cells: tuple[str, ...]) -> str:
        left = [f"{c:<{w}}" for c, w in zip(cells[:3], widths[:3], strict=True)]
        right = [f"{c:>{w}}" for c, w in zip(cells[3:], widths[3:], strict=True)]
        return "  ".join(left + right).rstrip()

    return "\n".join([line(_HEADER), rule, *map(line, rows), rule, line(total)])


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
