"""Keypoints that tremble less (SciPy's Savitzky-Golay filter)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .errors import UsageError
from .poses import PoseSequence

# Of the polynomial that is laid through the frames about each frame.
_ORDER = 2


def check_smoothing(seconds: float) -> float:
    """The same seconds. Raises UsageError if nothing can be smoothed over them."""
    if not 0 <= seconds < float("inf"):
        raise UsageError(f"keypoints are smoothed over 0 s or more, got {seconds:g}")
    return seconds


def smooth(poses: PoseSequence, seconds: float) -> PoseSequence:
    """The same poses with each keypoint's path smoothed over so many seconds; scores and boxes stay.

    A keypoint's path ends where the keypoint or the person is absent: nothing is smoothed across, and an absent
    keypoint stays where it is. Paths of less than 5 frames stay as they are; 0 seconds, or fewer than 5 frames in
    that time, change nothing. Frames are taken to be evenly spaced. Raises UsageError.
    """
    check_smoothing(seconds)
    if len(poses.times) < 2:
        return poses
    interval = float(np.median(np.diff(poses.times)))
    seconds = min(seconds, interval * len(poses.times))
    window = 2 * round(seconds / interval / 2) + 1
    if window < _ORDER + 3:
        return poses
    keypoints = poses.keypoints.copy()
    for person, there in enumerate(poses.scores > 0):
        for first, last, points in _paths(there):
            own = min(window, (last - first - 1) // 2 * 2 + 1)
            if own >= _ORDER + 3:
                keypoints[person, first:last, points] = _filtered(keypoints[person, first:last, points], own)
    return replace(poses, keypoints=keypoints)


def _filtered(path: np.ndarray, window: int) -> np.ndarray:
    from scipy.signal import savgol_filter

    return savgol_filter(path, window, _ORDER, axis=-2)


def _paths(there: np.ndarray) -> list[tuple[int, int, int]]:
    """Where each keypoint is without a break, as (first frame, frame after the last, keypoint). there: (T, K) bool."""
    edges = np.diff(np.pad(there, ((1, 1), (0, 0))).astype(np.int8), axis=0)
    return [
        (int(first), int(last), point)
        for point, changes in enumerate(edges.T)
        for first, last in zip(np.flatnonzero(changes == 1), np.flatnonzero(changes == -1), strict=True)
    ]
