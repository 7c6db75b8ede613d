"""`poseact label` as a whole: how fast, and what kills, broken files and 2,000 videos do to it.

    python tests/benchmarks/labelling.py speed [--videos ../shared/videos] [--clips 200] [--loop 40]
    python tests/benchmarks/labelling.py kills [--kills 20]
    python tests/benchmarks/labelling.py broken [--count 280]
    python tests/benchmarks/labelling.py memory [--count 2000]

`speed` labels short clips, cut out of the videos of a folder, by one `poseact label`, with one worker and with two, by
one `poseact predict` of all, and by a shell loop of `poseact predict` over some of them. The others run the real
command, with its worker processes, on tiny videos with boxes from files and networks of a few operators.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).parents[1]))

import typer
from labelling_faults import broken_runs, kill_runs, memory_run
from labelling_speed import cut_clips, speed_runs
from rich.console import Console
from rich.table import Table

app = typer.Typer(help=__doc__, rich_markup_mode=None, add_completion=False)
console = Console(width=120)

SHARED_VIDEOS = Path(__file__).parents[3] / "shared" / "videos"


@app.command()
def speed(
    videos: Annotated[Path, typer.Option(help="Real videos to cut clips out of.")] = SHARED_VIDEOS,
    clips: Annotated[int, typer.Option(help="How many to cut.")] = 200,
    loop: Annotated[int, typer.Option(help="Over how many of them the shell loop goes.")] = 40,
    rounds: Annotated[int, typer.Option(help="All of it so often, in turn.")] = 1,
    seed: int = 0,
) -> None:
    """Clips a minute, against `poseact predict` in a shell loop and in one call."""
    with tempfile.TemporaryDirectory() as folder:
        cut = cut_clips(sorted(path for path in videos.iterdir() if path.is_file()), Path(folder), clips, seed)
        console.print(f"{len(cut)} clips cut")
        table = Table(
            "command", "clips", "seconds", "clips/min", "against the loop", "labels differ", "scores differ by"
        )
        for timed in speed_runs(cut, loop, rounds):
            console.print(f"{timed.name}: {timed.seconds:.1f} s")
            table.add_row(
                timed.name,
                f"{timed.clips}",
                f"{timed.seconds:.1f}",
                f"{timed.rate:.1f}",
                f"{timed.against_loop:.2f}×",
                f"{timed.labels_differ}",
                f"{timed.scores_differ:.4f}",
            )
        console.print(table)


@app.command()
def kills(
    kills: Annotated[int, typer.Option(help="How often the whole process group is killed.")] = 20,
    count: Annotated[int, typer.Option(help="Videos.")] = 60,
    seconds: Annotated[float, typer.Option(help="Length of each video.")] = 6.0,
    seed: int = 0,
) -> None:
    """kill -9 of the whole process group at random moments, resumed each time."""
    table = Table("run", "killed at", "videos done by then", "exit code", "processes left", "wrong")
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, (killed, troubles) in enumerate(kill_runs(Path(folder), kills, count, seconds, seed)):
            moments = " ".join(f"{moment:.2f}" for moment in killed.moments) or "-"
            bad += len(troubles) + killed.left + (killed.code != 0)
            name = "undisturbed" if number == 0 else f"{number}"
            table.add_row(
                name, moments, f"{killed.done}", f"{killed.code}", f"{killed.left}", "; ".join(troubles) or "-"
            )
    console.print(table)
    raise typer.Exit(1 if bad else 0)


@app.command()
def broken(
    count: Annotated[int, typer.Option(help="Videos, of which one in twenty is broken.")] = 280, seed: int = 0
) -> None:
    """Broken files of many kinds, then a worker that is killed and one that is stopped."""
    table = Table("run", "seconds", "exit code", "labelled", "failed", "processes left", "wrong")
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, run in enumerate(broken_runs(Path(folder), count, seed)):
            bad += len(run.troubles) + run.left
            values = (f"{run.seconds:.1f}", f"{run.code}", f"{run.labelled}", f"{len(run.failures)}", f"{run.left}")
            table.add_row(run.name, *values, "; ".join(run.troubles) or "-")
            for name, error in run.failures.items() if number == 0 else ():
                console.print(f"  {name}: {error}", highlight=False)
    console.print(table)
    raise typer.Exit(1 if bad else 0)


@app.command()
def memory(count: Annotated[int, typer.Option(help="Tiny videos.")] = 2000, workers: int = 2) -> None:
    """Resident memory of the parent and of the workers over many videos."""
    table = Table("process", "MB at a quarter", "half", "the end", "MB for 1,000 videos more")
    with tempfile.TemporaryDirectory() as folder:
        for name, growth in memory_run(Path(folder), count, workers).items():
            quarter, half, end = growth.marks
            table.add_row(name, f"{quarter:.0f}", f"{half:.0f}", f"{end:.0f}", f"{growth.slope:+.1f}")
    console.print(table)


if __name__ == "__main__":
    app()
