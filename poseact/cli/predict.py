"""`poseact predict`: label videos."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import InputError, PoseActError, SomeInputsFailed, UsageError
from ..zoo import DEFAULT_CLASSIFIER, DEFAULT_DETECTOR, DEFAULT_POSE, FAST_CLASSIFIER
from .fetch import fetch_models
from .options import (
    Backend,
    BackendName,
    Boxes,
    Crops,
    CropsRule,
    Debug,
    DetectorName,
    Device,
    FollowText,
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
from .profile import say_latency, say_profile
from .report import SourcesBar, say_error, show_warnings

if TYPE_CHECKING:
    from ..clips import ClipLabel
    from ..pipeline import Pipeline
    from ..segments import SegmentRule
    from ..sinks import Sink


class Format(str, Enum):
    table = "table"
    jsonl = "jsonl"
    csv = "csv"


class Sampling(str, Enum):
    sparse = "sparse"
    dense = "dense"


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
PerPerson = Annotated[bool, typer.Option("--per-person", help="A label for each person, not one for the clip.")]
TopK = Annotated[int, typer.Option(metavar="N", min=1, help="How many likely labels to list.")]
MinScore = Annotated[
    float | None, typer.Option(metavar="P", min=0, max=1, help="Below this score a clip gets no label.")
]


Only = Annotated[
    str | None, typer.Option(metavar="LABEL,...", help="Print nothing but these labels.", rich_help_panel="Results")
]


# What tells how poses are found.
_OF_PICTURES = ("detector", "pose", "crops", "boxes", "pose_fps", "sampling", "realtime", "backend")


def _seconds(help: str, metavar: str = "SECONDS", panel: str = "Clips", **more: Any) -> Any:
    return typer.Option(metavar=metavar, help=help, rich_help_panel=panel, **more)


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
Segments = Annotated[
    bool,
    typer.Option(
        "--segments",
        help="Merge consecutive clips of the same label: one row from when it begins to when it ends.",
        rich_help_panel="Results",
    ),
]
MinLength = Annotated[float | None, _seconds("Leave out shorter segments.", panel="Results", min=0)]
PoseRate = Annotated[
    str | None,
    typer.Option(
        "--pose-fps",
        metavar="F|all",
        help="Estimate poses in no more than F frames a second; all: in every frame that is of use.",
        show_default="20",
        rich_help_panel="Speed",
    ),
]
SamplingName = Annotated[
    Sampling,
    typer.Option(help="Look only at frames that some clip samples, or at all.", rich_help_panel="Speed"),
]
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
    smooth: Smooth = 0.0,
    device: Device = "auto",
    backend: BackendName = Backend.auto,
    precision: PrecisionName = Precision.auto,
    window: WindowLength = None,
    stride: Stride = None,
    start: Start = None,
    end: End = None,
    pose_fps: PoseRate = None,
    sampling: SamplingName = Sampling.sparse,
    realtime: Realtime = False,
    at_once: AtOnce = 1,
    profile: Profile = False,
    per_person: PerPerson = False,
    top_k: TopK = 5,
    min_score: MinScore = None,
    segments: Segments = False,
    min_length: MinLength = None,
    only: Only = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Print who does what, when, and how sure the model is."""
    show_warnings(quiet)
    if fast and classifier != DEFAULT_CLASSIFIER:
        raise UsageError("--fast chooses the classifier, and so does --classifier; leave one of them out")
    if min_length is not None and not segments:
        raise UsageError("--min-length is of segments; add --segments")
    shares = parse_weights(weights)
    people, followed = parse_people(subjects, follow)
    rule_of_segments = _segment_rule(min_length) if segments else None
    if len(videos) == 1:
        _check_before_loading(videos[0])
    elif followed:
        raise UsageError(f"--follow points at somebody in one video, and here are {len(videos)}; give one")
    from ..boxes import check_boxes
    from ..options import Options
    from ..pipeline import Pipeline
    from ..poses import is_pose_file
    from ..sinks import open_sink

    _refuse_to_overwrite([*videos, *([boxes] if boxes else [])], output)
    if boxes is not None:
        check_boxes(boxes, [Path(video) for video in videos if not is_pose_file(video)])
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
        sampling=sampling.value,
        rate=_pose_rate(pose_fps),
        follow=followed,
        top_k=top_k,
        min_score=min_score,
        crops=crops.value,
        boxes=boxes,
        smoothing=smooth,
        realtime=realtime,
    )
    pipeline = Pipeline(
        chosen,
        detector=detector,
        pose=pose,
        device=device,
        weights=shares,
        precision=precision.value,
        backend=backend.value,
        options=options,
    )
    wanted = _labels_named(only, pipeline)
    many = len(videos) > 1 or is_pose_file(videos[0])
    try:
        with open_sink(output, format.value if format else None, many, per_person) as sink:
            failed = _label_all(pipeline, videos, sink, rule_of_segments, wanted, at_once, quiet)
    finally:  # a camera's labels end with Ctrl-C
        if pipeline.latencies and not quiet:
            say_latency(pipeline.latencies)
        if profile:
            say_profile(pipeline)
    if failed:
        raise SomeInputsFailed(f"{failed} of {len(videos)} videos could not be labelled; the others are done")


def _segment_rule(min_length: float | None) -> SegmentRule:
    from ..segments import SegmentRule

    return SegmentRule() if min_length is None else SegmentRule(min_length=min_length)


def _labels_named(only: str | None, pipeline: Pipeline) -> frozenset[str] | None:
    if only is None:
        return None
    from ..clips import choose_labels

    info = pipeline.classifier.info
    return choose_labels([name.strip() for name in only.split(",")], info.labels, info.aliases)


def _pose_rate(text: str | None) -> float | None:
    from ..options import DEFAULT_RATE

    if text is None or text == "all":
        return DEFAULT_RATE if text is None else None
    return _number(text, "--pose-fps takes frames a second or 'all'")


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
    return _number(text, "--window takes seconds or 'whole'")


def _number(text: str, rule: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{rule}, not {text!r}") from None


def _refuse_to_overwrite(inputs: Sequence[str | Path], output: Path | None) -> None:
    if output is not None and os.path.exists(output):
        for given in inputs:
            if os.path.exists(given) and os.path.samefile(output, given):
                raise UsageError(f"-o {output} would overwrite what it is made from; choose another name")


def _check_before_loading(video: str) -> None:
    """A wrong path is told at once, not after the seconds that torch takes to import."""
    from ..addresses import address_of
    from ..poses import is_pose_file
    from ..video import Video

    if address_of(video) is None and not is_pose_file(video):
        with Video(video):
            pass


def _label_all(
    pipeline: Pipeline,
    videos: list[str],
    sink: Sink,
    rule: SegmentRule | None,
    wanted: frozenset[str] | None,
    at_once: int,
    quiet: bool,
) -> int:
    """Label the videos; returns how many could not be read, unless that is all of them."""
    failed: list[int] = []

    def tell(which: int, error: InputError) -> None:
        failed.append(which)
        progress.finish(which)
        say_error(str(error))

    try:
        with SourcesBar([Path(video).name for video in videos], pipeline.device, quiet) as progress:
            stream = pipeline.stream_all(videos, progress.update, tell if len(videos) > 1 else None, at_once)
            with closing(stream) as clips:
                for clip in _chosen(clips, rule, wanted):
                    with progress.set_aside():
                        sink.write(clip)
        if failed and len(failed) == len(videos):
            raise InputError(f"none of the {len(videos)} videos could be labelled")
    except KeyboardInterrupt as interruption:
        raise KeyboardInterrupt("; ".join(filter(None, ["interrupted", sink.kept]))) from interruption
    except PoseActError as error:
        raise type(error)("; ".join(filter(None, [str(error), sink.kept]))) from error
    return len(failed)


def _chosen(clips: Iterator[ClipLabel], rule: SegmentRule | None, wanted: frozenset[str] | None) -> Iterator[ClipLabel]:
    from ..clips import only_labels
    from ..segments import merge_segments

    merged = clips if rule is None else merge_segments(clips, rule)
    return merged if wanted is None else only_labels(merged, wanted)
