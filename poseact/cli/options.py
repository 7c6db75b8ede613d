"""Options that several commands share."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Literal

import typer

from ..errors import UsageError

DEVICES = "auto|cpu|cuda[:N]|mps"


class Precision(str, Enum):
    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


Device = Annotated[str, typer.Option(metavar=DEVICES, help="Where the networks run.", rich_help_panel="Models")]
PrecisionName = Annotated[
    Precision, typer.Option(help="What the classifier computes in; auto: the fastest here.", rich_help_panel="Models")
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="W,W", help="Of each classifier in the average. Default: all the same.", rich_help_panel="Models"
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no warnings.")]
Debug = Annotated[bool, typer.Option("--debug", help="On an error, show the traceback.")]


def parse_subjects(text: str | None) -> int | Literal["all"] | None:
    """The count of `--subjects`. Raises UsageError."""
    if text is None or text == "all":
        return text  # type: ignore[return-value]
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--subjects takes a count or 'all', not {text!r}")
    return int(text)


def parse_weights(text: str | None) -> list[float] | None:
    """The numbers of `--weights`. Raises UsageError."""
    try:
        return None if text is None else [float(number) for number in text.split(",")]
    except ValueError:
        raise UsageError(f"--weights takes numbers separated by commas, not {text!r}") from None
