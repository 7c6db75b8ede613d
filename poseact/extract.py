"""From frames to tracked poses: the part of the chain that needs no classifier, and the poses of a whole video."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np

from .detect import Detections, Detector, YoloDetector
from .device import choose_device
from .errors import InputError, UsageError
from .pose import Crops, PoseEstimator, YoloPoseEstimator
from .poses import PoseSequence
from .sampling import FASTEST_UNKNOWN
from .track import TrackedPoses, Tracker, prominence
from .video import Frame, Video
from .zoo import DEFAULT_DETECTOR, DEFAULT_POSE, resolve

log = logging.getLogger(__name__)

# Frames that go through a network together: more are no faster on a CPU, and cost memory.
_BATCH = {"cpu": 4, "mps": 8, "cuda": 16}

# Told how many seconds of the video are done, and of how many (None: not known).
Progress = Callable[[float, float | None], None]


class PoseStages:
    """Detector, pose estimator and tracker in a row.

    detector, pose: a name of the registry or a path, or your own callables, see `detect.Detector` and
    `pose.PoseEstimator`. device: auto, cpu, cuda, cuda:N or mps. crops: see `pose.Crops`.
    Names are checked at once (ModelError, UsageError); models are loaded when the first frame is there.
    """

    def __init__(
        self,
        detector: str | Path | Detector = DEFAULT_DETECTOR,
        pose: str | Path | PoseEstimator = DEFAULT_POSE,
        *,
        device: str = "auto",
        crops: Crops = "auto",
    ):
        self.device = choose_device(device)
        self.crops = crops
        self._detector = detector if callable(detector) else resolve(str(detector), "detector", log.warning)
        self._pose = pose if callable(pose) else resolve(str(pose), "pose", log.warning)

    @property
    def description(self) -> str:
        """What poses depend on: the same text, the same poses."""
        names = [
            m.stem if isinstance(m, Path) else getattr(m, "__qualname__", type(m).__qualname__)
            for m in (self._detector, self._pose)
        ]
        return f"detector {names[0]}, pose {names[1]}, crops {self.crops}"

    @cached_property
    def detector(self) -> Detector:
        return YoloDetector(self._detector, self.device) if isinstance(self._detector, Path) else self._detector

    @cached_property
    def pose(self) -> PoseEstimator:
        if not isinstance(self._pose, Path):
            return self._pose
        same_network = isinstance(self._detector, Path) and self._pose.samefile(self._detector)
        if self.crops == "never" and not same_network:
            raise UsageError("crops can only be left out where detector and pose model are the same network")
        return YoloPoseEstimator(self._pose, self.device, self.crops, same_network)

    def track(self, frames: Iterable[Frame], rate: float) -> Iterator[tuple[Frame, np.ndarray, Detections]]:
        """Each frame with everybody found in it, and their ids as `Tracker.update` gives them.

        rate: frames per second, about.
        """
        tracker = Tracker(rate)
        size = _BATCH[self.device.partition(":")[0]]
        frames = iter(frames)
        while batch := list(islice(frames, size)):
            for frame, found in zip(batch, self.pose(batch, self.detector(batch)), strict=True):
                yield frame, tracker.update(found.boxes, found.scores, frame.image.shape[:2]), found


def extract_poses(
    source: str | Path,
    stages: PoseStages,
    *,
    subjects: int | Literal["all"] = 1,
    rate: float | None = None,
    on_progress: Progress | None = None,
) -> PoseSequence:
    """The poses of the most prominent people of a whole video, the most prominent first.

    subjects: at most so many people. rate: look at no more than so many frames a second; None: at every frame.
    A video without people gives a sequence of nobody. Raises InputError if it cannot be read; damage in the
    middle is passed over and logged once as a warning.
    """
    if subjects != "all" and subjects < 1:
        raise UsageError(f"at least 1 subject must be extracted, got {subjects}")
    with Video(source) as video:
        thinner = FrameThinner(video.fps, rate)
        poses: TrackedPoses | None = None
        for frame, ids, found in stages.track(video.frames(wanted=thinner.wants), thinner.rate):
            if poses is None:
                poses = TrackedPoses(stages.pose.layout, frame.image.shape[:2])
            poses.add(frame.time, ids, found)
            if on_progress:
                on_progress(frame.time, video.announced_end)
        warn_of_damage(video)
    if poses is None:
        raise InputError(f"{source}: no frame can be converted; the file is damaged, try to export it again")
    everybody = poses.sequence(0.0, float("inf"))
    best_first = np.argsort(-prominence(everybody), kind="stable").tolist()
    return everybody.select(best_first if subjects == "all" else best_first[:subjects])


class FrameThinner:
    """Lets at most `rate` frames a second pass, evenly; None: all of them.

    4 frames a second of which 3 are wanted: times 0, .25, .5, .75, 1 -> x.xxx, the first of each third.
    """

    def __init__(self, fps: float, rate: float | None):
        if rate is not None and not 0 < rate < float("inf"):
            raise UsageError(f"the rate must be above 0 frames a second, got {rate:g}")
        self._limit = rate
        self._passed = -1
        self.rate = min(fps, rate or FASTEST_UNKNOWN)

    def wants(self, time: float) -> bool:
        """Whether the frame at `time` seconds passes. Times must increase."""
        if self._limit is None:
            return True
        slot = int(time * self._limit + 0.1)  # containers round times to milliseconds or so
        if slot <= self._passed:
            return False
        self._passed = slot
        return True


def warn_of_damage(video: Video) -> None:
    """Log what `video`, once read, turned out to lack."""
    if video.was_cut:
        log.warning(
            "%s ends at %.1f s although %.1f s are announced: the file seems to be cut; it is used up to there",
            video.path,
            video.end,
            video.announced_end,
        )
    elif video.decode_errors:
        log.warning("%s: %d damaged parts could not be decoded and were passed over", video.path, video.decode_errors)
