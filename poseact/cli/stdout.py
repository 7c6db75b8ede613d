"""Standard output, such that what cannot be written to it is an error of ours, be it a sink or Rich that writes."""

from __future__ import annotations

import io
import sys
from typing import Any

from ..errors import OutputError
from ..files import why_not_written


def watch_standard_output() -> None:
    """From now on whatever cannot be written to `sys.stdout` raises OutputError; to a pipe that its reader has closed,
    BrokenPipeError as ever. A terminal is left as it is."""
    stdout = sys.stdout
    if stdout is None or stdout.isatty():
        return
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_StandardOutput(stdout.fileno(), "w", closefd=False)),
        encoding=stdout.encoding,
        errors=stdout.errors,
        line_buffering=bool(stdout.line_buffering),
    )


class _StandardOutput(io.FileIO):
    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(why_not_written("standard output", error)) from error
