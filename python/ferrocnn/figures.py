"""The picture that sums up a training run: its learning curve and a sample of what it named."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferrocnn.history import History
from ferrocnn.labels import check_classes

if TYPE_CHECKING:  # matplotlib is an extra, and takes longer to import than all the rest
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

__all__ = ["demo_figure"]

_SIZE = (12.0, 6.6)  # inches
_PADDING = 0.1  # inches
_DPI = 100
_ROWS, _COLUMNS = 4, 6
_LONGEST_NAME = 11  # characters that fit beside the probability

_TRAINING = "#8d99a6"
_VALIDATION = "#1565c0"
_RIGHT = "#37474f"
_WRONG = "#d32f2f"


def demo_figure(
    path: str | os.PathLike[str],
    history: History,
    images: NDArray[Any],
    labels: ArrayLike,
    probabilities: ArrayLike,
    class_names: Sequence[str],
) -> Path:
    """Write a PNG of 1200 x 660 pixels: the learning curve, and pictures with their predictions.

    Up to 24 pictures are drawn by lot, always the same ones of as many. The title counts all.

    Args:
        path: the file to write; one that is there is replaced.
        history: of at least one epoch.
        images: ``(n, height, width, 3)``, or 1 in place of 3 for grey ones; uint8, or floats from
            0 to 1; n >= 1.
        labels: ``(n,)``, from 0 up.
        probabilities: ``(n, k)`` for k classes; or for two that of the second, ``(n,)`` or
            ``(n, 1)``. A picture gets the name of the most probable class.
        class_names: the names of the k classes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: the history is empty, or the arrays do not go together.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise ImportError(
            'the picture needs matplotlib: pip install "ferrocnn[plot]"', name="matplotlib"
        ) from error

    truth, shares = _checked(history, images, labels, probabilities, class_names)
    # Not pyplot: that keeps every figure, and may want a screen.
    layout = ConstrainedLayoutEngine(w_pad=_PADDING, h_pad=_PADDING)
    figure = Figure(figsize=_SIZE, dpi=_DPI, layout=layout, facecolor="white")
    left, right = figure.subfigures(1, 2, width_ratios=(0.36, 0.64), squeeze=False)[0]
    _learning_curve(left, history)
    _predictions(right, images, truth, shares, class_names)
    figure.savefig(path, format="png", dpi=_DPI)
    return Path(path)


def _checked(
    history: History,
    images: NDArray[Any],
    labels: ArrayLike,
    probabilities: ArrayLike,
    class_names: Sequence[str],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels ``(n,)``, and the probability of each class ``(n, k)``."""
    if not history.epochs:
        raise ValueError("history: expected at least one finished epoch, got none; train first")
    if images.ndim != 4 or images.shape[3] not in (1, 3) or not len(images):
        raise ValueError(
            "images: expected (n, height, width, 3), or 1 in place of 3, with n of 1 or more, "
            f"got {images.shape}"
        )
    count, classes = len(images), len(class_names)
    if isinstance(class_names, str) or classes < 2:
        raise ValueError(f"class_names: expected two names or more, got {class_names!r}")
    truth = check_classes(labels, count, classes, "labels")
    shares = np.asarray(probabilities, dtype=np.float64)
    if classes == 2 and shares.shape in ((count,), (count, 1)):
        shares = np.column_stack([1 - shares, shares])
    if shares.shape != (count, classes):
        raise ValueError(
            f"probabilities: expected {classes} for each of {count} images, or of two classes that "
            f"of the second, ({count}, 1), got {shares.shape}"
        )
    return truth, shares


def _learning_curve(figure: SubFigure, history: History) -> None:
    """Draw accuracy above loss over the epochs."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    accuracy, loss = figure.subplots(2, 1, sharex=True)
    _curves(accuracy, history, history.accuracy, history.val_accuracy)
    _curves(loss, history, history.loss, history.val_loss)
    accuracy.set_title("Accuracy", loc="left", fontsize=11)
    accuracy.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=None))
    accuracy.legend(loc="lower right", framealpha=1, edgecolor="none", fontsize=9)
    loss.set_title("Loss", loc="left", fontsize=11)
    loss.set_ylim(bottom=0)
    loss.set_xlabel("epoch")
    loss.xaxis.set_major_locator(MaxNLocator(integer=True))
    loss.set_xlim(0.5, history.epochs + 0.5)


def _curves(
    axes: Axes, history: History, training: Sequence[float], validation: Sequence[float]
) -> None:
    epochs = range(1, history.epochs + 1)
    marker = "o" if history.epochs <= 30 else ""
    axes.plot(epochs, training, marker=marker, markersize=4, color=_TRAINING, label="training")
    if validation:
        axes.plot(
            epochs, validation, marker=marker, markersize=4, color=_VALIDATION, label="validation"
        )
    axes.axvline(history.best_epoch, color="#b0bec5", linestyle=":", zorder=0, label="best epoch")
    axes.grid(axis="y", color="#eceff1")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _predictions(
    figure: SubFigure,
    images: NDArray[Any],
    truth: NDArray[np.int64],
    shares: NDArray[np.float64],
    class_names: Sequence[str],
) -> None:
    """Draw the grid; a wrong prediction has a red frame and a red name."""
    named = shares.argmax(axis=1)
    if len(class_names) == 2:
        named = (shares[:, 1] >= 0.5).astype(np.int64)
    right = named == truth
    # By lot, as images come sorted by class.
    shown = np.random.default_rng(0).permutation(len(images))[: _ROWS * _COLUMNS]
    figure.suptitle(
        f"{right.sum():,} of {len(images):,} pictures held back from training are named rightly"
        + ("" if right[shown].all() else " (wrong ones framed)"),
        fontsize=11,
    )
    brightest = 255 if images.dtype == np.uint8 else 1
    cells = figure.subplots(_ROWS, _COLUMNS).ravel()
    for axes in cells:
        axes.set_axis_off()
    for axes, index in zip(cells, shown, strict=False):
        colour = _RIGHT if right[index] else _WRONG
        name = class_names[named[index]]
        if len(name) > _LONGEST_NAME:
            name = name[: _LONGEST_NAME - 1] + "…"
        axes.imshow(images[index], cmap="gray", vmin=0, vmax=brightest, interpolation="bicubic")
        axes.set_title(
            f"{name} {100 * shares[index, named[index]]:.0f} %",
            color=colour,
            fontsize=9.5,
            fontweight="normal" if right[index] else "bold",
            pad=4,
            parse_math=False,  # a folder's name may hold dollar signs
        )
        if not right[index]:
            axes.set_axis_on()
            axes.set(xticks=[], yticks=[])
            for spine in axes.spines.values():
                spine.set(color=_WRONG, linewidth=3)
