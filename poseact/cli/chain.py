"""What a user chooses of the chain from videos to labels, in `predict` and in `label` alike."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import UsageError
from ..zoo import DEFAULT_CLASSIFIER, DEFAULT_DETECTOR, DEFAULT_POSE, FAST_CLASSIFIER
from .options import (
    Backend,
    BackendName,
    Boxes,
    Crops,
    CropsRule,
    DetectorName,
    PoseName,
    Precision,
    PrecisionName,
    Search,
    SearchRule,
    Smooth,
    Subjects,
    Weights,
    model,
    parse_people,
    parse_weights,
)

if TYPE_CHECKING:
    from ..options import Models, Options
    from ..segments import RowRule


class Sampling(str, Enum):
    sparse = "sparse"
    dense = "dense"


def _seconds(help: str, metavar: str = "SECONDS", panel: str = "Clips", **more: Any) -> Any:
    return typer.Option(metavar=metavar, help=help, rich_help_panel=panel, **more)


ClassifierName = Annotated[
    str, model("A classifier bundle; of several between commas, such as joint.pt,limb.pt, their geometric mean.")
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
PoseRate = Annotated[
    str | None,
    typer.Option(
        "--pose-fps",
        metavar="F|all",
        help="Estimate poses in no more than F frames a second; all: in every frame that is of use.",
        show_default="15",
        rich_help_panel="Speed",
    ),
]
SamplingName = Annotated[
    Sampling | None,
    typer.Option(
        help="Look only at frames that some clip samples, or at all.",
        show_default="sparse; dense with --save-video",
        rich_help_panel="Speed",
    ),
]
PerPerson = Annotated[
    bool,
    typer.Option("--per-person", help="A label for each person, not one for the clip.", rich_help_panel="Results"),
]
TopK = Annotated[
    int, typer.Option(metavar="N", min=1, help="How many likely labels to list.", rich_help_panel="Results")
]
MinScore = Annotated[
    float | None,
    typer.Option(metavar="P", min=0, max=1, help="Below this score a clip gets no label.", rich_help_panel="Results"),
]
Segments = Annotated[
    bool,
    typer.Option(
        "--segments",
        help="Merge consecutive clips of the same label: one row from when it begins to when it ends.",
        rich_help_panel="Results",
    ),
]
MinLength = Annotated[float | None, _seconds("Leave out shorter segments.", panel="Results", min=0)]
Only = Annotated[
    str | None, typer.Option(metavar="LABEL,...", help="Print nothing but these labels.", rich_help_panel="Results")
]


@dataclass(frozen=True)
class Chain:
    """The options of the chain as they were given."""

    classifier: ClassifierName = DEFAULT_CLASSIFIER
    fast: Fast = False
    weights: Weights = None
    detector: DetectorName = DEFAULT_DETECTOR
    pose: PoseName = DEFAULT_POSE
    crops: CropsRule = Crops.auto
    search: SearchRule = Search.auto
    boxes: Boxes = None
    subjects: Subjects = None
    smooth: Smooth = 0.0
    backend: BackendName = Backend.auto
    precision: PrecisionName = Precision.auto
    window: WindowLength = None
    stride: Stride = None
    start: Start = None
    end: End = None
    pose_fps: PoseRate = None
    sampling: SamplingName = None
    per_person: PerPerson = False
    top_k: TopK = 5
    min_score: MinScore = None
    segments: Segments = False
    min_length: MinLength = None
    only: Only = None

    def models(self) -> Models:
        """Raises UsageError."""
        from ..options import Models

        if self.fast and self.classifier != DEFAULT_CLASSIFIER:
            raise UsageError("--fast chooses the classifier, and so does --classifier; leave one of them out")
        return Models(
            classifier=FAST_CLASSIFIER if self.fast else self.classifier,
            detector=self.detector,
            pose=self.pose,
            weights=parse_weights(self.weights),
            precision=self.precision.value,
            backend=self.backend.value,
        )

    def options(self, follow: str | None = None, save_video: bool = False, **more: Any) -> Options:
        """follow: whom, as text; more: further options of `Options`. Raises UsageError."""
        from ..options import Options

        people, followed = parse_people(self.subjects, follow)
        # A picture of which nobody knows the poses would be drawn without any.
        default = Sampling.dense if save_video else Sampling.sparse
        return Options(
            window=_window(self.window),
            stride=self.stride,
            start=self.start,
            end=self.end,
            per_person=self.per_person,
            subjects=people,
            sampling=(self.sampling or default).value,
            rate=_pose_rate(self.pose_fps),
            follow=followed,
            top_k=self.top_k,
            min_score=self.min_score,
            crops=self.crops.value,
            search=self.search.value,
            boxes=self.boxes,
            smoothing=self.smooth,
            **more,
        )

    def rows(self) -> RowRule:
        """Which rows are made of the clips. Raises UsageError."""
        from ..segments import RowRule, SegmentRule

        if self.min_length is not None and not self.segments:
            raise UsageError("--min-length is of segments; add --segments")
        only = None if self.only is None else tuple(name.strip() for name in self.only.split(","))
        segments = SegmentRule(min_length=self.min_length or 0.0) if self.segments else None
        return RowRule(segments, only)


def _pose_rate(text: str | None) -> float | None:
    from ..options import DEFAULT_RATE

    if text is None or text == "all":
        return DEFAULT_RATE if text is None else None
    return _number(text, "--pose-fps takes frames a second or 'all'")


def _window(text: str | None) -> float | Literal["whole"] | None:
    if text is None or text == "whole":
        return text  # type: ignore[return-value]
    return _number(text, "--window takes seconds or 'whole'")


def _number(text: str, rule: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{rule}, not {text!r}") from None
