"""Keypoints of each person, top-down: from the person's own crop, or from the detector's pass where that suffices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from .detect import Detections, likeness
from .errors import ModelError
from .skeleton import COCO17, Layout
from .video import Frame
from .yolo import FRAME_SIZE, Backend, YoloResult, share_yolo

# When each person gets a crop of their own: always, never, or only where the detector saw too few pixels.
Crops = Literal["auto", "always", "never"]

# A person whose longer side is shorter than this, in pixels of the picture as the detector's network saw it,
# gets a crop under `auto`: below it the first pass' keypoints are off by more than 3 % of the body, a crop's by 2 %.
_LEAST_SIDE = 128
# Crops are fitted into a square of this many pixels, with this share of the box's side around it.
_CROP_SIZE = 256
_CROP_MARGIN = 0.25
# Of the people that show up in a crop, the one that is meant overlaps its box at least so much.
_LEAST_OVERLAP = 0.3


class PoseEstimator(Protocol):
    """Gives every detection of each frame its keypoints."""

    layout: Layout

    def __call__(self, frames: list[Frame], detections: list[Detections]) -> list[Detections]: ...


class YoloPoseEstimator:
    """YOLO-pose on crops. A person that is not found again in the crop keeps the keypoints of the first pass.

    same_network: the detections come from these very weights, so that their keypoints may serve. backend: see
    `yolo.Yolo`.
    """

    layout = COCO17

    def __init__(
        self,
        weights: Path,
        device: str,
        crops: Crops = "auto",
        same_network: bool = False,
        backend: Backend = "auto",
    ):
        self.yolo = share_yolo(weights, device, backend)
        self.runs_on = self.yolo.runs_on
        if self.yolo.task != "pose":
            raise ModelError(f"{weights} only detects; the pose model must be a pose network, such as yolo11n-pose")
        if self.yolo.keypoint_shape != (len(COCO17), 3):
            raise ModelError(f"{weights} finds keypoints {self.yolo.keypoint_shape}; COCO's (17, 3) are needed")
        self.crops = crops
        self.same_network = same_network

    def __call__(self, frames: list[Frame], detections: list[Detections]) -> list[Detections]:
        filled = [self._with_room(found) for found in detections]
        wanted = [
            (which, person)
            for which, (frame, found) in enumerate(zip(frames, filled, strict=True))
            for person in range(len(found))
            if self._needs_crop(frame, found.boxes[person])
        ]
        regions = [_crop_region(filled[which].boxes[person]) for which, person in wanted]
        crops = list(_crops(frames, [which for which, _ in wanted], regions))
        results = self.yolo(crops, _CROP_SIZE, square=True) if crops else []
        for (which, person), region, result in zip(wanted, regions, results, strict=True):
            found = filled[which]
            pose = _pose_of(result, found.boxes[person], region[:2])
            if pose is not None and found.keypoints is not None and found.keypoint_scores is not None:
                found.keypoints[person], found.keypoint_scores[person] = pose[:, :2], pose[:, 2].clip(0, 1)
        return filled

    def _with_room(self, found: Detections) -> Detections:
        if self.same_network and found.keypoints is not None and found.keypoint_scores is not None:
            return replace(found, keypoints=found.keypoints.copy(), keypoint_scores=found.keypoint_scores.copy())
        shape = (len(found), len(self.layout))
        empty = np.zeros((*shape, 2), np.float32), np.zeros(shape, np.float32)
        return replace(found, keypoints=empty[0], keypoint_scores=empty[1], layout=self.layout)

    def _needs_crop(self, frame: Frame, box: np.ndarray) -> bool:
        if not self.same_network:
            return True
        if self.crops != "auto":
            return self.crops == "always"
        scale = FRAME_SIZE / max(frame.size)
        return max(box[2] - box[0], box[3] - box[1]) * scale < _LEAST_SIDE


def _crop_region(box: np.ndarray) -> np.ndarray:
    """The part of the frame to look at, (4,) int64 xyxy; it may leave the frame."""
    margin = _CROP_MARGIN * max(box[2] - box[0], box[3] - box[1])
    return np.concatenate([np.floor(box[:2] - margin), np.ceil(box[2:] + margin)]).astype(np.int64)


def _crops(frames: list[Frame], which: list[int], regions: list[np.ndarray]) -> Iterator[np.ndarray]:
    """The region of each of the frames `which`, in order; each whole picture is asked for once, and let go."""
    for number, group in groupby(zip(which, regions, strict=True), key=itemgetter(0)):
        image = frames[number].image
        yield from (_cut(image, region) for _, region in group)


def _cut(image: np.ndarray, region: np.ndarray) -> np.ndarray:
    """The region of a picture, grey where it leaves the picture."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = region
    inside = image[max(y1, 0) : max(min(y2, height), 0), max(x1, 0) : max(min(x2, width), 0)]
    padding = ((max(-y1, 0), max(y2 - height, 0)), (max(-x1, 0), max(x2 - width, 0)), (0, 0))
    return np.pad(inside, padding, constant_values=114)


def _pose_of(result: YoloResult, box: np.ndarray, corner: np.ndarray) -> np.ndarray | None:
    """The keypoints (K, 3) of the person that a crop was cut for, in pixels of the frame; None if not found."""
    if result.keypoints is None or not len(result.boxes):
        return None
    boxes = result.boxes + np.tile(corner, 2)
    likely = likeness(boxes, result.scores, box)
    best = int(likely.argmax())
    if likely[best] < _LEAST_OVERLAP:
        return None
    pose = result.keypoints[best].copy()
    pose[:, :2] += corner
    return pose
