"""The poses of a whole video, put together from its clips, and who is where at any moment of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .poses import PoseSequence
from .skeleton import Layout

# Between two poses that are no further apart than this, in seconds, somebody is taken to be on a straight line. The
# second one is for poses between which no picture was looked at, as where few a second are.
_LONGEST_GAP = 0.35
_LONGEST_UNSEEN_GAP = 1.0
# Somebody's last pose holds until the next picture would have been looked at: 15 a second are.
_HOLD = 0.068
# Scores are means of what lies this far around, in seconds, the nearer the more.
_SCORES_AROUND = 0.25
# Containers round times.
_SLACK = 1e-6
# Small arrays take much more memory than what they hold.
_MOST_PARTS = 64


@dataclass(frozen=True, eq=False)
class PeopleAt:
    """Who is there at a moment, in the order of their ids.

    ids: (P,) int64, track ids. boxes: (P, 4) float32, xyxy in pixels. keypoints: (P, K, 2) float32, (x, y) in pixels.
    scores: (P, K) float32 in [0, 1]; 0: the keypoint is absent.
    """

    ids: np.ndarray
    boxes: np.ndarray
    keypoints: np.ndarray
    scores: np.ndarray


class VideoPoses:
    """Collects the poses of a video's clips. layout, image_size (H, W): of the first one; None before it.

    Takes about 190 bytes for each pose of 17 keypoints: 14 MB for an hour of one person at 20 poses a second.
    """

    def __init__(self) -> None:
        self.layout: Layout | None = None
        self.image_size: tuple[int, int] | None = None
        # When the last clip is over, in seconds.
        self.seconds = 0.0
        self._times = _Column(np.float64)
        self._tracks: dict[int, _Track] = {}
        # Id, first and last time of each of them.
        self._spans: np.ndarray | None = None

    def add(self, clip: PoseSequence) -> None:
        """Take the poses of the next clip. Clips may overlap or have gaps between them; what lies before the end of
        what was added is left out."""
        if self.layout is None:
            self.layout, self.image_size = clip.layout, clip.image_size
        if clip.layout != self.layout:
            raise ValueError(f"the clips of a video have one layout, got {clip.layout.name} after {self.layout.name}")
        ends = [self.seconds, *clip.times[-1:].tolist(), *([] if clip.end is None else [clip.end])]
        self.seconds = max(ends)
        known = self._times.values
        last = known[-1] + _SLACK if len(known) else -np.inf
        new = int(np.searchsorted(clip.times, last, side="right"))
        first_frame = len(known)
        self._times.append(clip.times[new:])
        self._spans = None
        for row, there in enumerate(clip.present[:, new:]):
            frames = np.flatnonzero(there)
            if len(frames):
                track = self._tracks.setdefault(int(clip.track_ids[row]), _Track())
                track.add(clip, row, new + frames, first_frame + frames)

    def at(self, time: float) -> PeopleAt:
        """Who is there at `time` seconds. Between two poses of somebody that are near enough in time, boxes and
        keypoints lie on a straight line; a keypoint that is missing for a moment is put in. Scores change gradually,
        so that what is drawn above some score does not flicker."""
        found = [
            (track_id, *person)
            for track_id in self._ids_near(time)
            if (person := self._tracks[track_id].at(time, self._times.values)) is not None
        ]
        n_keypoints = 0 if self.layout is None else len(self.layout)
        return PeopleAt(
            ids=np.array([track_id for track_id, *_ in found], dtype=np.int64),
            boxes=np.array([box for _, box, _, _ in found], dtype=np.float32).reshape(-1, 4),
            keypoints=np.array([points for *_, points, _ in found], np.float32).reshape(len(found), n_keypoints, 2),
            scores=np.array([scores for *_, scores in found], dtype=np.float32).reshape(len(found), n_keypoints),
        )

    def _ids_near(self, time: float) -> list[int]:
        if self._spans is None:
            times = self._times.values
            spans = [(i, *times[self._tracks[i].frames.values[[0, -1]]]) for i in sorted(self._tracks)]
            self._spans = np.array(spans, dtype=np.float64).reshape(-1, 3)
        first, last = self._spans[:, 1], self._spans[:, 2]
        near = (first <= time + _SLACK) & (time <= last + _HOLD)
        return self._spans[near, 0].astype(int).tolist()


class _Column:
    """An array that grows by parts, (N, ...) each, which are joined when it is looked at."""

    def __init__(self, dtype: type):
        self._dtype = dtype
        self._parts: list[np.ndarray] = []

    def append(self, part: np.ndarray) -> None:
        self._parts.append(np.array(part, dtype=self._dtype))
        if len(self._parts) > _MOST_PARTS:
            self._parts = [np.concatenate(self._parts)]

    @property
    def values(self) -> np.ndarray:
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts)]
        return self._parts[0] if self._parts else np.zeros(0, self._dtype)


class _Track:
    """All poses of one person. frames: of the video, those in which they are."""

    def __init__(self) -> None:
        self.frames = _Column(np.int32)
        self._boxes = _Column(np.float32)
        self._keypoints = _Column(np.float32)
        self._scores = _Column(np.float16)

    def add(self, clip: PoseSequence, row: int, clip_frames: np.ndarray, frames: np.ndarray) -> None:
        self.frames.append(frames)
        self._boxes.append(clip.boxes[row, clip_frames])
        self._keypoints.append(clip.keypoints[row, clip_frames])
        self._scores.append(clip.scores[row, clip_frames])

    def at(self, time: float, all_times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Box (4,), keypoints (K, 2) and scores (K,) at `time` seconds; None if the person is not there."""
        around = np.searchsorted(all_times, [time - _LONGEST_UNSEEN_GAP, time + _LONGEST_UNSEEN_GAP])
        first, last = np.searchsorted(self.frames.values, around)
        frames = self.frames.values[first:last]
        times = all_times[frames]
        before = int(np.searchsorted(times, time + _SLACK, side="right")) - 1
        after = int(np.searchsorted(times, time - _SLACK))
        if before < 0:
            return None
        if after == len(times) or not _are_near(times, frames, before, after):
            if time - times[before] > _HOLD:
                return None
            after = before
        boxes, scores = self._boxes.values[first:last], self._scores.values[first:last].astype(np.float32)
        points, known = _points_at(time, times, self._keypoints.values[first:last], scores > 0, before, after)
        nearness = np.clip(1 - np.abs(times - time) / _SCORES_AROUND, 0, None)
        nearness[[before, after]] = np.maximum(nearness[[before, after]], 1e-3)
        mean = nearness @ scores / nearness.sum()
        share = _share(time, times[before], times[after])
        return boxes[before] + share * (boxes[after] - boxes[before]), points, np.where(known, mean, 0)


def _are_near(times: np.ndarray, frames: np.ndarray, before: int, after: int) -> bool:
    """Whether somebody is taken to be there between two of their poses."""
    unseen = frames[after] - frames[before] <= 1
    return bool(times[after] - times[before] <= (_LONGEST_UNSEEN_GAP if unseen else _LONGEST_GAP) + _SLACK)


def _points_at(
    time: float, times: np.ndarray, points: np.ndarray, present: np.ndarray, before: int, after: int
) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (K, 2) between those of rows up to `before` and from `after` on, each where it is present (T, K); and
    whether there is any, (K,) bool."""
    each = np.arange(present.shape[1])
    # Rows of the last one before and the first one after, for each keypoint; -1 and len(times): none.
    earlier = np.where(present[: before + 1], np.arange(before + 1)[:, None], -1).max(axis=0)
    later = np.where(present[after:], np.arange(after, len(times))[:, None], len(times)).min(axis=0)
    comes_from, goes_to = earlier == before, later == after
    padded = np.append(times, np.inf)
    are_near = (earlier >= 0) & (padded[later] - times[earlier] <= _LONGEST_GAP + _SLACK)
    is_between = are_near | (comes_from & goes_to)
    known = is_between | comes_from | goes_to
    # One that comes or goes stays at its place while it fades.
    start = np.where(known, np.where(is_between | comes_from, earlier, later), before)
    end = np.where(is_between, later, start)
    share = _share(time, times[start], times[end])[:, None]
    return points[start, each] + share * (points[end, each] - points[start, each]), known


def _share(time: float, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """How far `time` is on the way from start to end, float32 in [0, 1]; 0 where these are the same."""
    span = np.where(end > start, end - start, 1.0)
    return np.clip((time - start) / span, 0, 1).astype(np.float32)
