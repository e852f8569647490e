"""The cat and the dog of the drawn data set: smooth closed curves on a Pillow canvas.

Coordinates are those of the animal: the origin is the middle of the head, one unit is about half
the head's width, x points right and y down. An animal sits and looks at the viewer. Curves are
Catmull-Rom splines (E. Catmull, R. Rom, 1974): they run through the points that are listed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import ImageDraw

__all__ = ["Colour", "Look", "Pen", "draw_cat", "draw_dog", "mix"]

Colour: TypeAlias = tuple[int, int, int]
Points: TypeAlias = npt.NDArray[np.float64]
Outline: TypeAlias = list[tuple[float, float]]

LINE = 0.07  # width of an outline, in units
INK: Colour = (34, 28, 30)
WHITE: Colour = (252, 250, 246)
PINK: Colour = (236, 158, 158)
TONGUE: Colour = (232, 110, 122)
GOLD: Colour = (240, 205, 90)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Colour `a` with this share (0..1) of `b`."""
    red, green, blue = (round(p + (q - p) * share) for p, q in zip(a, b, strict=True))
    return red, green, blue


_T = np.arange(6)[:, None] / 6  # six straight pieces from one point of a curve to the next
_SPLINE = 0.5 * np.hstack(
    [-_T + 2 * _T**2 - _T**3, 2 - 5 * _T**2 + 3 * _T**3, _T + 4 * _T**2 - 3 * _T**3, _T**3 - _T**2]
)
_ANGLE = np.linspace(0, 2 * np.pi, 28, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLE), np.sin(_ANGLE)], axis=1)


@dataclass(frozen=True)
class Pen:
    """Draws in the animal's coordinates: pixels = points @ matrix + origin."""

    canvas: ImageDraw.ImageDraw
    matrix: Points  # (2, 2)
    origin: Points  # (2,)
    unit: float  # pixels to one unit
    ink: Colour  # of outlines

    def turned(self, degrees: float, pivot: tuple[float, float]) -> Pen:
        """The same pen in coordinates turned about `pivot`."""
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        rotation = np.array([[c, s], [-s, c]])
        centre = np.array(pivot)
        origin = (centre - centre @ rotation) @ self.matrix + self.origin
        return replace(self, matrix=rotation @ self.matrix, origin=origin)

    def shifted(self, x: float, y: float) -> Pen:
        """The same pen in coordinates whose origin is at `(x, y)`."""
        return replace(self, origin=np.array([x, y]) @ self.matrix + self.origin)

    def shape(self, points: Outline, fill: Colour, line: float = 0.0) -> None:
        """A filled closed curve; a point listed twice is a sharp corner."""
        p = np.array(points)
        ends = np.roll(p, -1, axis=0)
        neighbours = np.stack([np.roll(p, 1, axis=0), p, ends, np.roll(p, -2, axis=0)])
        curve = np.einsum("sk,knd->nsd", _SPLINE, neighbours)
        corner = (p == ends).all(axis=1)
        curve[corner] = p[corner, None]  # the spline would tie a small loop there
        self._fill(curve.reshape(-1, 2), fill, line)

    def oval(self, x: float, y: float, rx: float, ry: float, fill: Colour, line: float = 0) -> None:
        """A filled ellipse."""
        self._fill(_CIRCLE * (rx, ry) + (x, y), fill, line)

    def stroke(self, points: Outline, width: float, fill: Colour) -> None:
        """An open curve with round ends."""
        p = np.array([points[0], *points, points[-1]])
        neighbours = np.stack([p[:-3], p[1:-2], p[2:-1], p[3:]])
        curve = np.einsum("sk,knd->nsd", _SPLINE, neighbours).reshape(-1, 2)
        pixels = np.vstack([curve, p[-1:]]) @ self.matrix + self.origin
        self._line(pixels, width, fill)
        r = width * self.unit / 2
        for x, y in (pixels[0], pixels[-1]):
            self.canvas.ellipse((x - r, y - r, x + r, y + r), fill)

    def _fill(self, points: Points, fill: Colour, line: float) -> None:
        pixels = points @ self.matrix + self.origin
        self.canvas.polygon(pixels.ravel().tolist(), fill)
        if line:
            self._line(np.vstack([pixels, pixels[:2]]), line, self.ink)

    def _line(self, pixels: Points, width: float, fill: Colour) -> None:
        thickness = max(1, round(width * self.unit))
        self.canvas.line(pixels.ravel().tolist(), fill, thickness, joint="curve")


@dataclass(frozen=True)
class Look:
    """What a cat and a dog have in common, so that it cannot tell them apart."""

    fur: Colour
    second: Colour  # of patches, stripes and the dog's ears
    pale: Colour  # of muzzle, chest and paws
    eye: Colour
    collar: Colour | None
    patch: bool  # over one eye
    tilt: float  # of the head, degrees
    gaze: tuple[float, float]  # shift of the face on the head, units
    tongue: bool


def _mirrored(half: Outline) -> Outline:
    """The whole of a symmetric outline of which the right half is given, top to bottom."""
    return half + [(-x, y) for x, y in reversed(half) if x]


def _both_sides(right: Outline) -> tuple[Outline, Outline]:
    return right, [(-x, y) for x, y in right]


def _body(pen: Pen, look: Look, build: float) -> None:
    """Haunches, trunk, chest, front legs and collar."""
    for x in (-0.95 * build, 0.95 * build):
        pen.oval(x, 2.65, 0.52, 0.62, look.fur, LINE)
    trunk = [(0, 0.3), (0.62, 0.6), (0.88, 1.5), (1.08, 2.5), (0.8, 3.1), (0, 3.15)]
    pen.shape(_mirrored([(x * build, y) for x, y in trunk]), look.fur, LINE)
    pen.shape(_mirrored([(0, 0.5), (0.4, 1.0), (0.38, 1.7), (0, 2.2)]), look.pale)
    for side in (-1, 1):
        pen.stroke([(side * 0.64, 2.1), (side * 0.64, 3.0)], LINE, pen.ink)
        pen.oval(side * 0.38, 3.08, 0.34, 0.22, look.pale, LINE)
    pen.stroke([(0, 2.2), (0, 3.0)], LINE, pen.ink)
    if look.collar:
        pen.stroke([(-0.66 * build, 0.86), (0, 1.16), (0.66 * build, 0.86)], 0.2, look.collar)
        pen.oval(0, 1.3, 0.15, 0.15, GOLD, LINE)


def draw_cat(pen: Pen, look: Look, rng: np.random.Generator) -> None:
    """Pointed ears, almond eyes with slit pupils, small nose, whiskers, a long tail."""
    wave = rng.uniform(-0.3, 0.3)
    tail = [(0.9, 2.9), (1.8, 2.9), (2.1, 2.1), (1.75, 1.4), (2.1, 0.8 + wave)]
    pen.stroke(tail, 0.42, pen.ink)
    pen.stroke(tail, 0.42 - 2 * LINE, look.fur)
    _body(pen, look, build=rng.uniform(0.88, 1.02))
    pen = pen.turned(look.tilt, pivot=(0, 0.7))

    x, y = rng.uniform(0.74, 0.98), -rng.uniform(1.3, 1.55)  # tip of the ear
    ear = [(0.2, -0.72), (0.5, -1.1), (x, y), (x, y), (1.03, -0.7), (0.98, -0.1), (0.5, -0.3)]
    inside = [(0.4, -0.74), (0.58, -1.04), (x - 0.03, y + 0.2), (x - 0.03, y + 0.2), (0.9, -0.4)]
    for outer, inner in zip(_both_sides(ear), _both_sides(inside), strict=True):
        pen.shape(outer, look.fur, LINE)
        pen.shape(inner, mix(PINK, look.fur, 0.25))
    head = [(0, -0.84), (0.5, -0.78), (0.92, -0.36), (1.08, 0.2), (0.98, 0.6), (0.58, 0.88)]
    pen.shape(_mirrored([*head, (0, 0.96)]), look.fur, LINE)
    if look.patch:
        patch = [(0.1, -0.74), (0.6, -0.66), (0.94, -0.2), (0.86, 0.24), (0.4, 0.28), (0.1, -0.2)]
        pen.shape(patch, look.second)
    else:
        for x, bottom in ((-0.26, -0.42), (0.0, -0.34), (0.26, -0.42)):
            pen.stroke([(x * 1.15, -0.72), (x, bottom)], 0.1, look.second)

    dx, dy = look.gaze
    pupil = rng.uniform(0.06, 0.14)
    for x in (-0.45, 0.45):
        eye = pen.shifted(x + 0.7 * dx, 0.7 * dy)
        eye.shape([(-0.29, 0.02), (0, -0.26), (0.29, 0.02), (0, 0.24)], look.eye, LINE)
        eye.oval(0, -0.01, pupil, 0.22, INK)
        eye.oval(0.08, -0.1, 0.065, 0.065, WHITE)
    face = pen.shifted(dx, dy)
    for x in (-0.21, 0.21):
        face.oval(x, 0.52, 0.29, 0.22, look.pale)
    if look.tongue:
        face.oval(0, 0.7, 0.11, 0.13, TONGUE, LINE / 2)
    for x in (-0.24, 0.24):
        face.stroke([(0, 0.4), (0.3 * x, 0.62), (x, 0.6)], LINE, INK)
    face.shape([(-0.14, 0.27), (0.14, 0.27), (0, 0.43)], PINK, LINE / 2)
    whisker = INK if sum(look.fur) > 330 else WHITE
    droop = rng.uniform(-0.12, 0.12)
    for side in (-1, 1):
        for start, end in ((0.42, 0.26), (0.5, 0.54), (0.58, 0.82)):
            middle = (side * 0.95, (start + end) / 2 - 0.05)
            face.stroke([(side * 0.42, start), middle, (side * 1.5, end + droop)], 0.04, whisker)


def draw_dog(pen: Pen, look: Look, rng: np.random.Generator) -> None:
    """Hanging ears, round eyes with brows, a long muzzle with a big nose, a short tail."""
    wag = rng.uniform(-0.25, 0.25)
    tail = [(0.7, 2.4), (1.4, 2.2), (1.75 + wag, 1.4), (2.05 + wag, 1.5), (1.85, 2.6), (1, 3.05)]
    pen.shape(tail, look.fur, LINE)
    _body(pen, look, build=rng.uniform(0.92, 1.06))
    pen = pen.turned(look.tilt, pivot=(0, 0.7))

    head = [(0, -1.04), (0.44, -0.96), (0.78, -0.56), (0.84, 0), (0.76, 0.5), (0.5, 0.9)]
    pen.shape(_mirrored([*head, (0, 1.04)]), look.fur, LINE)
    dx, dy = look.gaze
    if look.patch:
        patch = [(0.1, -0.5), (0.44, -0.66), (0.74, -0.3), (0.64, 0.12), (0.3, 0.16), (0.1, -0.1)]
        pen.shape(patch, look.second)
    else:
        pen.shape(_mirrored([(0, -0.96), (0.13, -0.7), (0.1, 0), (0, 0.3)]), look.pale)
    y, out = rng.uniform(0.3, 0.85), rng.uniform(-0.12, 0.18)  # how far the ears hang down and out
    ear = [(0.5, -0.8), (0.86, -0.86), (1.16 + out, -0.4), (1.26 + out, y - 0.3)]
    for side in _both_sides([*ear, (1.06 + out, y), (0.82 + out, y - 0.25), (0.74, -0.3)]):
        pen.shape(side, look.second, LINE)

    for x in (-0.37, 0.37):
        eye = pen.shifted(x + 0.7 * dx, 0.7 * dy - 0.16)
        eye.oval(0, 0, 0.19, 0.2, WHITE, LINE)
        eye.oval(0, 0.01, 0.17, 0.18, look.eye)
        eye.oval(0, 0.01, 0.125, 0.135, INK)
        eye.oval(0.05, -0.06, 0.055, 0.055, WHITE)
        eye.stroke([(-0.16, -0.32), (0, -0.38), (0.16, -0.32)], LINE, pen.ink)
    face = pen.shifted(dx, dy)
    muzzle = [(0, 0.08), (0.34, 0.2), (0.54, 0.56), (0.4, 0.88), (0, 0.94)]
    face.shape(_mirrored(muzzle), look.pale)
    if look.tongue:
        face.shape(_mirrored([(0, 0.68), (0.18, 0.74), (0.2, 1.08), (0, 1.26)]), TONGUE, LINE)
        face.stroke([(0, 0.8), (0, 1.05)], LINE / 2, mix(TONGUE, INK, 0.4))
    for x in (-0.38, 0.38):
        face.stroke([(0, 0.4), (0.1 * x, 0.7), (0.6 * x, 0.76), (x, 0.62)], LINE, INK)
    face.oval(0, 0.3, 0.23, 0.17, INK)
    face.oval(-0.07, 0.24, 0.07, 0.04, mix(INK, WHITE, 0.5))
