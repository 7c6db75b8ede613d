"""Options that several commands share."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import UsageError

if TYPE_CHECKING:
    from ..follow import Follow

DEVICES = "auto|cpu|cuda[:N]|mps"


class Precision(str, Enum):
    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Crops(str, Enum):
    auto = "auto"
    always = "always"
    never = "never"


class Search(str, Enum):
    auto = "auto"
    whole = "whole"


class Backend(str, Enum):
    auto = "auto"
    native = "native"
    openvino = "openvino"


def model(help: str) -> Any:
    """An option that names a model."""
    return typer.Option(metavar="NAME|PATH", help=help, rich_help_panel="Models")


DetectorName = Annotated[str, model("What finds people.")]
PoseName = Annotated[str, model("What finds their keypoints.")]
CropsRule = Annotated[
    Crops,
    typer.Option(
        help="Estimate keypoints on a crop of each person; auto: of people who are small in the picture.",
        rich_help_panel="Models",
    ),
]
SearchRule = Annotated[
    Search,
    typer.Option(
        help="Look for people in the whole picture of every frame; auto: where YOLO runs on a CPU, only in every "
        "fourth or so, and in between near where they must be; on a GPU or of ONNX networks both are the same.",
        rich_help_panel="Models",
    ),
]
Boxes = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE|FOLDER",
        help="Take people's boxes from here, not from the detector: CSV frame,x1,y1,x2,y2[,id][,score] or "
        "MOTChallenge's .txt; a folder holds VIDEO_NAME.csv or .txt for each video.",
        rich_help_panel="People",
    ),
]
Subjects = Annotated[
    str | None,
    typer.Option(
        metavar="all|main|N",
        help="Look at everybody, at the most prominent person, or at the N most prominent.",
        show_default="all",
        rich_help_panel="People",
    ),
]
FollowText = Annotated[
    str | None,
    typer.Option(
        "--follow",
        metavar="X1,Y1,X2,Y2@SECONDS",
        help="Look only at the person in this box, in pixels, at this time of the one video.",
        rich_help_panel="People",
    ),
]
PoseFps = Annotated[
    float | None,
    typer.Option(
        metavar="F",
        help="Look at no more than F frames a second.",
        show_default="as many as are of use",
        rich_help_panel="People",
    ),
]
Smooth = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=0,
        help="Smooth each keypoint's path over so long a time; 0: not at all.",
        rich_help_panel="People",
    ),
]
Device = Annotated[str, typer.Option(metavar=DEVICES, help="Where the networks run.", rich_help_panel="Models")]
BackendName = Annotated[
    Backend,
    typer.Option(
        help="What runs detector and pose model on a CPU; auto: OpenVINO where it is installed, else native: PyTorch "
        "or ONNX Runtime.",
        rich_help_panel="Models",
    ),
]
PrecisionName = Annotated[
    Precision, typer.Option(help="What the classifier computes in; auto: the fastest here.", rich_help_panel="Models")
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="W,W", help="Of each classifier in the mean. Default: all the same.", rich_help_panel="Models"
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no warnings.")]
Debug = Annotated[bool, typer.Option("--debug", help="On an error, show the traceback.")]


def parse_subjects(text: str | None) -> int | Literal["all"] | None:
    """The count of `--subjects`. Raises UsageError."""
    if text is None or text == "all":
        return text  # type: ignore[return-value]
    if text == "main":
        return 1
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--subjects takes a count or 'all' or 'main', not {text!r}")
    return int(text)


def parse_people(subjects: str | None, follow: str | None) -> tuple[int | Literal["all"], Follow | None]:
    """Whom `--subjects` and `--follow` mean. Raises UsageError."""
    if follow is None:
        return parse_subjects(subjects) or "all", None
    from ..follow import Follow

    if subjects is not None:
        raise UsageError("--follow looks at one person, so --subjects has no say; leave one of them out")
    return 1, Follow.parse(follow)


def parse_weights(text: str | None) -> list[float] | None:
    """The numbers of `--weights`. Raises UsageError."""
    try:
        return None if text is None else [float(number) for number in text.split(",")]
    except ValueError:
        raise UsageError(f"--weights takes numbers separated by commas, not {text!r}") from None
