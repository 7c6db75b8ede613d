"""`poseact predict`: label videos."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import InputError, PoseActError, SomeInputsFailed, UsageError
from ..zoo import DEFAULT_CLASSIFIER, DEFAULT_DETECTOR, DEFAULT_POSE, FAST_CLASSIFIER
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
    Precision,
    PrecisionName,
    Quiet,
    Smooth,
    Subjects,
    Weights,
    model,
    parse_people,
    parse_weights,
)
from .report import say_error, seconds_bar, set_aside, show_warnings

if TYPE_CHECKING:
    from ..pipeline import Pipeline
    from ..sinks import Sink


class Format(str, Enum):
    table = "table"
    jsonl = "jsonl"
    csv = "csv"


Videos = Annotated[
    list[Path],
    typer.Argument(
        metavar="VIDEO|POSES.pkl...",
        help="Videos, or pickles of poses such as `poseact extract-poses` writes.",
        show_default=False,
    ),
]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="OUT", help="Write here instead of to the terminal.")
]
FormatName = Annotated[
    Format | None, typer.Option(help="Default: by OUT's ending; else a table in a terminal, JSON lines in a pipe.")
]
PerPerson = Annotated[bool, typer.Option("--per-person", help="A label for each person, not one for the clip.")]
TopK = Annotated[int, typer.Option(metavar="N", min=1, help="How many likely labels to list.")]
MinScore = Annotated[
    float | None, typer.Option(metavar="P", min=0, max=1, help="Below this score a clip gets no label.")
]


# What tells how poses are found.
_OF_PICTURES = ("detector", "pose", "crops", "boxes", "pose_fps")


def _seconds(help: str, metavar: str = "SECONDS") -> Any:
    return typer.Option(metavar=metavar, help=help, rich_help_panel="Clips")


ClassifierName = Annotated[
    str, model("A classifier bundle; of several between commas, such as joint.pt,limb.pt, the mean.")
]
Fast = Annotated[
    bool,
    typer.Option("--fast", help="The small classifier: quicker, a little less often right.", rich_help_panel="Models"),
]
WindowLength = Annotated[
    str | None, _seconds("Length of a clip. Default: what the classifier was trained on.", "SECONDS|whole")
]
Stride = Annotated[float | None, _seconds("From one clip's start to the next's.")]
Start = Annotated[float | None, _seconds("Look only from here on.")]
End = Annotated[float | None, _seconds("Look only up to here.")]


def predict(
    context: typer.Context,
    videos: Videos,
    output: Output = None,
    format: FormatName = None,
    classifier: ClassifierName = DEFAULT_CLASSIFIER,
    fast: Fast = False,
    weights: Weights = None,
    detector: DetectorName = DEFAULT_DETECTOR,
    pose: PoseName = DEFAULT_POSE,
    crops: CropsRule = Crops.auto,
    boxes: Boxes = None,
    subjects: Subjects = None,
    follow: FollowText = None,
    pose_fps: PoseFps = None,
    smooth: Smooth = 0.0,
    device: Device = "auto",
    precision: PrecisionName = Precision.auto,
    window: WindowLength = None,
    stride: Stride = None,
    start: Start = None,
    end: End = None,
    per_person: PerPerson = False,
    top_k: TopK = 5,
    min_score: MinScore = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Print who does what, when, and how sure the model is."""
    show_warnings(quiet)
    if fast and classifier != DEFAULT_CLASSIFIER:
        raise UsageError("--fast chooses the classifier, and so does --classifier; leave one of them out")
    shares = parse_weights(weights)
    people, followed = parse_people(subjects, follow)
    if len(videos) == 1:
        _check_before_loading(videos[0])
    elif followed:
        raise UsageError(f"--follow points at somebody in one video, and here are {len(videos)}; give one")
    from ..boxes import check_boxes
    from ..pipeline import Options, Pipeline
    from ..poses import is_pose_file
    from ..sinks import open_sink

    _refuse_to_overwrite([*videos, *([boxes] if boxes else [])], output)
    if boxes is not None:
        check_boxes(boxes, [video for video in videos if not is_pose_file(video)])
    chosen = FAST_CLASSIFIER if fast else classifier
    if all(is_pose_file(video) for video in videos):
        _refuse_what_is_of_pictures(context)
        fetch_models(quiet, {"classifier": chosen})
    else:
        fetch_models(quiet, {"classifier": chosen, "detector": detector, "pose": pose})
    options = Options(
        window=_window(window),
        stride=stride,
        start=start,
        end=end,
        per_person=per_person,
        subjects=people,
        rate=pose_fps,
        follow=followed,
        top_k=top_k,
        min_score=min_score,
        crops=crops.value,
        boxes=boxes,
        smoothing=smooth,
    )
    pipeline = Pipeline(
        chosen,
        detector=detector,
        pose=pose,
        device=device,
        weights=shares,
        precision=precision.value,
        options=options,
    )
    many = len(videos) > 1 or is_pose_file(videos[0])
    with open_sink(output, format.value if format else None, many, per_person) as sink:
        failed = _label_all(pipeline, videos, sink, quiet)
    if failed:
        raise SomeInputsFailed(f"{failed} of {len(videos)} videos could not be labelled; the others are done")


def _refuse_what_is_of_pictures(context: typer.Context) -> None:
    """Where only poses are read, an option about finding them would say nothing."""
    for name in _OF_PICTURES:
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":  # by its name, since Typer brings its own Click or not
            option = "--" + name.replace("_", "-")
            raise UsageError(f"{option} is about finding poses in a video, and only poses are given; leave it out")


def _window(text: str | None) -> float | Literal["whole"] | None:
    if text is None or text == "whole":
        return text  # type: ignore[return-value]
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--window takes seconds or 'whole', not {text!r}") from None


def _refuse_to_overwrite(inputs: list[Path], output: Path | None) -> None:
    if output is not None and os.path.exists(output):
        for given in inputs:
            if os.path.exists(given) and os.path.samefile(output, given):
                raise UsageError(f"-o {output} would overwrite what it is made from; choose another name")


def _check_before_loading(video: Path) -> None:
    """A wrong path is told at once, not after the seconds that torch takes to import."""
    from ..poses import is_pose_file
    from ..video import Video

    if not is_pose_file(video):
        with Video(video):
            pass


def _label_all(pipeline: Pipeline, videos: list[Path], sink: Sink, quiet: bool) -> int:
    """Label the videos in turn; returns how many could not be read, unless that is all of them."""
    failed = 0
    try:
        for video in videos:
            try:
                _label(pipeline, video, sink, quiet)
            except InputError as error:
                if len(videos) == 1:
                    raise
                say_error(str(error))
                failed += 1
        if failed == len(videos):
            raise InputError(f"none of the {failed} videos could be labelled")
    except KeyboardInterrupt as interruption:
        raise KeyboardInterrupt("; ".join(filter(None, ["interrupted", sink.kept]))) from interruption
    except PoseActError as error:
        raise type(error)("; ".join(filter(None, [str(error), sink.kept]))) from error
    return failed


def _label(pipeline: Pipeline, video: Path, sink: Sink, quiet: bool) -> None:
    with seconds_bar(quiet) as progress:
        task = progress.add_task(f"{video.name} on {pipeline.device}", total=None)
        for clip in pipeline.stream(video, lambda done, total: progress.update(task, completed=done, total=total)):
            with set_aside(progress):
                sink.write(clip)
