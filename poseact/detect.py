"""People in a frame: boxes with scores, and keypoints where the detector's network gives them too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from .skeleton import COCO17, Layout
from .video import Frame
from .yolo import Backend, YoloResult, share_yolo


@dataclass(frozen=True, eq=False)
class Detections:
    """The people found in one frame, in pixels of it.

    boxes: (P, 4) float32 xyxy. scores: (P,) float32 in [0, 1].
    keypoints: (P, K, 2) float32 and keypoint_scores: (P, K) float32 in [0, 1], or None where the detector
    gives boxes only. layout: of those keypoints. ids: (P,) int64 of the people, from 0, where whoever gives the boxes
    knows who is who; None: the tracker finds out.
    """

    boxes: np.ndarray
    scores: np.ndarray
    keypoints: np.ndarray | None = None
    keypoint_scores: np.ndarray | None = None
    layout: Layout | None = None
    ids: np.ndarray | None = None

    def __post_init__(self) -> None:
        persons = len(self.scores)
        if self.boxes.shape != (persons, 4):
            raise ValueError(f"boxes must have shape ({persons}, 4), got {self.boxes.shape}")
        if self.keypoints is not None and self.keypoints.shape[:1] != (persons,):
            raise ValueError(f"keypoints must be those of {persons} people, got {self.keypoints.shape}")
        if self.ids is not None and self.ids.shape != (persons,):
            raise ValueError(f"ids must have shape ({persons},), got {self.ids.shape}")

    def __len__(self) -> int:
        return len(self.scores)


def iou(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (P, 4) with one box (4,), all xyxy: (P,)."""
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    shared = (high - low).clip(min=0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return shared / np.maximum(areas - shared, 1e-6)


def likeness(boxes: np.ndarray, scores: np.ndarray, box: np.ndarray) -> np.ndarray:
    """How likely each of the people found in a part of a picture, boxes (P, 4) xyxy and scores (P,), is the one who
    must be in `box` (4,): (P,) in [0, 1]."""
    return iou(boxes, box) * (0.5 + 0.5 * scores)


class Detector(Protocol):
    """Finds the people in each frame of a batch."""

    def __call__(self, frames: list[Frame]) -> list[Detections]: ...


class YoloDetector:
    """Any Ultralytics detection or pose weights. backend: see `yolo.Yolo`."""

    def __init__(self, weights: Path, device: str, backend: Backend = "auto"):
        self.yolo = share_yolo(weights, device, backend)
        self.runs_on = self.yolo.runs_on

    def __call__(self, frames: list[Frame]) -> list[Detections]:
        if self.yolo.has_windows:
            wholes = [self.yolo.whole(frame.size) for frame in frames]
            found = self.yolo.within([frame.seen for frame in frames], wholes)
        else:
            found = self.yolo([frame.image for frame in frames])
        return [detections_of(each) for each in found]


def detections_of(found: YoloResult) -> Detections:
    """What a network found in one picture; keypoints only if they are COCO's."""
    if found.keypoints is None or found.keypoints.shape[1:] != (len(COCO17), 3):
        return Detections(found.boxes, found.scores)
    points, scores = found.keypoints[..., :2], found.keypoints[..., 2].clip(0, 1)
    return Detections(found.boxes, found.scores, points, scores, COCO17)
