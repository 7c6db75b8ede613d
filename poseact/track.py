"""Who is who from frame to frame (Ultralytics' ByteTrack behind one small interface), and who matters."""

from __future__ import annotations

from bisect import bisect_left
from types import SimpleNamespace

import numpy as np

from .detect import Detections
from .poses import PoseSequence
from .skeleton import Layout
from .yolo import import_byte_tracker

# ByteTrack's own defaults, but for the patience, which is ours in seconds.
_THRESHOLDS = {
    "track_high_thresh": 0.25,
    "track_low_thresh": 0.1,
    "new_track_thresh": 0.25,
    "match_thresh": 0.8,
    "fuse_score": True,
}


class Tracker:
    """Gives each box of a frame the id of its person.

    patience: seconds that a person may be hidden and still keep their id. rate: frames per second that
    are tracked.
    """

    def __init__(self, rate: float, patience: float = 1.0):
        tracker_class, self._boxes_class = import_byte_tracker()
        buffer = max(1, round(rate * patience))
        self._tracker = tracker_class(SimpleNamespace(**_THRESHOLDS, track_buffer=buffer))

    def update(self, boxes: np.ndarray, scores: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
        """boxes: (P, 4) float32 xyxy; scores: (P,). Returns (P,) int64 ids from 1; -1 for a box that
        belongs to nobody yet (too weak, or seen for the first time)."""
        rows = np.column_stack([boxes, scores, np.zeros(len(scores))]).astype(np.float32)
        tracked = self._tracker.update(self._boxes_class(rows, image_size))
        ids = np.full(len(boxes), -1, dtype=np.int64)
        for row in tracked:
            ids[int(row[-1])] = int(row[4])
        return ids


class TrackedPoses:
    """The poses of the frames that clips to come may still need, with the ids of their people."""

    def __init__(self, layout: Layout, image_size: tuple[int, int]):
        self.layout = layout
        self.image_size = image_size
        self._times: list[float] = []
        self._found: list[tuple[np.ndarray, Detections]] = []

    def add(self, time: float, ids: np.ndarray, detections: Detections) -> None:
        """ids: (P,) of each detection, as `Tracker.update` gives them. Times must increase."""
        self._times.append(time)
        self._found.append((ids, detections))

    def forget_before(self, time: float) -> None:
        """Drop what no clip needs any more."""
        keep = bisect_left(self._times, time - 1e-6)
        del self._times[:keep], self._found[:keep]

    def sequence(self, start: float, end: float) -> PoseSequence:
        """Everybody who was tracked in [start, end) seconds; people in the order of their ids."""
        first, last = bisect_left(self._times, start - 1e-6), bisect_left(self._times, end - 1e-6)
        found = self._found[first:last]
        people = sorted({int(i) for ids, _ in found for i in ids if i >= 0})
        row_of = {track_id: row for row, track_id in enumerate(people)}
        shape = (len(people), last - first)
        keypoints = np.zeros((*shape, len(self.layout), 2), np.float32)
        scores = np.zeros((*shape, len(self.layout)), np.float32)
        boxes = np.zeros((*shape, 4), np.float32)
        for t, (ids, detections) in enumerate(found):
            for person, track_id in enumerate(ids):
                if track_id >= 0 and detections.keypoints is not None and detections.keypoint_scores is not None:
                    row = row_of[int(track_id)]
                    keypoints[row, t] = detections.keypoints[person]
                    scores[row, t] = detections.keypoint_scores[person]
                    boxes[row, t] = detections.boxes[person]
        return PoseSequence(
            keypoints=keypoints,
            scores=scores,
            times=np.array(self._times[first:last], dtype=np.float64),
            image_size=self.image_size,
            layout=self.layout,
            track_ids=np.array(people, dtype=np.int64),
            boxes=boxes,
        )


def presence(poses: PoseSequence) -> np.ndarray:
    """Share of the frames in which each person is there, (M,) float64 in [0, 1]."""
    if not len(poses.times):
        return np.zeros(len(poses.track_ids))
    return poses.present.mean(axis=1)


def prominence(poses: PoseSequence) -> np.ndarray:
    """How much each person is what the clip is about, (M,): presence × size × confidence, summed over frames.

    Size is the square root of the box's share of the picture, so that somebody who is there throughout
    beats somebody who fills the picture for a moment.
    """
    height, width = poses.image_size
    sides = (poses.boxes[..., 2:] - poses.boxes[..., :2]).clip(min=0)
    size = np.sqrt(sides.prod(axis=2) / (height * width))
    confidence = poses.scores.mean(axis=2)
    return (size * confidence * poses.present).sum(axis=1) / max(1, len(poses.times))
