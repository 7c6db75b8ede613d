"""One video's way through the chain, up to the clips that wait for their labels."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from .bundle import BundleInfo
from .classifier import Clip
from .clips import ClipLabel, LabelScore
from .detect import Detections
from .engine import Ahead, Engine
from .extract import PoseStages, Progress
from .files import readable
from .follow import Follow
from .options import Options
from .poses import PoseSequence
from .probe import check_moves
from .sampling import FramePlan, FrameThinner, Window
from .skeleton import Layout
from .smoothing import smooth
from .track import TrackedPoses, presence, prominence
from .video import Frame, Video

# Somebody counts as a person of the clip from this share of its frames on.
_LEAST_PRESENCE = 0.25
# With a label for each person, these are worth one.
_LEAST_PRESENCE_OF_A_LABELLED_PERSON = 0.5


@dataclass
class ClipRequest:
    """A clip that is to be labelled.

    source: as the user named it; clip: its number; start, end: seconds; persons: how many people are in it. people: for
    each label, the track id, or None if it is the clip's. inputs: for each label, what the classifier looks at. answer:
    of the classifier, once it was asked. arrived: when the last frame of a live source's clip did, by time.monotonic().
    poses: of everybody in it.
    """

    source: str
    clip: int
    start: float
    end: float
    persons: int
    people: list[int | None]
    inputs: list[Clip] = field(repr=False)
    poses: PoseSequence
    answer: Future | None = None
    arrived: float | None = None

    def label(
        self, person: int | None, label: str | None, score: float | None, top: tuple[LabelScore, ...]
    ) -> ClipLabel:
        """What the classifier says of a person of the clip, or of nobody."""
        return ClipLabel(self.source, self.clip, self.start, self.end, person, label, score, top, self.persons)


def request_clip(
    poses: PoseSequence,
    info: BundleInfo,
    options: Options,
    source: str | Path,
    clip: int,
    start: float,
    end: float,
) -> ClipRequest:
    """What to ask a classifier of a clip. poses: of the clip. info: of the classifier's bundle."""
    # What the volume will not show does not make a person present.
    shown = poses.confident(info.volume.least_score)
    share = presence(shown)
    subjects = _subjects(shown, share, info, options)
    people = [int(shown.track_ids[rows[0]]) if options.per_person else None for rows in subjects]
    inputs = [(shown.select(rows), start, end) for rows in subjects]
    persons = int((share >= _LEAST_PRESENCE).sum())
    return ClipRequest(readable(source), clip, start, end, persons, people, inputs, poses)


def _subjects(poses: PoseSequence, share: np.ndarray, info: BundleInfo, options: Options) -> list[list[int]]:
    """The people to label: for each label, the rows of `poses` that go into its volume."""
    per_person = options.per_person
    usable = np.flatnonzero(share >= (_LEAST_PRESENCE_OF_A_LABELLED_PERSON if per_person else _LEAST_PRESENCE))
    best_first = usable[np.argsort(-prominence(poses)[usable], kind="stable")]
    chosen = _first(best_first, options.subjects)
    if per_person:
        return [[int(row)] for row in np.sort(chosen)]
    chosen = _first(chosen, info.subjects)
    return [chosen.tolist()] if len(chosen) else []


def _first(rows: np.ndarray, count: int | Literal["all"]) -> np.ndarray:
    return rows if count == "all" else rows[:count]


class Lane:
    """Cuts the clips of one video, as soon as each is complete.

    window: the rule that cuts them. info: of the classifier's bundle. engine: whose threads do the work.
    """

    def __init__(
        self, video: Video, stages: PoseStages, window: Window, info: BundleInfo, options: Options, engine: Engine
    ):
        self.video, self.stages, self.engine = video, stages, engine
        self.window, self.info, self.options = window, info, options
        self._start = options.start or 0.0
        self._poses: _ClipPoses | None = None
        self._clip = 0
        # Of these, so many were of the part before the last gap.
        self._before_gap = 0
        # When the frames of a live source arrived, by their times.
        self._arrivals: deque[tuple[float, float]] = deque()

    def requests(self, on_progress: Progress | None = None) -> Iterator[ClipRequest]:
        """The clips in order. Raises InputError if the video cannot be read, or is a still picture."""
        if isinstance(self.video.path, Path):
            check_moves(self.video.path)
        announced_end = self._announced_end()
        plan = self._plan(announced_end)
        with self.stages.decoded(self.video, self.engine, self._start, self.options.end, plan.wants) as frames:
            yield from self._requests(frames, plan.rate, announced_end, on_progress)

    def _requests(
        self, frames: Ahead[Frame], rate: float, announced_end: float | None, on_progress: Progress | None
    ) -> Iterator[ClipRequest]:
        video, start = self.video, self._start
        tracked = self.stages.track(frames, rate, self.engine, video=video.path, is_live=video.is_live)
        last = start
        for frame, ids, found in tracked:
            if self._poses is None:
                size = frame.size
                self._poses = _ClipPoses(self.stages.pose.layout, size, self.options.smoothing, self.options.follow)
            if frame.after_gap:
                yield from self._rest(last)
                self._begin_anew(frame.time)
            last = frame.time
            if frame.arrived is not None:
                self._arrivals.append((frame.time, frame.arrived))
            settled = self._poses.add(frame.time, ids, found)
            yield from self._cut(self.window.settled(self._start, settled, self._clip - self._before_gap))
            if on_progress:
                on_progress(frame.time - start, None if announced_end is None else announced_end - start)
        yield from self._rest(video.end)
        if on_progress:
            on_progress(video.end - start, video.end - start)

    def _plan(self, announced_end: float | None) -> FramePlan | FrameThinner:
        fps, rate = self.video.fps, self.options.rate
        if self.options.sampling == "dense" or self.video.is_live:
            return FrameThinner(fps, rate)
        return FramePlan(self.window, self.info.clip_len, self._start, announced_end, fps, rate)

    def _announced_end(self) -> float | None:
        """Where the video is expected to end, in seconds."""
        ends = [end for end in (self.video.announced_end, self.options.end) if end is not None]
        return min(ends) if ends else None

    def _rest(self, end: float) -> Iterator[ClipRequest]:
        """The clips that are left when nothing follows."""
        if self._poses is not None and end > self._start:
            yield from self._cut(self.window.clips(self._start, end)[self._clip - self._before_gap :])

    def _begin_anew(self, start: float) -> None:
        self._start, self._before_gap = start, self._clip
        assert self._poses is not None
        self._poses.forget_before(start)

    def _cut(self, spans: list[tuple[float, float]]) -> Iterator[ClipRequest]:
        assert self._poses is not None
        for start, end in spans:
            poses = self._poses.clip(start, end)
            request = request_clip(poses, self.info, self.options, self.video.path, self._clip, start, end)
            request.arrived = self._arrival_of_last_before(end)
            yield request
            self._clip += 1
            self._poses.forget_before(start)

    def _arrival_of_last_before(self, end: float) -> float | None:
        arrived = None
        while self._arrivals and self._arrivals[0][0] < end - 1e-6:
            arrived = self._arrivals.popleft()[1]
        return arrived


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
