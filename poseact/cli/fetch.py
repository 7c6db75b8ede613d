"""Downloads that a command's models need, told and with a bar, before its work starts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from rich.progress import Progress, TaskID

from ..zoo import Part, resolve_all
from .report import bytes_bar, say


def fetch_models(quiet: bool, names: Mapping[Part, str]) -> None:
    """Have every named model on this machine.

    names: for each part a name, a path, or several between commas. Raises ModelError, UsageError as
    `zoo.resolve_all` does.
    """
    with bytes_bar(quiet) as bar:
        for part, named in names.items():
            task = bar.add_task(named, total=None, visible=False)
            resolve_all(named, part, None if quiet else say, partial(_show, bar, task))
            bar.update(task, visible=False)


def _show(bar: Progress, task: TaskID, done: int, total: int | None) -> None:
    bar.update(task, completed=done, total=total, visible=True)
