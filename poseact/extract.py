"""From frames to tracked poses: the part of the chain that needs no classifier, and the poses of a whole video."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Literal

from .boxes import BoxesDetector, boxes_of
from .cuts import mark_cuts
from .detect import Detector, YoloDetector
from .device import choose_device
from .errors import InputError, UsageError
from .follow import Follow
from .gaps import Tracked, fill_gaps
from .pose import Crops, PoseEstimator, YoloPoseEstimator
from .poses import PoseSequence
from .rtm import RtmDetector, RtmPose
from .sampling import FASTEST_UNKNOWN
from .smoothing import check_smoothing, smooth
from .track import TrackedPoses, Tracker
from .video import Frame, Video
from .zoo import DEFAULT_DETECTOR, DEFAULT_POSE, complete_mode, resolve, sha256

log = logging.getLogger(__name__)

# Frames that go through a network together: more are no faster on a CPU, and cost memory.
_BATCH = {"cpu": 4, "mps": 8, "cuda": 16}
# Somebody who is not found is put back in between sightings that are no further apart than this, in seconds.
_LONGEST_GAP = 0.25

# Told how many seconds of the video are done, and of how many (None: not known).
Progress = Callable[[float, float | None], None]


class PoseStages:
    """Detector, pose estimator and tracker in a row.

    detector, pose: a name of the registry, a path (.onnx: rtmlib's networks, else Ultralytics'), or your own callables,
    see `detect.Detector` and `pose.PoseEstimator`. One of rtmlib's modes, given for one of them, also sets the other
    if that is left at its default. device: auto, cpu, cuda, cuda:N or mps. crops: see `pose.Crops`.
    boxes: a file of boxes, or a folder with one for each video, instead of the detector, see `boxes`. smoothing: of
    whole sequences and clips, in seconds, see `smoothing`; 0: none.
    Names are checked at once (ModelError, UsageError); models are loaded when the first frame is there.
    """

    def __init__(
        self,
        detector: str | Path | Detector = DEFAULT_DETECTOR,
        pose: str | Path | PoseEstimator = DEFAULT_POSE,
        *,
        device: str = "auto",
        crops: Crops = "auto",
        boxes: str | Path | None = None,
        smoothing: float = 0.0,
    ):
        self.device = choose_device(device)
        self.crops = crops
        self.boxes = None if boxes is None else Path(boxes)
        self.smoothing = check_smoothing(smoothing)
        detector, pose = complete_mode(detector, pose)
        self._detector = detector if callable(detector) else resolve(str(detector), "detector", log.warning)
        self._pose = pose if callable(pose) else resolve(str(pose), "pose", log.warning)

    @property
    def description(self) -> str:
        """What poses depend on: the same text, the same poses."""
        names = [
            # Ultralytics calls all weights that it trains best.pt.
            f"{m.stem} {sha256(m)[:8]}" if isinstance(m, Path) else getattr(m, "__qualname__", type(m).__qualname__)
            for m in (self._detector, self._pose)
        ]
        boxes = f"boxes {self.boxes}" if self.boxes else f"detector {names[0]}"
        smoothing = f", smoothing {self.smoothing:g} s" if self.smoothing else ""
        return f"{boxes}, pose {names[1]}, crops {self.crops}{smoothing}"

    @cached_property
    def detector(self) -> Detector:
        if not isinstance(self._detector, Path):
            return self._detector
        backend = RtmDetector if _is_onnx(self._detector) else YoloDetector
        return backend(self._detector, self.device)

    @cached_property
    def pose(self) -> PoseEstimator:
        if not isinstance(self._pose, Path):
            return self._pose
        detector = self._detector if self.boxes is None else None
        same_network = isinstance(detector, Path) and self._pose.samefile(detector)
        if self.crops == "never" and not same_network:
            raise UsageError("crops can only be left out where detector and pose model are the same network")
        if _is_onnx(self._pose):
            return RtmPose(self._pose, self.device)
        return YoloPoseEstimator(self._pose, self.device, self.crops, same_network)

    def track(self, frames: Iterable[Frame], rate: float, video: str | Path = "") -> Iterator[Tracked]:
        """Each frame with everybody found in it, and their ids as `Tracker.update` gives them; a few frames late.

        Frames are black by then, so that those that wait take no memory. Somebody who is missing for a moment is put
        back in (see `gaps`); after a cut everybody is new. rate: frames per second, about. video: whose frames they
        are, from its start, where boxes come from a folder.
        """
        detector = self.detector if self.boxes is None else BoxesDetector(boxes_of(self.boxes, video))
        return fill_gaps(self._tracked(frames, rate, detector), _LONGEST_GAP)

    def _tracked(self, frames: Iterable[Frame], rate: float, detector: Detector) -> Iterator[Tracked]:
        tracker = Tracker(rate)
        size = _BATCH[self.device.partition(":")[0]]
        marked = mark_cuts(frames)
        while batch := list(islice(marked, size)):
            images = [frame for frame, _ in batch]
            for (frame, new_scene), found in zip(batch, self.pose(images, detector(images)), strict=True):
                if new_scene:
                    tracker.restart()
                ids = tracker.update(found.boxes, found.scores, frame.image) if found.ids is None else found.ids
                yield frame.blank(), ids, found


def _is_onnx(weights: Path) -> bool:
    return weights.suffix.lower() == ".onnx"


def extract_poses(
    source: str | Path,
    stages: PoseStages,
    *,
    subjects: int | Literal["all"] = 1,
    follow: Follow | None = None,
    rate: float | None = None,
    on_progress: Progress | None = None,
) -> PoseSequence:
    """The poses of the most prominent people of a whole video, the most prominent first.

    subjects: at most so many people. follow: this person instead, as long as the tracker keeps them. rate: look at
    no more than so many frames a second; None: at every frame. A video without people gives a sequence of nobody.
    Raises InputError if it cannot be read, or nobody is where `follow` says; damage in the middle is passed over and
    logged once as a warning.
    """
    if subjects != "all" and subjects < 1:
        raise UsageError(f"at least 1 subject must be extracted, got {subjects}")
    if follow and subjects != 1:
        raise UsageError(f"one person is followed, so subjects must be 1, got {subjects}")
    with Video(source) as video:
        thinner = FrameThinner(video.fps, rate)
        poses: TrackedPoses | None = None
        for frame, ids, found in stages.track(video.frames(wanted=thinner.wants), thinner.rate, source):
            if poses is None:
                poses = TrackedPoses(stages.pose.layout, frame.image.shape[:2])
            poses.add(frame.time, ids, found)
            if on_progress:
                on_progress(frame.time, video.announced_end)
        warn_of_damage(video)
    if poses is None:
        raise InputError(f"{source}: no frame can be converted; the file is damaged, try to export it again")
    if follow:
        chosen = [follow.id_in(poses)]
    else:
        chosen = poses.best_first()[: None if subjects == "all" else subjects]
    return smooth(poses.sequence(0.0, video.end, chosen), stages.smoothing)


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
