"""What a user may choose: the models, what is labelled of a video, and what is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .engine import PATIENCE
from .errors import UsageError
from .follow import Follow
from .keyframes import Search
from .pose import Crops
from .sampling import FrameThinner
from .zoo import DEFAULT_CLASSIFIER, DEFAULT_DETECTOR, DEFAULT_POSE

if TYPE_CHECKING:
    from .extract import PoseBackend
    from .nets.freeze import Precision

# A window or stride shorter than a frame is a slip of the keyboard.
_SHORTEST = 0.01
# Frames a second that poses are estimated in, unless told otherwise: every other of the usual 30. So few cost no top-1
# on drawn clips (tests/benchmarks/pose_rates.py); the shipped classifiers have seen as few in training.
DEFAULT_RATE = 15.0


@dataclass(frozen=True)
class Models:
    """The networks by their names, as `Pipeline` takes them, which checks them."""

    classifier: str = DEFAULT_CLASSIFIER
    detector: str = DEFAULT_DETECTOR
    pose: str = DEFAULT_POSE
    weights: Sequence[float] | None = None
    precision: Precision = "auto"
    backend: PoseBackend = "auto"


@dataclass(frozen=True)
class Options:
    """What is labelled and what is told of it.

    window, stride: seconds; None: the bundle's own, or half of a window that is given; "whole": the whole
    video is one clip. start, end: the part of the video to look at, in seconds. per_person: a label for each
    person instead of one for the clip. subjects: look only at so many people of each clip, the most prominent; of
    them the label of a clip takes as many as the bundle expects. sampling: look only at frames that some clip samples
    (sparse), or at all (dense). rate: but at no more than so many frames a second; None: no limit. follow: look only
    at this person of the one video. top_k: how many of the most likely labels a clip lists. min_score: below it a
    clip's label is None; None: the bundle's rejection threshold. crops, search, boxes, smoothing: see `PoseStages`.
    realtime: drop frames rather than fall behind a live source. patience: seconds after which a stage that does not
    get on is given up (StalledError).
    """

    window: float | Literal["whole"] | None = None
    stride: float | None = None
    start: float | None = None
    end: float | None = None
    per_person: bool = False
    subjects: int | Literal["all"] = "all"
    sampling: Literal["sparse", "dense"] = "sparse"
    rate: float | None = DEFAULT_RATE
    follow: Follow | None = None
    top_k: int = 5
    min_score: float | None = None
    crops: Crops = "auto"
    search: Search = "auto"
    boxes: str | Path | None = None
    smoothing: float = 0.0
    realtime: bool = False
    patience: float = PATIENCE

    def __post_init__(self) -> None:
        for name, seconds in (("window", self.window), ("stride", self.stride)):
            if seconds is not None and seconds != "whole" and not _SHORTEST <= seconds < float("inf"):
                raise UsageError(f"the {name} must be at least {_SHORTEST} s, got {seconds:g}")
        if self.window == "whole" and self.stride is not None:
            raise UsageError("with the whole video as one clip there is no stride; leave one of them out")
        if self.start is not None and not 0 <= self.start < float("inf"):
            raise UsageError(f"the start must be 0 s or later, got {self.start:g}")
        if self.end is not None and not (self.start or 0) < self.end < float("inf"):
            raise UsageError(f"the end must be a time later than the start ({self.start or 0:g} s), got {self.end:g}")
        if self.subjects != "all" and self.subjects < 1:
            raise UsageError(f"at least 1 subject must be looked at, got {self.subjects}")
        FrameThinner(1.0, self.rate)  # knows which rates cannot be
        if self.boxes is not None and self.start:
            raise UsageError("boxes from a file count frames from the start of the video, so a later start cannot be")
        if self.top_k < 1:
            raise UsageError(f"at least 1 label must be listed, got {self.top_k}")
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise UsageError(f"the least score must be in [0, 1], got {self.min_score:g}")
        if self.crops not in ("auto", "always", "never"):
            raise UsageError(f"crops must be auto, always or never, got {self.crops!r}")
        if self.search not in ("auto", "whole"):
            raise UsageError(f"the search must be auto or whole, got {self.search!r}")
        if self.sampling not in ("sparse", "dense"):
            raise UsageError(f"the sampling must be sparse or dense, got {self.sampling!r}")
        if not self.patience > 0:
            raise UsageError(f"the patience must be above 0 s, got {self.patience:g}")
