"""The chain from a video to its labels, streaming: what is kept in memory is one window of poses."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from .classifier import Classifier, Ensemble, load_classifier
from .clips import ClipLabel, LabelScore
from .detect import Detections, Detector
from .errors import InputError, UsageError
from .extract import FrameThinner, PoseStages, Progress, warn_of_damage
from .follow import Follow
from .nets.freeze import Precision
from .pose import Crops, PoseEstimator
from .poses import Annotation, PoseSequence, is_pose_file, load_poses
from .sampling import FramePlan, Window
from .skeleton import Layout
from .smoothing import smooth
from .track import TrackedPoses, presence, prominence
from .video import Video
from .zoo import DEFAULT_CLASSIFIER, DEFAULT_DETECTOR, DEFAULT_POSE, resolve_all

log = logging.getLogger(__name__)

# Somebody counts as a person of the clip from this share of its frames on.
_LEAST_PRESENCE = 0.25
# With a label for each person, these are worth one.
_LEAST_PRESENCE_OF_A_LABELLED_PERSON = 0.5

# A window or stride shorter than a frame is a slip of the keyboard.
_SHORTEST = 0.01


@dataclass(frozen=True)
class Options:
    """What is labelled and what is told of it.

    window, stride: seconds; None: the bundle's own, or half of a window that is given; "whole": the whole
    video is one clip. start, end: the part of the video to look at, in seconds. per_person: a label for each
    person instead of one for the clip. subjects: look only at so many people of each clip, the most prominent; of
    them the label of a clip takes as many as the bundle expects. rate: look at no more than so many frames a second
    of a video; None: at all that a clip samples. follow: look only at this person of the one video. top_k: how many of
    the most likely labels a clip lists. min_score: below it a clip's label is None; None: the bundle's rejection
    threshold. crops, boxes, smoothing: see `PoseStages`.
    """

    window: float | Literal["whole"] | None = None
    stride: float | None = None
    start: float | None = None
    end: float | None = None
    per_person: bool = False
    subjects: int | Literal["all"] = "all"
    rate: float | None = None
    follow: Follow | None = None
    top_k: int = 5
    min_score: float | None = None
    crops: Crops = "auto"
    boxes: str | Path | None = None
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        for name, seconds in (("window", self.window), ("stride", self.stride)):
            if seconds is not None and seconds != "whole" and not _SHORTEST <= seconds < float("inf"):
                raise UsageError(f"the {name} must be at least {_SHORTEST} s, got {seconds:g}")
        if self.window == "whole" and self.stride is not None:
            raise UsageError("with the whole video as one clip there is no stride; leave one of them out")
        if self.start is not None and not 0 <= self.start < float("inf"):
            raise UsageError(f"the start must be 0 s or later, got {self.start:g}")
        if self.end is not None and not (self.start or 0) < self.end < float("inf"):
            raise UsageError(f"the end must be a time later than the start ({self.start or 0:g} s), got {self.end:g}")
        if self.subjects != "all" and self.subjects < 1:
            raise UsageError(f"at least 1 subject must be looked at, got {self.subjects}")
        FrameThinner(1.0, self.rate)  # knows which rates cannot be
        if self.boxes is not None and self.start:
            raise UsageError("boxes from a file count frames from the start of the video, so a later start cannot be")
        if self.top_k < 1:
            raise UsageError(f"at least 1 label must be listed, got {self.top_k}")
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise UsageError(f"the least score must be in [0, 1], got {self.min_score:g}")
        if self.crops not in ("auto", "always", "never"):
            raise UsageError(f"crops must be auto, always or never, got {self.crops!r}")


class Pipeline:
    """Detector, pose estimator, tracker and classifier in a row.

    classifier, detector, pose: a name of the registry or a path; of classifiers, several between commas are
    averaged, with `weights` if given. detector and pose may also be your own callables, see `detect.Detector` and
    `pose.PoseEstimator`. device: auto, cpu, cuda, cuda:N or mps. precision: of the classifier, see `nets.freeze`.
    Names and options are checked at once (ModelError, UsageError); models are loaded when the first video is.
    """

    def __init__(
        self,
        classifier: str | Path = DEFAULT_CLASSIFIER,
        *,
        detector: str | Path | Detector = DEFAULT_DETECTOR,
        pose: str | Path | PoseEstimator = DEFAULT_POSE,
        device: str = "auto",
        weights: Sequence[float] | None = None,
        precision: Precision = "auto",
        options: Options | None = None,
    ):
        self.options = options or Options()
        self._classifiers = resolve_all(str(classifier), "classifier", log.warning)
        self._weights, self._precision = weights, precision
        self.stages = PoseStages(
            detector,
            pose,
            device=device,
            crops=self.options.crops,
            boxes=self.options.boxes,
            smoothing=self.options.smoothing,
        )
        self.device = self.stages.device

    @cached_property
    def classifier(self) -> Classifier | Ensemble:
        return load_classifier(self._classifiers, self.device, self._precision, self._weights)

    @property
    def window(self) -> Window:
        """The rule that cuts clips: the options', or else the bundle's."""
        length, stride, info = self.options.window, self.options.stride, self.classifier.info
        if length == "whole":
            return Window(None)
        return Window(info.window, stride or info.stride) if length is None else Window(length, stride)

    def stream(self, source: str | Path, on_progress: Progress | None = None) -> Iterator[ClipLabel]:
        """Label a video, clip by clip, as soon as each is complete; or each sequence of a pose file (`is_pose_file`).

        Raises InputError if it cannot be read; damage in the middle is passed over and logged once as a warning.
        """
        if is_pose_file(source):
            annotations = load_poses(source).annotations.values()
            if self.options.follow and len(annotations) > 1:
                raise UsageError(f"{source} is of {len(annotations)} videos, so it cannot be told whom to follow")
            yield from self._label_all(list(annotations), on_progress)
            return
        with Video(source) as video:
            yield from self._label(video, _readable(source), on_progress)
            warn_of_damage(video)

    def _label_all(self, annotations: Sequence[Annotation], on_progress: Progress | None) -> Iterator[ClipLabel]:
        """Those that cannot be labelled are left out and reported. Raises InputError if that is all of them."""
        failed = 0
        for annotation in annotations:
            try:
                yield from self.label_poses(annotation.poses, annotation.source, on_progress)
            except InputError as error:
                if len(annotations) == 1:
                    raise
                failed += 1
                if failed == len(annotations):
                    raise InputError(f"{error}; nor can any of the others be labelled") from error
                log.warning("%s; it is left out", error)

    def label_poses(self, poses: PoseSequence, source: str, on_progress: Progress | None = None) -> Iterator[ClipLabel]:
        """Label poses as the video that they are from would be. source: what the labels name.

        Raises InputError if none lie between the options' start and end.
        """
        source = _readable(source)
        start, options_end = self.options.start or 0.0, self.options.end
        end = float(poses.times[-1]) if poses.end is None else poses.end
        end = end if options_end is None else min(end, options_end)
        if not len(poses.between(start, end).times):
            raise InputError(f"{source} ends at {end:g} s and has no poses from {start:g} s to there; choose others")
        poses = smooth(poses, self.stages.smoothing)
        if self.options.follow:
            poses = poses.select([self.options.follow.row_in(poses)])
        for clip, (clip_start, clip_end) in enumerate(self.window.clips(start, end)):
            yield from self._clip_labels(poses.between(clip_start, clip_end), source, clip, clip_start, clip_end)
            if on_progress:
                on_progress(clip_end - start, end - start)

    def _label(self, video: Video, source: str, on_progress: Progress | None) -> Iterator[ClipLabel]:
        window, clip_len = self.window, self.classifier.info.clip_len
        start, announced_end = self._span(video)
        plan: FramePlan | FrameThinner = FramePlan(window, clip_len, start, announced_end, video.fps)
        if self.options.rate is not None:
            plan = FrameThinner(video.fps, self.options.rate)
        poses: _ClipPoses | None = None
        done = 0
        frames = video.frames(start, self.options.end, plan.wants)
        for frame, ids, found in self.stages.track(frames, plan.rate, video.path):
            if poses is None:
                size = frame.image.shape[:2]
                poses = _ClipPoses(self.stages.pose.layout, size, self.stages.smoothing, self.options.follow)
            settled = poses.add(frame.time, ids, found)
            for clip_start, clip_end in window.settled(start, settled, done):
                yield from self._clip_labels(poses.clip(clip_start, clip_end), source, done, clip_start, clip_end)
                done += 1
                poses.forget_before(clip_start)
            if on_progress:
                on_progress(frame.time - start, None if announced_end is None else announced_end - start)
        if poses is not None:
            for clip_start, clip_end in window.clips(start, video.end)[done:]:
                yield from self._clip_labels(poses.clip(clip_start, clip_end), source, done, clip_start, clip_end)
                done += 1

    def _span(self, video: Video) -> tuple[float, float | None]:
        """Where to start, and where the video is expected to end, in seconds."""
        ends = [end for end in (video.announced_end, self.options.end) if end is not None]
        return self.options.start or 0.0, min(ends) if ends else None

    def _clip_labels(
        self, poses: PoseSequence, source: str, clip: int, start: float, end: float
    ) -> Iterator[ClipLabel]:
        # What the volume will not show does not make a person present.
        poses = poses.confident(self.classifier.info.volume.least_score)
        share = presence(poses)
        persons = int((share >= _LEAST_PRESENCE).sum())
        subjects = self._subjects(poses, share)
        if not subjects:
            yield ClipLabel(source, clip, start, end, None, None, None, (), persons)
            return
        probabilities = self.classifier.probabilities([(poses.select(rows), start, end) for rows in subjects])
        for rows, scores in zip(subjects, probabilities, strict=True):
            person = int(poses.track_ids[rows[0]]) if self.options.per_person else None
            yield self._clip_label(scores, source, clip, start, end, person, persons)

    def _subjects(self, poses: PoseSequence, share: np.ndarray) -> list[list[int]]:
        """The people to label: for each label, the rows of `poses` that go into its volume."""
        per_person = self.options.per_person
        usable = np.flatnonzero(share >= (_LEAST_PRESENCE_OF_A_LABELLED_PERSON if per_person else _LEAST_PRESENCE))
        best_first = usable[np.argsort(-prominence(poses)[usable], kind="stable")]
        chosen = _first(best_first, self.options.subjects)
        if per_person:
            return [[int(row)] for row in np.sort(chosen)]
        chosen = _first(chosen, self.classifier.info.subjects)
        return [chosen.tolist()] if len(chosen) else []

    def _clip_label(
        self, scores: np.ndarray, source: str, clip: int, start: float, end: float, person: int | None, persons: int
    ) -> ClipLabel:
        labels = self.classifier.info.labels
        best = np.argsort(-scores, kind="stable")[: self.options.top_k]
        top = tuple(LabelScore(labels[i], float(scores[i])) for i in best)
        threshold = self.options.min_score
        if threshold is None:
            threshold = self.classifier.info.rejection_threshold
        label = top[0].label if top[0].score >= threshold else None
        return ClipLabel(source, clip, start, end, person, label, top[0].score, top, persons)


class _ClipPoses:
    """The poses that clips of a video are cut from: smoothed, and of nobody but whom we follow."""

    def __init__(self, layout: Layout, image_size: tuple[int, int], smoothing: float, follow: Follow | None):
        self._poses = TrackedPoses(layout, image_size)
        self._smoothing = smoothing
        self._follow = follow
        self._followed: int | None = None

    def add(self, time: float, ids: np.ndarray, detections: Detections) -> float:
        """As `TrackedPoses.add`. Returns up to which time, in seconds, clips can be cut now."""
        self._poses.add(time, ids, detections)
        is_unknown = self._follow is not None and time < self._follow.time
        return float("-inf") if is_unknown else time - self._smoothing

    def clip(self, start: float, end: float) -> PoseSequence:
        """The poses of [start, end) seconds."""
        # With as much around it as bears on what is in it.
        around = self._poses.sequence(start - self._smoothing, end + self._smoothing)
        if self._follow is not None:
            if self._followed is None:
                known = self._poses.sequence(0.0, float("inf"))
                self._followed = int(known.track_ids[self._follow.row_in(known)])
            around = around.select(np.flatnonzero(around.track_ids == self._followed).tolist())
        return smooth(around, self._smoothing).between(start, end)

    def forget_before(self, start: float) -> None:
        """Drop what no clip that starts at `start` or later needs."""
        self._poses.forget_before(start - self._smoothing)


def _first(rows: np.ndarray, count: int | Literal["all"]) -> np.ndarray:
    return rows if count == "all" else rows[:count]


def _readable(source: str | Path) -> str:
    """The name as text that every file and terminal can take, even where the file system's is no text."""
    return os.fsencode(source).decode("utf-8", "replace")
