"""Where labels go: one file for each format, found by name here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..errors import OutputError, UsageError
from .base import Sink
from .csv import CsvSink
from .elan import ElanSink
from .jsonl import JsonlSink
from .parquet import ParquetSink
from .subtitles import SrtSink, VttSink
from .table import TableSink

SINKS: dict[str, type[Sink]] = {
    "table": TableSink,
    "jsonl": JsonlSink,
    "csv": CsvSink,
    "parquet": ParquetSink,
    "srt": SrtSink,
    "vtt": VttSink,
    "elan": ElanSink,
}
_ENDINGS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".txt": "table",
    ".parquet": "parquet",
    ".srt": "srt",
    ".vtt": "vtt",
    ".eaf": "elan",
}


def open_sink(output: Path | None, format: str | None, many_sources: bool = False, per_person: bool = False) -> Sink:
    """The sink for a path (None: stdout) and a format's name.

    Without a name the path's ending decides; on stdout it is a table for a terminal and JSON lines for a pipe.
    Raises UsageError if the format cannot be told or a terminal cannot show it, OutputError if the path cannot be
    written.
    """
    output = None if output == Path("-") else output
    if output is not None and os.path.isdir(output):
        raise OutputError(f"{output} is a folder; give the name of a file")
    return _kind_of(output, format)(output, many_sources, per_person)


def check_sources(output: Path | None, format: str | None, n_videos: int) -> None:
    """Raises UsageError if so many videos do not go into one file of the format; see `open_sink`."""
    output = None if output == Path("-") else output
    if n_videos > 1 and _kind_of(output, format).of_one_source:
        raise UsageError(
            f"{format or _format_of(output)} files hold one video each, and here are {n_videos}; "
            "`poseact label` writes one for each"
        )


def _kind_of(output: Path | None, format: str | None) -> type[Sink]:
    format = format or _format_of(output)
    if format not in SINKS:
        raise UsageError(f"there is no format {format!r}; choose one of {', '.join(SINKS)}")
    return SINKS[format]


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
