"""`poseact extract-poses`: the poses of many videos in one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import PoseActError, UsageError
from ..zoo import DEFAULT_DETECTOR, DEFAULT_POSE
from .console import say, say_error, show_warnings, videos_bar
from .fetch import fetch_models
from .options import (
    Boxes,
    Crops,
    CropsRule,
    Debug,
    DetectorName,
    Device,
    FollowText,
    PoseFps,
    PoseName,
    Quiet,
    Search,
    SearchRule,
    Smooth,
    Subjects,
    parse_people,
)

if TYPE_CHECKING:
    from ..batch import Extraction

Videos = Annotated[
    list[str],
    typer.Argument(
        metavar="VIDEO|FOLDER|GLOB...",
        help="Videos, folders to be searched to the bottom, patterns such as 'day*/*.mp4'.",
        show_default=False,
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="Where to write: .pkl in PYSKL's format, or .csv, .json or .jsonl with a row for each person and frame. "
        "What is there already is never written over, but gone on from if you say --resume; the very same "
        "command given again finds all done.",
        show_default=False,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with what an earlier run left, complete or not: only videos that are new or have changed are "
        "looked at, and labels and splits are given anew.",
    ),
]
FromFolders = Annotated[
    bool,
    typer.Option(
        "--labels-from-folders",
        help="The folders right below FOLDER are the classes; of a video named itself, or right in FOLDER, the "
        "folder it lies in.",
        rich_help_panel="Labels and splits",
    ),
]
LabelFile = Annotated[
    Path | None,
    typer.Option(
        metavar="CSV",
        help="A table with the columns video and label. A video is named by its path, or by the file's name alone "
        "where that tells it. Those without a row are unlabelled (-1).",
        rich_help_panel="Labels and splits",
    ),
]
Split = Annotated[
    str,
    typer.Option(
        metavar="NAME:SHARE,...",
        help="About so large a share of each class goes into each split, by a hash of the video's name: a video that "
        "is added later moves no other. Videos without people, and among labelled ones those without a label, "
        "are in no split.",
        rich_help_panel="Labels and splits",
    ),
]


def extract_poses(
    videos: Videos,
    output: Output,
    detector: DetectorName = DEFAULT_DETECTOR,
    pose: PoseName = DEFAULT_POSE,
    crops: CropsRule = Crops.auto,
    search: SearchRule = Search.auto,
    device: Device = "auto",
    boxes: Boxes = None,
    subjects: Subjects = None,
    follow: FollowText = None,
    pose_fps: PoseFps = None,
    smooth: Smooth = 0.0,
    labels_from_folders: FromFolders = False,
    label_file: LabelFile = None,
    split: Split = "train:1",
    resume: Resume = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write the poses of videos into one file, to train on or to look at; what is done is kept when interrupted.

    Class names go to OUT_labels.txt beside a pickle, where `poseact train` finds them.
    """
    show_warnings(quiet)
    from ..batch import Extraction, ExtractionJob
    from ..extract import PoseStages
    from ..splits import parse_shares

    people, followed = parse_people(subjects, follow)
    job = ExtractionJob(
        inputs=videos,
        output=output,
        subjects=people,
        follow=followed,
        rate=pose_fps,
        labels=_labels(labels_from_folders, label_file),
        shares=parse_shares(split),
        resume=resume,
    )
    fetch_models(quiet, {"detector": detector, "pose": pose})
    stages = PoseStages(
        detector, pose, device=device, crops=crops.value, boxes=boxes, smoothing=smooth, search=search.value
    )
    extraction = Extraction(job, stages)
    if extraction.is_done:
        if not quiet:
            say(f"{output} is complete already; nothing to do")
        return
    try:
        _extract(extraction, quiet)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted{_kept(extraction)}") from None
    except PoseActError as error:
        raise type(error)(f"{error}{_kept(extraction)}") from error


def _labels(from_folders: bool, table: Path | None) -> Path | Literal["folders"] | None:
    if from_folders and table:
        raise UsageError("--labels-from-folders and --label-file both give labels; leave one of them out")
    return "folders" if from_folders else table


def _kept(extraction: Extraction) -> str:
    count = len(extraction.store.begun)
    return f"; {count} of {len(extraction.videos)} videos are kept, and --resume goes on from there" if count else ""


def _extract(extraction: Extraction, quiet: bool) -> None:
    names = [video.name for video in extraction.videos]
    with videos_bar(quiet) as progress:
        whole = progress.add_task("videos", total=len(names), unit="")
        inside = progress.add_task(names[0], total=None, unit=" s")

        def seconds(done: float, total: float | None) -> None:
            progress.update(inside, completed=round(done, 1), total=total)

        for number, done in enumerate(extraction.run(seconds), 1):
            if done.error is not None:
                say_error(f"{done.error}; it is left out")
            elif progress.disable and not quiet:  # a log file rather than a terminal
                found = f"{done.people} {'person' if done.people == 1 else 'people'}"
                found += ", known already" if done.known else ""
                say(f"video {number} of {len(names)}, {done.video.name}: {found}")
            progress.update(whole, completed=number)
            if number < len(names):
                progress.reset(inside, total=None, description=names[number])
