"""`ferrocnn info`: what a model file holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ferrocnn.cli.common import check_model_path, echo_json

if TYPE_CHECKING:
    from ferrocnn.checkpoint import ModelFile
    from ferrocnn.model import CNN

TABLED = ("input_shape", "conv_filters", "fc_layers")  # what the table of layers shows


@click.command(name="info", short_help="Show what a model file holds.")
@click.argument("model_path", metavar="MODEL", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def info_command(model_path: Path, as_json: bool) -> None:
    """Show what MODEL is: layers, size, classes, preprocessing and how it was trained.

    \b
    Example:
      ferrocnn info model.npz
    """
    from ferrocnn.checkpoint import FORMAT, read_model_file

    check_model_path(model_path)
    file = read_model_file(model_path)
    model = file.build()
    if as_json:
        echo_json(_describe(model_path, file, model))
        return
    click.echo(model.summary())
    _echo_section(
        "file",
        {
            "path": model_path,
            "size": f"{model_path.stat().st_size:,} bytes",
            "format": f"{FORMAT} {file.format_version}, written by ferrocnn {file.version}",
            "classes": f"{model.classes}: {', '.join(model.class_names or ('not named',))}",
        },
    )
    settings = model.config() | {"flip_average": model.flip_average}
    _echo_section("architecture", {name: settings[name] for name in settings if name not in TABLED})
    if model.preprocessing is not None:
        fields = model.preprocessing.to_dict()
        for name in ("image_size", "stored_size"):
            size = getattr(model.preprocessing, name)
            if size is not None:
                fields[name] = f"{size[0]} x {size[1]}"
        _echo_section("preprocessing", fields)
    if model.training:
        _echo_section("training", model.training)


def _echo_section(title: str, values: Mapping[str, object]) -> None:
    click.echo(f"\n{title}")
    width = max(map(len, values)) + 2
    for name, value in values.items():
        click.echo(f"  {name:<{width}}{_shown(value)}")


def _shown(value: object) -> str:
    """A value as a person reads it; of a record only the settings that are on."""
    if value is None or isinstance(value, bool):
        return {None: "none", False: "no", True: "yes"}[value]
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(
            _shown(item) if key == "name" else f"{key} {_shown(item)}"
            for key, item in value.items()
            if item
        )
    if isinstance(value, list | tuple):
        nested = any(isinstance(item, Mapping | list) for item in value)
        return ("; " if nested else ", ").join(map(_shown, value))
    return str(value)


def _describe(path: Path, file: "ModelFile", model: "CNN") -> dict[str, object]:
    """Everything that the command knows, as JSON can hold it."""
    from ferrocnn.checkpoint import FORMAT

    return {
        "path": str(path),
        "file_size": path.stat().st_size,
        "format": FORMAT,
        "format_version": file.format_version,
        "ferrocnn_version": file.version,
        "architecture": model.config(),
        "flip_average": model.flip_average,
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "output_shape": layer.output_shape,
                "parameters": sum(values.size for values in layer.parameters().values()),
                "multiply_adds": layer.multiply_adds,
            }
            for layer in model.layers
        ],
        "parameters": sum(values.size for values in model.parameters().values()),
        "multiply_adds": sum(layer.multiply_adds for layer in model.layers),
        "class_names": model.class_names,
        "preprocessing": model.preprocessing and model.preprocessing.to_dict(),
        "training": model.training,
    }
