"""A table for people, row by row as results arrive."""

from __future__ import annotations

import math
from pathlib import Path

from rich.console import Console
from rich.text import Text

from ..clips import ClipLabel
from .base import RowSink

# Widths are fixed, since a row is printed before the next is known. The last column takes what is left.
_WIDTHS = {"video": 20, "time": 17, "person": 6, "label": 16, "score": 6}
_GAP = 2
# How many of the labels that it might be instead are told.
_ALTERNATIVES = 3


class TableSink(RowSink):
    def __init__(self, output: Path | None, many_sources: bool = False, per_person: bool = False):
        super().__init__(output, many_sources, per_person)
        self._console = Console(file=self.stream)
        if not self._console.is_terminal:
            self._console.width = 110

    def header(self) -> str:
        return self._line({name: Text(name, style="bold") for name in (*_WIDTHS, "or else")})

    def format(self, clip: ClipLabel) -> str:
        if clip.label is not None:
            label = Text(clip.label, style="bold green")
        else:
            label = Text("nobody" if clip.score is None else "unsure", style="dim")
        others = [f"{t.label} {t.score:.0%}" for t in clip.top if t.label != clip.label and t.score >= 0.005]
        return self._line(
            {
                "video": Text(Path(clip.source).name, style="cyan"),
                "time": Text(f"{clock(clip.start)} – {clock(clip.end)}"),
                "person": Text("" if clip.person is None else str(clip.person), style="magenta"),
                "label": label,
                "score": Text("" if clip.score is None else f"{clip.score:.1%}"),
                "or else": Text(", ".join(others[:_ALTERNATIVES]), style="dim"),
            }
        )

    def _line(self, cells: dict[str, Text]) -> str:
        hidden = {"video": not self.many_sources, "person": not self.per_person}
        line = Text()
        for name, width in _WIDTHS.items():
            if not hidden.get(name):
                cell = cells[name]
                cell.truncate(width, overflow="ellipsis")
                cell.align("right" if name in ("person", "score") else "left", width)
                line.append_text(cell)
                line.append(" " * _GAP)
        rest = cells["or else"]
        rest.truncate(max(0, self._console.width - line.cell_len), overflow="ellipsis")
        line.append_text(rest)
        line.rstrip()
        with self._console.capture() as captured:
            self._console.print(line, soft_wrap=True)
        return captured.get()


def clock(seconds: float) -> str:
    """Seconds as m:ss.s: 75.25 to 1:15.3."""
    tenths = math.floor(seconds * 10 + 0.5)
    return f"{tenths // 600}:{tenths % 600 // 10:02d}.{tenths % 10}"
