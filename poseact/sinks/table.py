"""A table for people, row by row as results arrive."""

from __future__ import annotations

import math
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..clips import ClipLabel
from .base import Sink

# Widths are fixed, since a row is printed before the next is known.
_WIDTHS = {"video": 20, "time": 17, "person": 6, "label": 16, "score": 7}


class TableSink(Sink):
    def __init__(self, output: Path | None, many_sources: bool = False):
        super().__init__(output, many_sources)
        self._console = Console(file=self.stream)
        if not self._console.is_terminal:
            self._console.width = 110

    def header(self) -> str:
        titles = [Text(title, style="bold") for title in ("video", "time", "person", "label", "score", "or else")]
        return self._line(titles)

    def format(self, clip: ClipLabel) -> str:
        if clip.label is not None:
            label = Text(clip.label, style="bold green")
        else:
            label = Text("nobody" if clip.score is None else "unsure", style="dim")
        score = "" if clip.score is None else f"{clip.score:.1%}"
        others = ", ".join(f"{t.label} {t.score:.0%}" for t in clip.top if t.label != clip.label and t.score >= 0.005)
        return self._line(
            [
                Text(Path(clip.source).name, style="cyan"),
                Text(f"{clock(clip.start)} – {clock(clip.end)}"),
                Text("" if clip.person is None else str(clip.person), style="magenta"),
                label,
                Text(score),
                Text(others, style="dim"),
            ]
        )

    def _line(self, cells: list[Text]) -> str:
        row = Table.grid(padding=(0, 2))
        for name, width in _WIDTHS.items():
            if name != "video" or self.many_sources:
                numbers = name in ("person", "score")
                row.add_column(width=width, no_wrap=True, overflow="ellipsis", justify="right" if numbers else "left")
        row.add_column(no_wrap=True, overflow="ellipsis")
        row.add_row(*(cells if self.many_sources else cells[1:]))
        with self._console.capture() as captured:
            self._console.print(row)
        return captured.get()


def clock(seconds: float) -> str:
    """Seconds as m:ss.s: 75.25 to 1:15.3."""
    tenths = math.floor(seconds * 10 + 0.5)
    return f"{tenths // 600}:{tenths % 600 // 10:02d}.{tenths % 10}"
