"""What the user is told on stderr: warnings, errors and progress."""

from __future__ import annotations

import functools
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
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
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ..errors import PoseActError

INTERRUPTED = 130


def stderr() -> Console:
    """A console on stderr; messages are one line, however narrow the terminal is said to be."""
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
            _tell(error)
            raise typer.Exit(code) from None

    return run


def _tell(error: BaseException) -> None:
    if not isinstance(error, BrokenPipeError):  # whoever read our output just has enough
        say_error(str(error) or "interrupted")
    try:
        sys.stdout.flush()
    except OSError:
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


@contextmanager
def seconds_bar(quiet: bool) -> Iterator[Progress]:
    """A bar over seconds of video, on stderr, gone when done; invisible if `quiet` or stderr is no terminal."""
    console = stderr()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.1f} s"),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    disable = quiet or not console.is_terminal
    # Rich would send stdout's lines to stderr, even those for a pipe; see `set_aside` instead.
    with Progress(*columns, console=console, transient=True, disable=disable, redirect_stdout=False) as progress:
        yield progress


@contextmanager
def set_aside(progress: Progress) -> Iterator[None]:
    """Take the bar away while something is written to the terminal that it stands on."""
    shown = not progress.disable
    if shown:
        progress.stop()
    try:
        yield
    finally:
        if shown:
            progress.start()


@contextmanager
def counting_bar(quiet: bool) -> Iterator[Progress]:
    """A bar over epochs, sequences or videos, on stderr."""
    console = stderr()
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=quiet or not console.is_terminal
    ) as progress:
        yield progress


@contextmanager
def bytes_bar(quiet: bool) -> Iterator[Progress]:
    """A bar over downloads, on stderr, gone when done; invisible if `quiet` or stderr is no terminal."""
    console = stderr()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    disable = quiet or not console.is_terminal
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=disable, redirect_stdout=False
    ) as progress:
        yield progress


@contextmanager
def videos_bar(quiet: bool) -> Iterator[Progress]:
    """Two bars on stderr, over videos and over the seconds of one of them; each task's field `unit` names it."""
    console = stderr()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.10g}{task.fields[unit]}"),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    disable = quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=disable, redirect_stdout=False) as progress:
        yield progress
