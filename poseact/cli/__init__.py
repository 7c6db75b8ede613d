"""The command line: a thin shell over the package's public functions."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import sys
from typing import Annotated, NoReturn

import typer

from .. import __version__
from ..errors import OutputError
from ..memory import keep_freed_memory
from . import doctor, evaluate, export, extract_poses, label, models, predict, report, train
from .console import reported, tell
from .stdout import watch_standard_output

app = typer.Typer(
    name="poseact",
    help="Video in, action labels out, by way of human pose (PoseConv3D).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("predict")(reported(predict.predict))
app.command("label")(reported(label.label))
app.command("report")(reported(report.report))
app.command("extract-poses")(reported(extract_poses.extract_poses))
app.command("train")(reported(train.train))
app.command("evaluate")(reported(evaluate.evaluate))
app.command("export")(reported(export.export))
app.command("models")(reported(models.models))
app.command("doctor")(reported(doctor.doctor))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"poseact {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    # GNU OpenMP has its threads spin long while they wait, which beside other work makes torch several times slower.
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    # While libraries are imported nearly nothing becomes garbage, but the search for it takes a tenth of the time.
    gc.set_threshold(50_000)
    keep_freed_memory()
    watch_standard_output()
    code = 0
    try:
        app(prog_name="poseact")
    except SystemExit as exit:
        code = exit.code if isinstance(exit.code, int) else int(exit.code is not None)
    except OutputError as error:  # of what no command prints, but Typer: help and version
        tell(error)
        code = error.exit_code
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End the process without taking Python down piece by piece, which with torch takes a second."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
