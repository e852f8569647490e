"""How the tests start the command line, and the pictures that they give it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result
from PIL import Image

from ferrocnn.cli import main

CLASSES = ("Cat", "Dog")
ZOO = ("Ant", "Bee", "Cow", "Dog")


def write_images(folder: Path, count: int, seed: int, classes: tuple[str, ...] = CLASSES) -> Path:
    """`count` images a class: noise, brighter in a band that is lower for each later class."""
    rng, height = np.random.default_rng(seed), 20 // len(classes)
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = rng.integers(0, 120, (20, 20, 3), dtype=np.uint8)
            band = slice(label * height, (label + 1) * height)
            pixels[band] += rng.integers(60, 130, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index:03d}.png")
    return folder


def invoke(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def succeed(*words: str | Path) -> Result:
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    return result


def error_line(result: Result) -> str:
    """The one line of a failure: exit code 1 and no traceback."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    lines = [line for line in result.stderr.splitlines() if line.startswith("ferrocnn: error: ")]
    assert len(lines) == 1
    assert result.stderr.endswith(lines[0] + "\n")
    return lines[0]


def read_json(result: Result) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(result.stdout, parse_constant=refuse)


def python(*words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ferrocnn", *words],
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )
