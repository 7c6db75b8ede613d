"""What all sinks share: opening, failing, and appearing under the final name only when complete."""

from __future__ import annotations

import errno
import itertools
import os
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import TextIO

from ..clips import ClipLabel
from ..errors import OutputError


class Sink(ABC):
    """A context manager that writes labels to a file or to stdout.

    A file is written under its name plus `.part` (or `.2.part` and so on, if such are there already) and renamed
    when the sink closes without an error, so that nobody mistakes half a result for a whole one; what was there
    before stays until then.
    many_sources, per_person: what is to come, for formats that leave out what always says the same.
    """

    def __init__(self, output: Path | None, many_sources: bool = False, per_person: bool = False):
        self.output = output
        self.many_sources = many_sources
        self.per_person = per_person
        self.written = 0
        self._part: Path | None = None
        self.stream: TextIO = sys.stdout if output is None else self._open(output)

    @abstractmethod
    def format(self, clip: ClipLabel) -> str:
        """The text of one label, with its line end."""

    def header(self) -> str:
        """The text before the first label."""
        return ""

    def write(self, clip: ClipLabel) -> None:
        """Write one label, at once. Raises OutputError if there is no space left, say."""
        text = self.format(clip)
        self._put(text if self.written else self.header() + text)
        self.written += 1

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.written and kind is None:
            self._put(self.header())
        if self.output is None:
            return
        try:
            self.stream.close()
            if self._part is not None and kind is None:
                os.replace(self._part, os.path.realpath(self.output))
            elif self._part is not None and not self.written:
                self._part.unlink()
        except OSError as closing:
            if kind is None:
                raise OutputError(self._why_not(closing)) from closing

    @property
    def kept(self) -> str:
        """What to tell of an unfinished file; empty if there is none."""
        if self._part is None or not self.written:
            return ""
        return f"the {self.written} labels so far are in {self._part}"

    def _put(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(self._why_not(error)) from error

    def _open(self, output: Path) -> TextIO:
        try:
            if output.exists() and not output.is_file():
                return output.open("w", encoding="utf-8", newline="")
            if output.exists() and not os.access(output, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return self._open_part(Path(os.path.realpath(output)))
        except OSError as error:
            raise OutputError(self._why_not(error)) from error

    def _open_part(self, output: Path) -> TextIO:
        """The first free name, so that another run, or what an interrupted one left, comes to no harm."""
        for number in itertools.count(1):
            self._part = output.with_name(f"{output.name}.{number}.part" if number > 1 else f"{output.name}.part")
            try:
                return self._part.open("x", encoding="utf-8", newline="")
            except FileExistsError:
                continue
        raise AssertionError("numbers do not end")

    def _why_not(self, error: OSError) -> str:
        name = "standard output" if self.output is None else str(self.output)
        cures = {
            errno.ENOSPC: "free some space or choose another disk",
            errno.EDQUOT: "free some space or choose another disk",
            errno.EACCES: "choose a place where you may write",
            errno.EROFS: "choose a place where you may write",
            errno.ENOENT: "make its folder first",
        }
        cure = cures.get(error.errno or 0, "choose another place")
        return f"{name} cannot be written: {(error.strerror or str(error)).lower()}; {cure}"
