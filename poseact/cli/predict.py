"""`poseact predict`: label videos."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import InputError, SomeInputsFailed, UsageError
from ..zoo import DEFAULT_CLASSIFIER, DEFAULT_DETECTOR, DEFAULT_POSE
from .report import say_error, seconds_bar, set_aside, show_warnings

if TYPE_CHECKING:
    from ..pipeline import Pipeline
    from ..sinks import Sink


class Format(str, Enum):
    table = "table"
    jsonl = "jsonl"
    csv = "csv"


class Crops(str, Enum):
    auto = "auto"
    always = "always"
    never = "never"


def predict(
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO...", help="Video files.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="OUT", help="Write here instead of to the terminal.")
    ] = None,
    format: Annotated[
        Format | None,
        typer.Option(help="Default: by OUT's ending; else a table in a terminal, JSON lines in a pipe."),
    ] = None,
    classifier: Annotated[
        str, typer.Option(metavar="NAME|PATH", help="A classifier bundle.", rich_help_panel="Models")
    ] = DEFAULT_CLASSIFIER,
    detector: Annotated[
        str, typer.Option(metavar="NAME|PATH", help="What finds people.", rich_help_panel="Models")
    ] = DEFAULT_DETECTOR,
    pose: Annotated[
        str, typer.Option(metavar="NAME|PATH", help="What finds their keypoints.", rich_help_panel="Models")
    ] = DEFAULT_POSE,
    crops: Annotated[
        Crops,
        typer.Option(
            help="Estimate keypoints on a crop of each person; auto: of people who are small in the picture.",
            rich_help_panel="Models",
        ),
    ] = Crops.auto,
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda[:N]|mps", help="Where the networks run.", rich_help_panel="Models")
    ] = "auto",
    window: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS|whole",
            help="Length of a clip. Default: what the classifier was trained on.",
            rich_help_panel="Clips",
        ),
    ] = None,
    stride: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="From one clip's start to the next's.", rich_help_panel="Clips"),
    ] = None,
    start: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Look only from here on.", rich_help_panel="Clips")
    ] = None,
    end: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Look only up to here.", rich_help_panel="Clips")
    ] = None,
    per_person: Annotated[
        bool, typer.Option("--per-person", help="A label for each person, not one for the clip.")
    ] = False,
    top_k: Annotated[int, typer.Option(metavar="N", min=1, help="How many likely labels to list.")] = 5,
    min_score: Annotated[
        float | None,
        typer.Option(metavar="P", min=0, max=1, help="Below this score a clip gets no label."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no warnings.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="On an error, show the traceback.")] = False,
) -> None:
    """Print who does what, when, and how sure the model is."""
    show_warnings(quiet)
    if len(videos) == 1:
        _check_before_loading(videos[0])
    from ..pipeline import Options, Pipeline
    from ..sinks import open_sink

    options = Options(
        window=_window(window),
        stride=stride,
        start=start,
        end=end,
        per_person=per_person,
        top_k=top_k,
        min_score=min_score,
        crops=crops.value,
    )
    pipeline = Pipeline(classifier, detector=detector, pose=pose, device=device, options=options)
    with open_sink(output, format.value if format else None, len(videos) > 1, per_person) as sink:
        try:
            failed = _label_all(pipeline, videos, sink, quiet)
        except KeyboardInterrupt as interruption:
            raise KeyboardInterrupt("; ".join(filter(None, ["interrupted", sink.kept]))) from interruption
    if failed:
        raise SomeInputsFailed(f"{failed} of {len(videos)} videos could not be labelled; the others are done")


def _window(text: str | None) -> float | Literal["whole"] | None:
    if text is None or text == "whole":
        return text  # type: ignore[return-value]
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--window takes seconds or 'whole', not {text!r}") from None


def _check_before_loading(video: Path) -> None:
    """A wrong path is told at once, not after the seconds that torch takes to import."""
    from ..video import Video

    with Video(video):
        pass


def _label_all(pipeline: Pipeline, videos: list[Path], sink: Sink, quiet: bool) -> int:
    """Label the videos in turn; returns how many could not be read, unless that is all of them."""
    failed = 0
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
    return failed


def _label(pipeline: Pipeline, video: Path, sink: Sink, quiet: bool) -> None:
    with seconds_bar(quiet) as progress:
        task = progress.add_task(video.name, total=None)
        for clip in pipeline.stream(video, lambda done, total: progress.update(task, completed=done, total=total)):
            with set_aside(progress):
                sink.write(clip)
