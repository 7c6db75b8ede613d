"""People whom the detector misses for a few frames: put back in between, on a straight line."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from .detect import Detections
from .failure import Failure
from .video import Frame

# A frame, who is who in it (as `Tracker.update` tells), and everybody found in it.
Tracked = tuple[Frame, np.ndarray, Detections]

# Scores of what was put in are this share of the lesser one at the gap's ends.
FADED = 0.5


def fill_gaps(tracked: Iterable[Tracked], longest: float) -> Iterator[Tracked]:
    """The same with people put in where they were missing between two sightings up to `longest` seconds apart.

    Boxes and keypoints lie on a straight line between those of the two sightings; scores are half of the lesser one,
    and a keypoint that is absent at one end stays so. Where the ids came with the boxes nobody is put in. Frames come
    up to `longest` seconds late.
    """
    waiting: deque[Tracked] = deque()
    failure = Failure()
    for new in failure.after(tracked):
        while waiting and waiting[0][0].time < new[0].time - longest - 1e-6:
            yield waiting.popleft()
        waiting.append(new)
        if new[2].ids is None:
            for row, track_id in enumerate(new[1]):
                if track_id >= 0:
                    _fill(waiting, int(track_id), row)
    yield from waiting
    failure.check()


def _fill(waiting: deque[Tracked], track_id: int, row: int) -> None:
    """Put somebody who is in the last frame into those since the one before that they are in, if it still waits."""
    for back in range(2, len(waiting) + 1):
        before, ids, found = waiting[-back]
        rows = np.flatnonzero(ids == track_id)
        if len(rows):
            break
    else:
        return
    after, _, found_after = waiting[-1]
    for between in range(2, back):
        frame, ids, others = waiting[-between]
        share = (frame.time - before.time) / (after.time - before.time)
        waiting[-between] = (
            frame,
            np.append(ids, track_id),
            _with_one_between(others, found, int(rows[0]), found_after, row, share),
        )


def _with_one_between(
    others: Detections, before: Detections, first: int, after: Detections, last: int, share: float
) -> Detections:
    """`others` and one more person: `share` of the way from row `first` of `before` to row `last` of `after`."""

    def along(start: np.ndarray, end: np.ndarray) -> np.ndarray:
        return start[first] + np.float32(share) * (end[last] - start[first])

    def faded(start: np.ndarray, end: np.ndarray) -> np.ndarray:
        return np.float32(FADED) * np.minimum(start[first], end[last])

    filled = replace(
        others,
        boxes=np.concatenate([others.boxes, along(before.boxes, after.boxes)[None]]),
        scores=np.append(others.scores, faded(before.scores, after.scores)),
        keypoints=None,
        keypoint_scores=None,
    )
    everyone = (others, before, after)
    if any(found.keypoints is None or found.keypoint_scores is None for found in everyone):
        return filled
    places, scores = zip(*((found.keypoints, found.keypoint_scores) for found in everyone), strict=True)
    return replace(
        filled,
        keypoints=np.concatenate([places[0], along(*places[1:])[None]]),
        keypoint_scores=np.concatenate([scores[0], faded(*scores[1:])[None]]),
        layout=others.layout,
    )
