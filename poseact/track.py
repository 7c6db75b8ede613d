"""Who is who from frame to frame (an Ultralytics tracker behind one small interface), and who matters."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from .detect import Detections
from .gaps import Tracked
from .poses import PoseSequence
from .reunion import Reunion
from .skeleton import Layout
from .video import Frame
from .yolo import import_tracker

# Chosen on rendered people who cross, at 25 and 8 frames a second (tests/benchmarks/tracking.py).
_SETTINGS = {
    "track_high_thresh": 0.5,
    "track_low_thresh": 0.1,
    "new_track_thresh": 0.6,
    # Less than the weight of the appearance would lose people whom the light changes, though they hardly move.
    "match_thresh": 0.8,
    "lost_match_thr": 0.0,
    "iou_weight": 0.2,
    "reid_weight": 0.7,
    "conf_weight": 0.1,
    "angle_weight": 0.1,
    "penalty_p": 0.2,
    "tai_thr": 0.55,
    "min_track_len": 1,
    "gmc_method": "none",
    "with_reid": True,
    "model": "auto",  # appearances are given, not computed by a network
}
# Frames for which the poses of everybody are laid out at once to see who matters.
_FRAMES_AT_A_TIME = 512
# Where shirt and trousers are in a person's box, as shares of its height; and the middle of its width.
_GARMENTS = ((0.15, 0.5), (0.5, 0.85))
_MIDDLE = (0.25, 0.75)
# Steps of hue, saturation and brightness that colours are told apart by.
_STEPS = (12, 4, 4)

# A frame, whether a new scene begins with it, and everybody found in it.
Found = tuple[Frame, bool, Detections]


@dataclass(frozen=True, eq=False)
class Sighting:
    """All that a tracker wants to know of a frame. boxes: (P, 4) float32 xyxy in a picture of `size` (H, W); scores:
    (P,) float32; clothes: what shows of these people's, see `clothes_of`."""

    boxes: np.ndarray
    scores: np.ndarray
    clothes: list[np.ndarray]
    size: tuple[int, int]

    @classmethod
    def of(cls, frame: Frame, found: Detections) -> Sighting:
        """Of the people found in a frame, which may be scaled."""
        image, size = frame.seen, frame.size
        boxes = found.boxes * np.tile(np.divide(image.shape[:2], size)[::-1], 2)
        return cls(found.boxes, found.scores, clothes_of(image, boxes), size)


class Tracker:
    """Gives each box of a frame the id of its person, by where they move and what they wear.

    patience: seconds that a person may be hidden and still keep their id. rate: frames per second that
    are tracked.
    """

    def __init__(self, rate: float, patience: float = 1.5):
        self._tracker_class, self._boxes_class = import_tracker()
        self._rate, self._patience = rate, max(1, round(rate * patience))
        self._last_id = 0
        self.restart()

    def restart(self) -> None:
        """Forget everybody: whoever comes now is new, with an id that nobody had."""
        self._tracker = self._tracker_class(SimpleNamespace(**_SETTINGS, track_buffer=self._patience))
        self._reunion = Reunion(self._rate, self._patience)
        self._before = self._last_id

    def update(self, sighting: Sighting) -> np.ndarray:
        """Of the next frame: (P,) int64 ids from 1; -1 for a box that belongs to nobody (too weak, or a second one of
        somebody)."""
        boxes, scores, seen = sighting.boxes, sighting.scores, appearances(sighting.clothes)
        rows = np.column_stack([boxes, scores, np.zeros(len(scores))]).astype(np.float32)
        tracked = self._tracker.update(self._boxes_class(rows, sighting.size), feats=seen).reshape(-1, 8)
        which, found = tracked[:, -1].astype(int), tracked[:, 4].astype(np.int64) + self._before
        ids = np.full(len(boxes), -1, dtype=np.int64)
        ids[which] = self._reunion.rename(found, boxes[which], seen[which])
        self._last_id = max([self._last_id, *found.tolist()])
        return ids


def follow(found_in: Iterable[Found], tracker: Tracker) -> Iterator[Tracked]:
    """The frames of a video, black, with the ids of the people found in them, by the tracker where none are given."""
    for frame, new_scene, found in found_in:
        if new_scene or frame.after_gap:
            tracker.restart()
        ids = tracker.update(Sighting.of(frame, found)) if found.ids is None else found.ids
        yield frame.blank(), ids, found


def clothes_of(image: np.ndarray, boxes: np.ndarray) -> list[np.ndarray]:
    """Where shirt and trousers of each of the people must be in a picture (H, W, 3), whose boxes are (P, 4) xyxy: parts
    of it, of which those outside are empty."""
    height, width = image.shape[:2]
    clothes = []
    for x1, y1, x2, y2 in boxes.tolist():
        left, right = (round(min(max(x1 + share * (x2 - x1), 0), width)) for share in _MIDDLE)
        for garment in _GARMENTS:
            top, bottom = (round(min(max(y1 + share * (y2 - y1), 0), height)) for share in garment)
            clothes.append(image[top:bottom, left:right])
    return clothes


def appearances(clothes: list[np.ndarray]) -> np.ndarray:
    """The colours of what people wear, see `clothes_of`: (P, D) float32, two histograms of unit length for each of
    them, 0 where nothing shows."""
    import cv2

    found = np.zeros((len(clothes), np.prod(_STEPS)), np.float32)
    for cloth, histogram in zip(clothes, found, strict=True):
        if cloth.size:
            colours = cv2.cvtColor(cloth, cv2.COLOR_RGB2HSV)
            counts = cv2.calcHist([colours], [0, 1, 2], None, _STEPS, [0, 180, 0, 256, 0, 256]).ravel()
            histogram[:] = np.sqrt(counts / counts.sum())
    return found.reshape(len(clothes) // len(_GARMENTS), len(_GARMENTS) * np.prod(_STEPS, dtype=int))


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

    def best_first(self) -> list[int]:
        """The ids of everybody, the most prominent over all frames first, see `prominence`.

        Only some frames are laid out at a time: a long video has more people than fit into memory for all of it.
        """
        totals: dict[int, float] = {}
        for first in range(0, len(self._times), _FRAMES_AT_A_TIME):
            part = self._laid_out(first, first + _FRAMES_AT_A_TIME, None, None)
            for track_id, share in zip(part.track_ids.tolist(), prominence(part), strict=True):
                totals[track_id] = totals.get(track_id, 0.0) + share * len(part.times)
        return sorted(totals, key=lambda track_id: (-totals[track_id], track_id))

    def sequence(self, start: float, end: float, people: list[int] | None = None) -> PoseSequence:
        """Who was tracked in [start, end) seconds. people: ids, in this order; None: everybody, in the order of ids."""
        first, last = bisect_left(self._times, start - 1e-6), bisect_left(self._times, end - 1e-6)
        return self._laid_out(first, last, end, people)

    def _laid_out(self, first: int, last: int, end: float | None, people: list[int] | None) -> PoseSequence:
        found, times = self._found[first:last], self._times[first:last]
        if people is None:
            people = sorted({int(i) for ids, _ in found for i in ids if i >= 0})
        row_of = {track_id: row for row, track_id in enumerate(people)}
        shape = (len(people), len(times))
        keypoints = np.zeros((*shape, len(self.layout), 2), np.float32)
        scores = np.zeros((*shape, len(self.layout)), np.float32)
        boxes = np.zeros((*shape, 4), np.float32)
        for t, (ids, detections) in enumerate(found):
            for person, track_id in enumerate(ids):
                row = row_of.get(int(track_id))
                if row is not None and detections.keypoints is not None and detections.keypoint_scores is not None:
                    keypoints[row, t] = detections.keypoints[person]
                    scores[row, t] = detections.keypoint_scores[person]
                    boxes[row, t] = detections.boxes[person]
        return PoseSequence(
            keypoints=keypoints,
            scores=scores,
            times=np.array(times, dtype=np.float64),
            image_size=self.image_size,
            layout=self.layout,
            track_ids=np.array(people, dtype=np.int64),
            boxes=boxes,
            end=end,
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
