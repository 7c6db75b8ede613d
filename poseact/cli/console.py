"""What the user is told on stderr: warnings, errors and progress."""

from __future__ import annotations

import functools
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ..errors import OutputError, PoseActError

INTERRUPTED = 130


@functools.cache
def stderr() -> Console:
    """The console on stderr; messages are one line, however narrow the terminal is said to be.

    One for all, since only the console that shows a bar knows to write above it.
    """
    return Console(stderr=True, soft_wrap=True, highlight=False)


def exit_code_of(error: BaseException) -> int | None:
    """The exit code that an expected error ends with; None for a bug, which should look like one."""
    if isinstance(error, PoseActError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return 0
    return None


def reported(command: Callable[..., None]) -> Callable[..., None]:
    """The command, with what goes wrong told in one sentence; the one place where errors become exit codes."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except BaseException as error:
            code = exit_code_of(error)
            if code is None:
                raise
            if options.get("debug"):
                traceback.print_exc()
            tell(error)
            raise typer.Exit(code) from None

    return run


def tell(error: BaseException) -> None:
    """Say on stderr what an expected error says."""
    if not isinstance(error, BrokenPipeError):  # whoever read our output just has enough
        say_error(str(error) or "interrupted")
    try:
        sys.stdout.flush()
    except (OSError, OutputError):
        # What stdout cannot take must not be tried again, and complained of, at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say_error(text: str) -> None:
    stderr().print(f"[bold red]error:[/] {escape(text)}")


def say(text: str) -> None:
    stderr().print(escape(text))


class _WarningHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        stderr().print(f"[bold yellow]warning:[/] {escape(record.getMessage())}")


def show_warnings(quiet: bool) -> None:
    """Let the library's warnings appear on stderr; none at all if `quiet`."""
    logger = logging.getLogger("poseact")
    logger.handlers = [logging.NullHandler() if quiet else _WarningHandler()]
    logger.propagate = False


def _bar(quiet: bool, *figures: ProgressColumn, transient: bool = True) -> Progress:
    """A bar on stderr with these figures beside it; invisible if `quiet` or stderr is no terminal.

    transient: gone when done.
    """
    console = stderr()
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *figures,
        TimeRemainingColumn(),
        console=console,
        transient=transient,
        disable=quiet or not console.is_terminal,
        # Rich would send stdout's lines to stderr, even those for a pipe; see `set_aside` instead.
        redirect_stdout=not transient,
    )


def seconds_bar(quiet: bool) -> Progress:
    """A bar over seconds of video, on stderr, gone when done."""
    return _bar(quiet, TextColumn("{task.completed:.1f} s"), TaskProgressColumn())


def counting_bar(quiet: bool) -> Progress:
    """A bar over epochs, sequences or videos, on stderr."""
    return _bar(quiet, MofNCompleteColumn(), transient=False)


def bytes_bar(quiet: bool) -> Progress:
    """A bar over downloads, on stderr, gone when done."""
    return _bar(quiet, DownloadColumn(), TransferSpeedColumn())


def videos_bar(quiet: bool) -> Progress:
    """Two bars on stderr, over videos and over the seconds of one of them; each task's field `unit` names it."""
    return _bar(quiet, TextColumn("{task.completed:.10g}{task.fields[unit]}"), TaskProgressColumn())


class SourcesBar:
    """A bar on stderr for each of several sources while it is worked on; gone when done. A context manager."""

    def __init__(self, names: Sequence[str], device: str, quiet: bool):
        self._names, self._device = names, device
        self._progress = seconds_bar(quiet)
        self._tasks: dict[int, TaskID] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> SourcesBar:
        self._progress.start()
        self._task(0)
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, which: int, done: float, total: float | None) -> None:
        """done, total: seconds of it; may be called from any thread."""
        self._progress.update(self._task(which), completed=done, total=total)
        if total is not None and done >= total:
            self.finish(which)

    def _task(self, which: int) -> TaskID:
        with self._lock:
            if which not in self._tasks:
                self._tasks[which] = self._progress.add_task(f"{self._names[which]} on {self._device}", total=None)
            return self._tasks[which]

    def finish(self, which: int) -> None:
        """Take its bar away."""
        with self._lock:
            if which in self._tasks:
                self._progress.remove_task(self._tasks.pop(which))

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Take the bars away while something is written to the terminal that they stand on."""
        shown = not self._progress.disable
        if shown:
            self._progress.stop()
        try:
            yield
        finally:
            if shown:
                self._progress.start()
