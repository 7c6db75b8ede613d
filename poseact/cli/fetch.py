"""Downloads that a command's models need, told and with a bar, before its work starts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from rich.progress import Progress, TaskID

from ..zoo import Part, complete_mode, model_named, resolve_all
from .console import bytes_bar, say


def fetch_models(quiet: bool, names: Mapping[Part, str]) -> None:
    """Have every named model on this machine.

    names: for each part a name, a path, or several between commas. Raises ModelError, UsageError as
    `zoo.resolve_all` does, and ModelError, before any download, if rtmlib is missing that one of them needs.
    """
    if "detector" in names and "pose" in names:
        detector, pose = complete_mode(names["detector"], names["pose"])
        names = {**names, "detector": detector, "pose": pose}
    known = (model_named(named, part) for part, named in names.items())
    if any(model.file.endswith(".onnx") for model in known if model):
        from ..rtm import import_rtmlib

        import_rtmlib()
    with bytes_bar(quiet) as bar:
        for part, named in names.items():
            task = bar.add_task(named, total=None, visible=False)
            resolve_all(named, part, None if quiet else say, partial(_show, bar, task))
            bar.update(task, visible=False)


def _show(bar: Progress, task: TaskID, done: int, total: int | None) -> None:
    bar.update(task, completed=done, total=total, visible=True)
