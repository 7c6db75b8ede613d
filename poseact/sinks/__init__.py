"""Where labels go: one file for each format, found by name here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..errors import OutputError, UsageError
from .base import Sink
from .csv import CsvSink
from .jsonl import JsonlSink
from .table import TableSink

SINKS: dict[str, type[Sink]] = {"table": TableSink, "jsonl": JsonlSink, "csv": CsvSink}
_ENDINGS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".txt": "table"}


def open_sink(output: Path | None, format: str | None, many_sources: bool = False, per_person: bool = False) -> Sink:
    """The sink for a path (None: stdout) and a format's name.

    Without a name the path's ending decides; on stdout it is a table for a terminal and JSON lines for a pipe.
    Raises UsageError if the format cannot be told, OutputError if the path cannot be written.
    """
    if output == Path("-"):
        output = None
    if output is not None and os.path.isdir(output):
        raise OutputError(f"{output} is a folder; give the name of a file")
    if format is None:
        format = _format_of(output)
    if format not in SINKS:
        raise UsageError(f"there is no format {format!r}; choose one of {', '.join(SINKS)}")
    return SINKS[format](output, many_sources, per_person)


def _format_of(output: Path | None) -> str:
    if output is None:
        return "table" if sys.stdout.isatty() else "jsonl"
    if output.suffix.lower() in _ENDINGS:
        return _ENDINGS[output.suffix.lower()]
    # A device or a pipe has no telling name.
    if os.path.exists(output) and not os.path.isfile(output):
        return "jsonl"
    known = ", ".join(_ENDINGS)
    raise UsageError(f"{output}: cannot tell the format from the name; end it in {known}, or give --format")
