"""Pictures for model cards."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import OutputError, UsageError
from ..files import written_aside

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("png", "svg", "pdf")
_DARK = 0.55


def check_figure(path: Path) -> None:
    """Raises UsageError if the ending of `path` is none that a picture can be written as."""
    if path.suffix.lower().removeprefix(".") not in FORMATS:
        raise UsageError(f"a picture's name ends with .{', .'.join(FORMATS)}, which {path} does not")


def draw_confusion_matrix(matrix: np.ndarray, labels: Sequence[str], path: Path) -> None:
    """Write a picture of what is taken for what: PNG, SVG or PDF by the ending of `path`.

    matrix: (n, n) int, rows are true classes, columns answers; labels: their n names. Classes that are neither
    there nor answered are left out. Cells are coloured by the share of their row and show counts.
    Raises UsageError for another ending, OutputError if the file cannot be written.
    """
    check_figure(path)
    from matplotlib.figure import Figure

    shown = np.flatnonzero(matrix.sum(axis=0) + matrix.sum(axis=1))
    counts = matrix[np.ix_(shown, shown)]
    side = 2.6 + 0.34 * len(shown)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    _name_axes(axes, [labels[index] for index in shown.tolist()])
    for row, column in np.argwhere(counts):
        colour = "white" if shares[row, column] > _DARK else "black"
        axes.text(column, row, counts[row, column], ha="center", va="center", fontsize=8, color=colour)
    try:
        with written_aside(path) as aside, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph")  # of a label in a script that the font lacks
            figure.savefig(aside, format=path.suffix.lower().removeprefix("."), dpi=110)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error


def _name_axes(axes: Axes, labels: Sequence[str]) -> None:
    ticks = range(len(labels))
    axes.set_xticks(ticks, labels, rotation=90, fontsize=9, parse_math=False)
    axes.set_yticks(ticks, labels, fontsize=9, parse_math=False)
    axes.set_xticks([i - 0.5 for i in ticks], minor=True)
    axes.set_yticks([i - 0.5 for i in ticks], minor=True)
    axes.grid(which="minor", color="0.9", linewidth=0.5)
    axes.tick_params(which="both", length=0)
    axes.set_xlabel("answered")
    axes.set_ylabel("true")
