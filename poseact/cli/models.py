"""`poseact models`: what the registry knows, and the networks that can be trained."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ..zoo import registry

# Rounding in the paper makes up to 3 % (1.07 as 1.1); what differs by more than this is told to.
_ROUNDING = 0.05

Nets = Annotated[bool, typer.Option("--nets", help="List the networks instead, with what each costs, as measured.")]


def models(nets: Nets = False) -> None:
    """List the models that have names: what they are for, how large, under which licence, and where they are."""
    table = _net_table() if nets else _model_table()
    console = Console()
    if not console.is_terminal:
        console.width = 160
    console.print(table)


def _model_table() -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("name", "part", "size", "licence", "where", "about"):
        table.add_column(title, overflow="fold", no_wrap=title != "about")
    for model in registry().values():
        place, _ = model.find()
        table.add_row(model.name, ", ".join(model.parts), model.size_told, model.licence, place, model.about)
    return table


def _net_table() -> Table:
    from ..nets import NETS
    from ..nets.cost import CHANNELS, measure

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("network", "input", "parameters", "paper", "multiply-adds", "paper", "note"):
        number = title in ("parameters", "paper", "multiply-adds")
        table.add_column(title, overflow="fold", no_wrap=title != "note", justify="right" if number else "left")
    for net in NETS.values():
        parameters, flops = measure(net)
        shape = "×".join(str(n) for n in (CHANNELS, net.clip_len, *net.size))
        notes = [net.note] if net.note else []
        if abs(flops / net.paper_flops - 1) > _ROUNDING:
            notes.append(f"counts {_giga(flops)}, not the paper's {_giga(net.paper_flops)}")
        counted = (_million(parameters), _million(net.paper_params), _giga(flops), _giga(net.paper_flops))
        table.add_row(net.name, shape, *counted, "; ".join(notes))
    return table


def _million(parameters: float) -> str:
    return f"{parameters / 1e6:.2f} M" if parameters < 1e6 else f"{parameters / 1e6:.1f} M"


def _giga(flops: float) -> str:
    return f"{flops / 1e9:.2f} G" if flops < 2e9 else f"{flops / 1e9:.1f} G"
