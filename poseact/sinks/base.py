"""What all sinks share: opening, failing, and appearing under the final name only when complete."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO

from ..clips import ClipLabel
from ..errors import OutputError, UsageError
from ..files import why_not_written


class Sink(ABC):
    """A context manager that writes labels to a file or to stdout.

    A file is written under its name plus `.part` (or `.2.part` and so on, if such are there already) and renamed
    when the sink closes without an error, so that nobody mistakes half a result for a whole one; what was there
    before stays until then. After an error or Ctrl-C the labels so far are there, in the format of the whole.
    many_sources, per_person: what is to come, for formats that leave out what always says the same.
    """

    # Whether the format is of bytes, which a terminal cannot show.
    is_binary = False
    # Whether a file is about one video.
    of_one_source = False
    # Whether a file whose end is missing is of use.
    is_of_use_broken_off = False

    def __init__(self, output: Path | None, many_sources: bool = False, per_person: bool = False):
        self.output = output
        self.many_sources = many_sources
        self.per_person = per_person
        self.written = 0
        self.part: Path | None = None
        self._is_broken = False
        self.stream: IO = self._standard_output() if output is None else self._open(output)

    @abstractmethod
    def write(self, clip: ClipLabel) -> None:
        """Take one label. Raises OutputError if there is no space left, say, and UsageError if it is of another
        video than those before in a format that holds one."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is still to be written, be it after no label or after an error. Raises OutputError."""

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None or (self.written and not self._is_broken):
                self.finish()
            if kind is None:
                self._appear()
        except (OutputError, OSError):
            if kind is None:  # else the user has to hear of what went wrong first
                raise
        finally:
            self._let_go()

    @property
    def kept(self) -> str:
        """What to tell of an unfinished file; empty if there is none."""
        is_lost = self._is_broken and not self.is_of_use_broken_off
        if self.part is None or not self.written or is_lost:
            return ""
        return f"the {self.written} labels so far are in {self.part}"

    def _appear(self) -> None:
        if self.part is not None and self.output is not None:
            with self.writing():
                self.stream.close()
                os.replace(self.part, os.path.realpath(self.output))
            self.part = None

    def _let_go(self) -> None:
        if self.output is None:
            return
        with contextlib.suppress(OSError):
            self.stream.close()
            if self.part is not None and not self.kept:
                self.part.unlink()

    def put(self, content: str | bytes) -> None:
        """Write text or bytes, at once. Raises OutputError."""
        if isinstance(content, str):
            # Names of files need not be text, and are none in any encoding then.
            content = content.encode("utf-8", "backslashreplace").decode("utf-8")
        with self.writing():
            self.stream.write(content)
            self.stream.flush()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Whatever goes wrong with the file within is an OutputError; but a closed pipe, which is no mistake."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            self._is_broken = True
            name = "standard output" if self.output is None else str(self.output)
            raise OutputError(why_not_written(name, error)) from error

    def _standard_output(self) -> IO:
        if not self.is_binary:
            return sys.stdout
        if sys.stdout.isatty():
            raise UsageError("this format is not for a terminal; give a file by -o, or a pipe")
        return sys.stdout.buffer

    def _open(self, output: Path) -> IO:
        with self.writing():
            if output.exists() and not output.is_file():
                return self._open_as("w", output)
            if output.exists() and not os.access(output, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return self._open_part(Path(os.path.realpath(output)))

    def _open_as(self, mode: str, path: Path) -> IO:
        return path.open(f"{mode}b") if self.is_binary else path.open(mode, encoding="utf-8", newline="")

    def _open_part(self, output: Path) -> IO:
        """The first free name, so that another run, or what an interrupted one left, comes to no harm."""
        for number in itertools.count(1):
            self.part = output.with_name(f"{output.name}.{number}.part" if number > 1 else f"{output.name}.part")
            try:
                return self._open_as("x", self.part)
            except FileExistsError:
                continue
        raise AssertionError("numbers do not end")


class RowSink(Sink):
    """A sink of a format of text in which each label is a row, which is written as soon as it comes."""

    is_of_use_broken_off = True

    @abstractmethod
    def format(self, clip: ClipLabel) -> str:
        """The text of one label, with its line end."""

    def header(self) -> str:
        """The text before the first label."""
        return ""

    def write(self, clip: ClipLabel) -> None:
        text = self.format(clip)
        self.put(text if self.written else self.header() + text)
        self.written += 1

    def finish(self) -> None:
        if not self.written:
            self.put(self.header())


class VideoSink(Sink):
    """A sink of a format that is about one video and can only be written when all of its labels are known."""

    of_one_source = True

    def __init__(self, output: Path | None, many_sources: bool = False, per_person: bool = False):
        super().__init__(output, many_sources, per_person)
        self._clips: list[ClipLabel] = []

    @abstractmethod
    def content(self, clips: list[ClipLabel]) -> str | bytes:
        """The whole file with these labels, which are of one video."""

    def write(self, clip: ClipLabel) -> None:
        if self._clips and clip.source != self._clips[0].source:
            raise UsageError(
                f"this format holds one video, and here are {self._clips[0].source} and {clip.source}; "
                "write a file for each, as `poseact label` does"
            )
        self._clips.append(clip)
        self.written += 1

    def finish(self) -> None:
        self.put(self.content(self._clips))
