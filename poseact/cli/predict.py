"""`poseact predict`: label videos."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError, PoseActError, SomeInputsFailed, UsageError
from .chain import Chain
from .console import SourcesBar, say_error, show_warnings
from .fetch import fetch_models
from .groups import takes
from .options import Debug, Device, FollowText, Quiet, parse_people
from .profile import say_latency, say_profile
from .save_video import Drawing

if TYPE_CHECKING:
    from ..pipeline import Pipeline
    from ..segments import RowRule
    from ..sinks import Sink


class Format(str, Enum):
    table = "table"
    jsonl = "jsonl"
    csv = "csv"
    srt = "srt"
    vtt = "vtt"
    elan = "elan"
    parquet = "parquet"


Videos = Annotated[
    list[str],
    typer.Argument(
        metavar="VIDEO|POSES.pkl|LIVE...",
        help="Videos, or pickles of poses such as `poseact extract-poses` writes, or something live: the number of a "
        "camera (0), an address (rtsp://...), or - for standard input.",
        show_default=False,
    ),
]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="OUT", help="Write here instead of to the terminal.")
]
FormatName = Annotated[
    Format | None, typer.Option(help="Default: by OUT's ending; else a table in a terminal, JSON lines in a pipe.")
]
# What tells how poses are found.
_OF_PICTURES = ("detector", "pose", "crops", "search", "boxes", "pose_fps", "sampling", "realtime", "backend")


Realtime = Annotated[
    bool,
    typer.Option("--realtime", help="Drop frames rather than fall behind; cameras always do.", rich_help_panel="Speed"),
]
AtOnce = Annotated[
    int, typer.Option(metavar="N", min=1, help="Work on so many videos at a time.", rich_help_panel="Speed")
]
Profile = Annotated[
    bool,
    typer.Option(
        "--profile", help="Tell at the end what each stage did, and which one limits.", rich_help_panel="Speed"
    ),
]
SaveVideo = Annotated[
    Path | None,
    typer.Option(
        metavar="OUT.mp4|FOLDER",
        help="Write the video with skeletons, ids and labels drawn into it; of several videos, each into this folder. "
        "Looks at all frames unless --sampling sparse.",
        rich_help_panel="Results",
    ),
]


@takes(Chain)
def predict(
    context: typer.Context,
    videos: Videos,
    chain: Chain,
    output: Output = None,
    format: FormatName = None,
    save_video: SaveVideo = None,
    follow: FollowText = None,
    device: Device = "auto",
    realtime: Realtime = False,
    at_once: AtOnce = 1,
    profile: Profile = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Print who does what, when, and how sure the model is."""
    show_warnings(quiet)
    models, rule = chain.models(), chain.rows()
    parse_people(chain.subjects, follow)  # which is quicker told than that a video is missing
    if len(videos) == 1:
        _check_before_loading(videos[0])
    elif follow:
        raise UsageError(f"--follow points at somebody in one video, and here are {len(videos)}; give one")
    from ..boxes import check_boxes
    from ..pipeline import Pipeline
    from ..poses import is_pose_file
    from ..sinks import check_sources, open_sink

    check_sources(output, format.value if format else None, len(videos))
    options = chain.options(follow, save_video is not None, realtime=realtime)
    _refuse_to_overwrite([*videos, *([chain.boxes] if chain.boxes else [])], output)
    if chain.boxes is not None:
        check_boxes(chain.boxes, [Path(video) for video in videos if not is_pose_file(video)])
    drawing = None if save_video is None else Drawing(videos, save_video)
    if all(is_pose_file(video) for video in videos):
        _refuse_what_is_of_pictures(context)
        fetch_models(quiet, {"classifier": models.classifier})
    else:
        fetch_models(quiet, {"classifier": models.classifier, "detector": models.detector, "pose": models.pose})
    pipeline = Pipeline.of(models, device, options)
    if rule.only is not None:
        rule.check(pipeline.classifier.info)
    many = len(videos) > 1 or is_pose_file(videos[0])
    try:
        with open_sink(output, format.value if format else None, many, chain.per_person) as sink:
            failed = _label_all(pipeline, videos, sink, rule, at_once, quiet, drawing)
        if drawing is not None:
            drawing.draw(quiet)
    finally:  # a camera's labels end with Ctrl-C
        if pipeline.latencies and not quiet:
            say_latency(pipeline.latencies)
        if profile:
            say_profile(pipeline)
    if failed:
        raise SomeInputsFailed(f"{failed} of {len(videos)} videos could not be labelled; the others are done")


def _refuse_what_is_of_pictures(context: typer.Context) -> None:
    """Where only poses are read, an option about finding them would say nothing."""
    for name in _OF_PICTURES:
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":  # by its name, since Typer brings its own Click or not
            option = "--" + name.replace("_", "-")
            raise UsageError(f"{option} is about finding poses in a video, and only poses are given; leave it out")


def _refuse_to_overwrite(inputs: Sequence[str | Path], output: Path | None) -> None:
    if output is not None and os.path.exists(output):
        for given in inputs:
            if os.path.exists(given) and os.path.samefile(output, given):
                raise UsageError(f"-o {output} would overwrite what it is made from; choose another name")


def _check_before_loading(video: str) -> None:
    """A wrong path is told at once, not after the seconds that torch takes to import."""
    from ..addresses import address_of
    from ..poses import is_pose_file
    from ..probe import check_moves
    from ..video import Video

    if address_of(video) is None and not is_pose_file(video):
        with Video(video):
            check_moves(Path(video))


def _label_all(
    pipeline: Pipeline,
    videos: list[str],
    sink: Sink,
    rule: RowRule,
    at_once: int,
    quiet: bool,
    drawing: Drawing | None,
) -> int:
    """Label the videos; returns how many could not be read, unless that is all of them."""
    failed: list[int] = []

    def tell(which: int, error: InputError) -> None:
        failed.append(which)
        progress.finish(which)
        say_error(str(error))

    try:
        with SourcesBar([Path(video).name for video in videos], pipeline.device, quiet) as progress:
            refuse = tell if len(videos) > 1 else None
            collect = None if drawing is None else drawing.collect
            with closing(pipeline.stream_all(videos, progress.update, refuse, at_once, collect)) as clips:
                for row in rule.rows(clips, pipeline.classifier.info):
                    with progress.set_aside():
                        sink.write(row)
                    if drawing is not None:
                        drawing.add(row)
        if failed and len(failed) == len(videos):
            raise InputError(f"none of the {len(videos)} videos could be labelled")
    except KeyboardInterrupt as interruption:
        raise KeyboardInterrupt("; ".join(filter(None, ["interrupted", sink.kept]))) from interruption
    except PoseActError as error:
        raise type(error)("; ".join(filter(None, [str(error), sink.kept]))) from error
    return len(failed)
