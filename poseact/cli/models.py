"""`poseact models`: what the registry knows."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from ..zoo import registry


def models() -> None:
    """List the models that have names: what they are for, how large, under which licence, and where they are."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("name", "part", "size", "licence", "where", "about"):
        table.add_column(title, overflow="fold", no_wrap=title != "about")
    for model in registry().values():
        place, _ = model.find()
        size = f"{model.size / 1e6:.1f} MB"
        table.add_row(model.name, ", ".join(model.parts), size, model.licence, place, model.about)
    console = Console()
    if not console.is_terminal:
        console.width = 160
    console.print(table)
