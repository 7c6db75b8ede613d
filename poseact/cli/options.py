"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

DEVICES = "auto|cpu|cuda[:N]|mps"

Device = Annotated[str, typer.Option(metavar=DEVICES, help="Where the networks run.", rich_help_panel="Models")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no warnings.")]
Debug = Annotated[bool, typer.Option("--debug", help="On an error, show the traceback.")]
