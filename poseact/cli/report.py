"""`poseact report`: the page of a run, made again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import counting_bar, say, show_warnings
from .options import Debug, Quiet

Run = Annotated[Path, typer.Argument(metavar="OUT", help="The folder of a run of `poseact label`.", show_default=False)]
Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="FILE", help="The page to write.", show_default="OUT/report.html"),
]


def report(folder: Run, output: Output = None, quiet: Quiet = False, debug: Debug = False) -> None:
    """Write the page of a run: its videos, labels and failures, to look at and to correct, in one HTML file."""
    show_warnings(quiet)
    from ..errors import InputError
    from ..files import check_output
    from ..report import write_report
    from ..run_pictures import take_missing_pictures
    from ..run_store import FILE, open_run

    output = output or folder / "report.html"
    with open_run(folder) as run:
        check_output(output, [folder / FILE])
        counts = run.counts()
        if not counts["done"] and not counts["failed"]:
            raise InputError(f"nothing of the run in {folder} is done yet; go on with it by `poseact label`")
        with counting_bar(quiet) as bar:
            task = bar.add_task("pictures", total=None)
            take_missing_pictures(run, lambda done, total: bar.update(task, completed=done, total=total))
        write_report(run.labelled(), run.failed(), output, title=folder.absolute().name)
    if not quiet:
        say(f"wrote {output}")
