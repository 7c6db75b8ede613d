"""JSON lines: one object for each label."""

from __future__ import annotations

import json

from ..clips import ClipLabel
from .base import RowSink


class JsonlSink(RowSink):
    def format(self, clip: ClipLabel) -> str:
        return json_line(clip)


def json_line(clip: ClipLabel) -> str:
    """One label as a line, with its end. What is no text in the name of a file is an escape of JSON."""
    line = json.dumps(clip.as_dict(), ensure_ascii=False) + "\n"
    return line.encode("utf-8", "backslashreplace").decode("utf-8")
