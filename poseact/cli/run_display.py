"""How a run over many videos is getting on, on stderr."""

from __future__ import annotations

import time
from pathlib import PurePath
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from .console import say, say_error, stderr

if TYPE_CHECKING:
    from ..crew import Worker
    from ..label import LabelRun, Step

# Before so many are done nobody knows how long the rest takes; one at a time, they are not a fair sample.
_FIRST = 5
# Where there is no terminal, seconds between two lines.
_EVERY = 30.0
# Workers that are shown one by one.
_MOST_WORKERS = 16


class RunDisplay:
    """Bars in a terminal, a line now and then elsewhere, nothing if `quiet`. A context manager."""

    def __init__(self, run: LabelRun, quiet: bool):
        self._run, self._quiet = run, quiet
        console = stderr()
        self._told = time.monotonic()
        self._first_done: float | None = None
        self._is_live = console.is_terminal and not quiet
        self._bar = Progress(SpinnerColumn(), TextColumn("videos"), BarColumn(), MofNCompleteColumn(), console=console)
        self._task = self._bar.add_task("videos", total=len(run.videos), completed=run.known)
        self._live = Live(console=console, transient=True, get_renderable=self._shown, refresh_per_second=4)

    def __enter__(self) -> RunDisplay:
        if not self._quiet:
            known = f", {self._run.known} of them labelled already" if self._run.known else ""
            say(f"{len(self._run.videos)} videos{known}")
        if self._is_live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_live:
            self._live.stop()

    def update(self, step: Step) -> None:
        """What `LabelRun.work` yields."""
        run = self._run
        if step is not None and self._first_done is None:
            self._first_done = time.monotonic()
        if getattr(step, "error", ""):
            say_error(f"{step.error}; it is left out")  # type: ignore[union-attr]
        self._bar.update(self._task, completed=run.known + run.done + run.failed)
        if not (self._quiet or self._is_live) and time.monotonic() - self._told >= _EVERY:
            self._told = time.monotonic()
            say(f"{run.known + run.done} of {len(run.videos)} videos labelled{self._figures()}")

    def _figures(self) -> str:
        """How many failed, how fast it goes and how long it will take."""
        run, figures = self._run, []
        if run.failed:
            figures.append(f"{run.failed} failed")
        finished = run.done + run.failed
        # Until the first is done models are loaded, which says nothing about the rest.
        if finished >= _FIRST and self._first_done is not None:
            seconds = max(time.monotonic() - self._first_done, 1e-3)
            per_second = (finished - 1) / seconds
            figures.append(f"{60 * run.rows / (seconds * finished / (finished - 1)):.0f} clips a minute")
            figures.append(f"about {_told((run.total - finished) / per_second)} left")
        return "".join(f", {figure}" for figure in figures)

    def _shown(self) -> Group:
        table = Table.grid(padding=(0, 2))
        workers = self._run.crew.workers if self._run.crew is not None else []
        for worker in workers[:_MOST_WORKERS]:
            table.add_row(
                Text(f"worker {worker.number}", style="dim"), Text(worker.device, style="dim"), _doing(worker)
            )
        return Group(self._bar, Text(self._figures().removeprefix(", "), style="dim"), table)


def _doing(worker: Worker) -> Text:
    if not worker.is_ready:
        return Text("loads its models", style="dim")
    if worker.job is None:
        return Text("")
    share = f"  {worker.done / worker.total:.0%}" if worker.total else ""
    return Text(f"{PurePath(worker.job.video.name).name}{share}")


def _told(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"
