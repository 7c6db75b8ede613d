"""One person of a video, pointed at by a box."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from .detect import iou
from .errors import InputError, UsageError
from .poses import PoseSequence
from .track import TrackedPoses

_FORM = "x1,y1,x2,y2@SECONDS, for example 100,50,180,300@2.5"
# Intersection over union, from which on a box is taken to mean somebody.
_LEAST_OVERLAP = 0.3
# Somebody is looked for in the frame nearest to the time, if it is at most so many seconds off.
_TOLERANCE = 0.5
_NEAREST = 3


@dataclass(frozen=True)
class Follow:
    """Who is at a place at a time. box: xyxy in pixels of the frame; time: seconds. Raises UsageError if neither."""

    box: tuple[float, float, float, float]
    time: float

    def __post_init__(self) -> None:
        x1, y1, x2, y2 = self.box
        if not (x1 < x2 and y1 < y2 and np.isfinite(self.box).all()):
            raise UsageError(f"the box of the person to follow, {_told(self.box)}, has no area; it is {_FORM}")
        if not 0 <= self.time < float("inf"):
            raise UsageError(f"the time of the person to follow must be 0 s or later, got {self.time:g}")

    @classmethod
    def parse(cls, text: str) -> Follow:
        """From `x1,y1,x2,y2@SECONDS`. Raises UsageError."""
        parts = re.split("[,@]", text)
        try:
            if not re.fullmatch("([^,@]+,){3}[^,@]+@[^,@]+", text):
                raise ValueError
            x1, y1, x2, y2, time = map(float, parts)
        except ValueError:
            raise UsageError(f"the person to follow is given as {_FORM}, not {text!r}") from None
        return cls((x1, y1, x2, y2), time)

    def id_in(self, poses: TrackedPoses) -> int:
        """The id of that person. Raises InputError as `row_in` does."""
        around = poses.sequence(self.time - _TOLERANCE, self.time + _TOLERANCE)
        return int(around.track_ids[self.row_in(around)])

    def row_in(self, poses: PoseSequence) -> int:
        """The row of the person whose box overlaps this one best at this time.

        Raises InputError if there is no frame about that time, or nobody overlaps the box; it names who is near.
        """
        if not len(poses.times) or np.abs(poses.times - self.time).min() > _TOLERANCE:
            raise InputError(f"nobody can be followed at {self.time:g} s: the video has no frame about that time")
        frame = int(np.abs(poses.times - self.time).argmin())
        rows = np.flatnonzero(poses.boxes[:, frame].any(axis=1))
        boxes = poses.boxes[rows, frame]
        if not poses.boxes.any() and poses.present.any():
            raise InputError("nobody can be followed in these poses: they come without boxes; extract them anew")
        overlaps = iou(boxes, np.asarray(self.box))
        if len(rows) and overlaps.max() >= _LEAST_OVERLAP:
            return int(rows[overlaps.argmax()])
        centre = np.add(self.box[:2], self.box[2:]) / 2
        distances = np.linalg.norm((boxes[:, :2] + boxes[:, 2:]) / 2 - centre, axis=1)
        near = [_told(box) for box in boxes[np.argsort(distances)[:_NEAREST]]]
        others = f"the nearest boxes there are {' and '.join(near)}" if near else "nobody at all is tracked there"
        raise InputError(f"nobody is at {_told(self.box)} at {poses.times[frame]:.2f} s; {others}")


def _told(box: np.ndarray | tuple[float, ...]) -> str:
    return ",".join(f"{value:.0f}" for value in box)
