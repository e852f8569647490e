"""Drawn cats and dogs: a data set of two classes that needs no download.

Pose, fur, markings, eyes, collar, background, light, sharpness and noise vary, and they vary in
the same way for both classes, so that the mean colour of a picture says nothing about its class:
a model has to learn shapes.
"""

from __future__ import annotations

import colorsys
import math
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ferrocnn.animals import INK, WHITE, Colour, Look, Pen, draw_cat, draw_dog, mix
from ferrocnn.checks import check_int, check_positive_int

__all__ = ["CLASS_NAMES", "draw", "write_drawings"]

CLASS_NAMES = ("Cat", "Dog")

SUPERSAMPLING = 4  # drawn this many times larger, then averaged down: smooth edges

FUR: tuple[Colour, ...] = (
    (226, 146, 72),  # ginger
    (140, 94, 60),  # brown
    (138, 142, 150),  # grey
    (238, 216, 178),  # cream
    (74, 70, 74),  # black
    (243, 241, 236),  # white
    (205, 172, 126),  # sand
    (98, 66, 52),  # chocolate
    (108, 122, 142),  # blue-grey
)
EYES: tuple[Colour, ...] = (
    (214, 160, 40),  # amber
    (122, 172, 74),  # green
    (104, 168, 208),  # blue
    (148, 92, 44),  # brown
)
COLLARS: tuple[Colour, ...] = ((200, 60, 60), (60, 110, 180), (70, 150, 100), (230, 180, 60))
GRASS: Colour = (104, 150, 72)


def draw(
    kind: str, index: int, seed: int = 0, image_size: tuple[int, int] = (64, 64)
) -> Image.Image:
    """Picture `index` of class `kind` ("Cat" or "Dog"), RGB, of `(height, width)` pixels.

    The pixels depend on these four arguments only. ValueError or TypeError where one is not usable.
    """
    if kind not in CLASS_NAMES:
        raise ValueError(f"kind: expected one of {CLASS_NAMES}, got {kind!r}; choose one of them")
    check_int("index", index, 0)
    check_int("seed", seed, 0)
    height, width = _check_image_size(image_size)
    rng = np.random.default_rng((seed, CLASS_NAMES.index(kind), index))

    look = _look(rng, tongue_share=0.7 if kind == "Dog" else 0.15)
    image = _background(SUPERSAMPLING * height, SUPERSAMPLING * width, look.fur, rng)
    near = rng.uniform()  # 0: the whole animal, 1: a portrait of its head
    unit = min(image.size) * (0.19 + 0.12 * near)
    middle = (0.5 + rng.uniform(-0.1, 0.1), 0.38 + 0.16 * near + rng.uniform(-0.04, 0.04))
    pen = Pen(
        canvas=ImageDraw.Draw(image),
        matrix=np.diag([rng.choice((-unit, unit)), unit]),
        origin=np.array(middle) * image.size,
        unit=unit,
        ink=mix(look.fur, INK, 0.75),
    )
    animal = draw_cat if kind == "Cat" else draw_dog
    animal(pen.turned(rng.normal(0, 4), pivot=(0, 2)), look, rng)

    image = image.reduce(SUPERSAMPLING).filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.6)))
    light = rng.uniform(0.75, 1.08) * rng.uniform(0.96, 1.04, 3)
    noise = rng.normal(0, rng.uniform(2, 8), (height, width, 3))
    pixels = np.asarray(image, dtype=np.float64) * light + noise
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def write_drawings(
    folder: str | os.PathLike[str],
    count_per_class: int = 600,
    seed: int = 0,
    image_size: tuple[int, int] = (64, 64),
) -> Path:
    """Write `folder/Cat/0000.jpg`, ..., `folder/Dog/0000.jpg`, ... and return `folder` as a Path.

    Picture i of a class is `draw(name, i, seed, image_size)`, whatever `count_per_class` is, and
    its file has the same bytes each time (with the same Pillow). Both folders are made where they
    do not exist; pictures of an earlier call are replaced. ValueError where a folder holds
    anything that this call would not write, so that drawings never mix with other pictures.
    """
    check_positive_int("count_per_class", count_per_class)
    check_int("seed", seed, 0)
    _check_image_size(image_size)
    root = Path(folder)
    files = [f"{index:04d}.jpg" for index in range(count_per_class)]
    for kind in CLASS_NAMES:
        (root / kind).mkdir(parents=True, exist_ok=True)
        others = {path.name for path in (root / kind).iterdir()}.difference(files)
        if others:
            raise ValueError(
                f"folder: expected no other files in {root / kind}, got {min(others)}; "
                "choose a new folder"
            )
    for kind in CLASS_NAMES:
        for index, name in enumerate(files):
            draw(kind, index, seed, image_size).save(root / kind / name, quality=92)
    return root


def _check_image_size(image_size: tuple[int, int]) -> tuple[int, int]:
    if not isinstance(image_size, tuple | list) or len(image_size) != 2:
        raise TypeError(
            f"image_size: expected (height, width), got {image_size!r}; pass two ints, as (64, 64)"
        )
    height, width = (check_positive_int("image_size", side) for side in image_size)
    return height, width


def _look(rng: np.random.Generator, tongue_share: float) -> Look:
    """Fur, markings and bearing; only how often the tongue shows depends on the class."""
    fur, other = (FUR[i] for i in rng.choice(len(FUR), 2, replace=False))
    return Look(
        fur=fur,
        second=mix(fur, INK, 0.35) if rng.uniform() < 0.6 else other,
        pale=mix(fur, WHITE, rng.uniform(0.35, 0.9)),
        eye=EYES[rng.integers(len(EYES))],
        collar=COLLARS[rng.integers(len(COLLARS))] if rng.uniform() < 0.5 else None,
        patch=bool(rng.uniform() < 0.4),
        tilt=rng.normal(0, 10),
        gaze=(rng.uniform(-0.14, 0.14), rng.uniform(-0.1, 0.1)),
        tongue=bool(rng.uniform() < tongue_share),
    )


def _background_colour(rng: np.random.Generator, fur: Colour) -> Colour:
    """The one of three random colours that stands out best from the fur."""
    candidates = []
    for hue, saturation, value in rng.uniform((0, 0.1, 0.42), (1, 0.46, 0.94), (3, 3)):
        red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
        candidates.append((round(255 * red), round(255 * green), round(255 * blue)))
    return max(candidates, key=lambda colour: math.dist(colour, fur))


def _background(height: int, width: int, fur: Colour, rng: np.random.Generator) -> Image.Image:
    """Plain, gradient, stripes, dots or a meadow, of `height` x `width` pixels."""
    first = _background_colour(rng, fur)
    second = mix(first, _background_colour(rng, fur), rng.uniform(0.25, 0.7))
    image = Image.new("RGB", (width, height), first)
    canvas = ImageDraw.Draw(image)
    size = min(width, height)
    kind = rng.choice(("plain", "gradient", "stripes", "dots", "meadow"))
    if kind in ("gradient", "meadow"):
        ramp = Image.linear_gradient("L").rotate(90 * int(rng.integers(4)))
        image.paste(second, mask=ramp.resize((width, height)))
    if kind == "stripes":
        step, slant = size * rng.uniform(0.1, 0.22), height * rng.uniform(-0.8, 0.8)
        for x in np.arange(-height, width + height, step):
            canvas.line((x, 0, x + slant, height), second, round(step * 0.45))
    elif kind == "dots":
        step = size * rng.uniform(0.13, 0.24)
        radius = step * rng.uniform(0.2, 0.34)
        for row, y in enumerate(np.arange(0, height + step, step * 0.87)):
            for x in np.arange(0, width + step, step) - step / 2 * (row % 2):
                canvas.ellipse((x - radius, y - radius, x + radius, y + radius), second)
    elif kind == "meadow":
        horizon = height * rng.uniform(0.5, 0.8)
        grass = mix(GRASS, second, 0.35)
        canvas.rectangle((0, horizon, width, height), grass)
        blades = rng.uniform((0, horizon, -0.05, 0.05), (width, height, 0.05, 0.13), (60, 4))
        for x, y, lean, length in blades:
            shade = mix(grass, WHITE if lean > 0 else INK, 0.2)
            canvas.line((x, y, x + lean * size, y - length * size), shade, round(size / 60))
    return image
