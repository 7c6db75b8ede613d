"""`poseact doctor`: what a bug report needs, and what is wrong on this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .console import show_warnings, stderr

if TYPE_CHECKING:
    from ..doctor import Finding

_COLOURS = {"ok": "green", "warning": "bold yellow", "broken": "bold red"}

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, to be pasted into a bug report.")]


def doctor(as_json: AsJson = False) -> None:
    """Look for what is wrong on this machine, and say how to mend it. Exit code 1 if something is broken."""
    show_warnings(quiet=True)  # the findings say it
    from ..doctor import examine

    with stderr().status("looking at the machine") as status:
        findings = examine(lambda check: status.update(f"looking at: {check}"))
    healthy = all(finding.status != "broken" for finding in findings)
    if as_json:
        typer.echo(json.dumps({"healthy": healthy, "findings": [asdict(finding) for finding in findings]}, indent=1))
    elif (console := Console(highlight=False)).is_terminal:
        _print_table(findings, console)
    else:
        _print_lines(findings)
    if not healthy:
        raise typer.Exit(1)


def _print_table(findings: Sequence[Finding], console: Console) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("part", "name", "", "what was seen"):
        table.add_column(title, overflow="fold", no_wrap=title != "what was seen")
    for finding in findings:
        status = f"[{_COLOURS[finding.status]}]{finding.status}[/]"
        table.add_row(finding.part, escape(finding.name), status, escape(finding.text))
    console.print(table)
    for finding in findings:
        if finding.remedy:  # below the table, so that a command is one line to copy
            text = f"\n[{_COLOURS[finding.status]}]{finding.part}, {escape(finding.name)}:[/] {escape(finding.remedy)}"
            console.print(text, soft_wrap=True)


def _print_lines(findings: Sequence[Finding]) -> None:
    for finding in findings:
        typer.echo(f"{finding.status:<8}{finding.part}, {finding.name}: {finding.text}")
        if finding.remedy:
            typer.echo(f"        remedy: {finding.remedy}")
