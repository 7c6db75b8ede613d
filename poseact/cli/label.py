"""`poseact label`: thousands of videos, overnight."""

from __future__ import annotations

import os
from contextlib import closing
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError, PoseActError, SomeInputsFailed, UsageError
from .chain import Chain
from .console import say, show_warnings
from .fetch import fetch_models
from .groups import takes
from .options import DEVICES, Debug, Quiet

if TYPE_CHECKING:
    from ..label import LabelRun

Videos = Annotated[
    list[str],
    typer.Argument(
        metavar="FOLDER|LIST.txt|GLOB|VIDEO...",
        help="Folders to be searched to the bottom, lists of videos (.txt, one a line; - for standard input), patterns "
        "such as 'day*/*.mp4', videos.",
        show_default=False,
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="The folder for all results. If a run was interrupted, the same command goes on with it.",
        show_default=False,
    ),
]
Formats = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="F,...",
        help="jsonl, csv, parquet: one table of all labels; srt, vtt, elan: a file for each video.",
        rich_help_panel="Results",
    ),
]
SaveVideo = Annotated[
    bool,
    typer.Option(
        "--save-video",
        help="Also write each video with skeletons, ids and labels drawn into it.",
        rich_help_panel="Results",
    ),
]
Report = Annotated[
    bool,
    typer.Option("--report", help="Also write report.html, a page to look at and correct.", rich_help_panel="Results"),
]


class By(str, Enum):
    label = "label"
    labels = "labels"


SortInto = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Link each video into FOLDER/LABEL/ at the end.", rich_help_panel="Sorting"),
]
ByName = Annotated[
    By | None,
    typer.Option(
        show_default="label",
        help="label: where most of its time belongs; labels: into the folder of each that it has.",
        rich_help_panel="Sorting",
    ),
]
Copy = Annotated[bool, typer.Option("--copy", help="Sort copies, not links.", rich_help_panel="Sorting")]
Workers = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Worker processes in all, each with the models of its own.",
        show_default="what suits the devices",
        rich_help_panel="The run",
    ),
]
Devices = Annotated[
    str,
    typer.Option(
        metavar="DEVICE,...",
        help=f"Where the networks run: {DEVICES}; or several GPUs.",
        rich_help_panel="The run",
    ),
]
Retry = Annotated[
    int,
    typer.Option(metavar="N", min=0, help="Try a video again whose worker crashed or hung.", rich_help_panel="The run"),
]
Timeout = Annotated[
    float,
    typer.Option(
        metavar="SECONDS", min=1, help="Give a video up that does not get on for so long.", rich_help_panel="The run"
    ),
]
Restart = Annotated[
    bool,
    typer.Option(
        "--restart/--resume",
        help="Begin anew and remove what is there, or go on with it.",
        rich_help_panel="The run",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only print which videos would be labelled.", rich_help_panel="The run")
]


@takes(Chain)
def label(
    videos: Videos,
    output: Output,
    chain: Chain,
    format: Formats = "jsonl,csv",
    save_video: SaveVideo = False,
    report: Report = False,
    sort_into: SortInto = None,
    by: ByName = None,
    copy: Copy = False,
    workers: Workers = None,
    devices: Devices = "auto",
    retry: Retry = 1,
    timeout: Timeout = 120.0,
    restart: Restart = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Label thousands of videos; whatever is interrupted goes on, whatever fails is listed."""
    show_warnings(quiet)
    models = chain.models()
    for option, is_given in (("--copy", copy), ("--by", by is not None)):
        if is_given and sort_into is None:
            raise UsageError(f"{option} is of --sort-into; add it")
    from ..label import LabelRun, RunPlan
    from ..labeller import LabelSettings

    settings = LabelSettings(
        models=models,
        options=chain.options(save_video=save_video, patience=timeout),
        rows=chain.rows(),
        pictures=report,
    )
    fetch_models(quiet, {"classifier": models.classifier, "detector": models.detector, "pose": models.pose})
    run = LabelRun(
        RunPlan(
            inputs=videos,
            output=output,
            settings=settings,
            formats=_names(format),
            save_video=save_video,
            report=report,
            devices=_names(devices),
            workers=workers,
            retries=retry,
            timeout=timeout,
            restart=restart,
        )
    )
    if dry_run:
        _say_plan(run)
        return
    _work(run, quiet)
    if sort_into is not None:
        _sort(run, sort_into, by or By.label, copy, quiet)
    _tell_end(run, quiet)


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _say_plan(run: LabelRun) -> None:
    for video in run.undone:
        typer.echo(os.fsencode(video.path))  # names of files need not be text
    left = len(run.undone)
    say(
        f"{left} of {len(run.videos)} videos would be labelled into {run.plan.output}; {run.known} are labelled already"
    )


def _work(run: LabelRun, quiet: bool) -> None:
    from .run_display import RunDisplay

    try:
        with RunDisplay(run, quiet) as display, closing(run.work()) as steps:
            for step in steps:
                display.update(step)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted{_kept(run)}") from None
    except PoseActError as error:
        raise type(error)(f"{error}{_kept(run)}") from error


def _kept(run: LabelRun) -> str:
    done = run.known + run.done
    return f"; {done} of {len(run.videos)} videos are labelled, and the same command goes on from there" if done else ""


def _sort(run: LabelRun, folder: Path, by: By, copy: bool, quiet: bool) -> None:
    from ..run_store import open_run
    from ..sorting import sort_videos

    with open_run(run.plan.output) as store:
        count = sort_videos(store.labelled(with_moments=False), folder, by.value, copy)
    if not quiet:
        say(f"{count} videos are sorted into {folder}")


def _tell_end(run: LabelRun, quiet: bool) -> None:
    if not quiet:
        say(f"{run.known + run.done} of {len(run.videos)} videos are labelled; see {run.plan.output}")
    if not run.failed:
        return
    reasons = run.plan.output / "failures.csv"
    if run.known + run.done == 0:
        raise InputError(f"none of the {len(run.videos)} videos could be labelled; {reasons} tells why")
    raise SomeInputsFailed(f"{run.failed} of {len(run.videos)} videos could not be labelled; {reasons} tells why")
