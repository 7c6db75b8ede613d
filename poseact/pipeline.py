"""The chain from videos to labels, streaming: what is kept in memory of each is one window of poses."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch

from .classifier import Classifier, Clip, Ensemble, load_classifier
from .clips import ClipLabel, LabelScore
from .detect import Detector
from .device import kind_of
from .engine import Ahead, Engine
from .errors import InputError, UsageError
from .extract import NETWORKS, PoseBackend, PoseStages, Progress, warn_of_damage
from .files import readable
from .lane import ClipRequest, Lane, request_clip
from .nets.freeze import Precision
from .options import Models, Options
from .pose import PoseEstimator
from .poses import PoseSequence, is_pose_file, load_poses
from .sampling import Window
from .smoothing import smooth
from .video import open_video
from .watch import Watch, doing
from .zoo import DEFAULT_CLASSIFIER, DEFAULT_DETECTOR, DEFAULT_POSE, resolve_all

log = logging.getLogger(__name__)

# Clips that may wait for their labels, where only one video is worked on.
_CLIPS_WAITING = 8
# From so many cores on a processor decodes faster than a GPU's decoder: 1080p H.264 beside an H100 at 670 frames/s on 4
# threads and 1101 on 8, by NVDEC at 656 (tests/benchmarks/decoding.py).
_CORES_THAT_FEED_A_GPU = 8
# The thread of the classifier, where it does not share that of the other networks.
_CLASSIFIER = "classifier"
# A camera that runs for a month must not fill the memory.
_LATENCIES = 10_000
# Videos that may be done, or wait for their turn, while one before them is not done.
_BEGUN = 64
# Clips that go through the classifier together.
_CLIPS_TOGETHER = {"cpu": 1, "mps": 4, "cuda": 32}

# Told which of several sources is meant, and of it what `Progress` is.
SourceProgress = Callable[[int, float, float | None], None]
# Told which of several sources is meant, and the poses of everybody in one of its clips.
SourcePoses = Callable[[int, PoseSequence], None]


class Pipeline:
    """Detector, pose estimator, tracker and classifier in a row.

    classifier, detector, pose: a name of the registry or a path; of classifiers, several between commas are
    averaged, with `weights` if given. detector and pose may also be your own callables, see `detect.Detector` and
    `pose.PoseEstimator`; they are called in a thread of the chain. device: auto, cpu, cuda, cuda:N or mps. precision:
    of the classifier, see `nets.freeze`. backend: of the other networks, see `PoseStages`.
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
        backend: PoseBackend = "auto",
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
            search=self.options.search,
            boxes=self.options.boxes,
            smoothing=self.options.smoothing,
            backend=backend,
        )
        self.device = self.stages.device
        # What the threads of the last run did.
        self.watch: Watch | None = None
        # Seconds from when the last frame of a clip of a live source arrived to its label, of the last clips.
        self.latencies: deque[float] = deque(maxlen=_LATENCIES)

    @classmethod
    def of(cls, models: Models, device: str = "auto", options: Options | None = None) -> Pipeline:
        """A chain of these models; raises as the constructor does."""
        return cls(
            models.classifier,
            detector=models.detector,
            pose=models.pose,
            device=device,
            weights=models.weights,
            precision=models.precision,
            backend=models.backend,
            options=options,
        )

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
        """Label a video or a live source, clip by clip, as soon as each is complete; or each sequence of a pose file
        (`is_pose_file`).

        Raises InputError if it cannot be read, StalledError if a stage hangs; damage in the middle is passed over and
        logged once as a warning.
        """
        progress = None if on_progress is None else (lambda which, done, total: on_progress(done, total))
        return self.stream_all([source], progress)

    def stream_all(
        self,
        sources: Sequence[str | Path],
        on_progress: SourceProgress | None = None,
        on_error: Callable[[int, InputError], None] | None = None,
        at_once: int = 1,
        on_poses: SourcePoses | None = None,
    ) -> Generator[ClipLabel, None, None]:
        """Label several videos or pose files. Labels come video by video, in the order of the sources, though several
        are worked on at once.

        at_once: how many; they share the networks, and what is left of one video fills the batches of another.
        on_progress: is told which of the sources is meant, and what `Progress` is; from any thread. on_error: told what
        cannot be read, which is then left out; None: raised. on_poses: is told the poses of each clip, before its
        labels.
        """
        if at_once < 1:
            raise UsageError(f"at least 1 video must be worked on at a time, got {at_once}")
        at_once = min(at_once, max(1, len(sources)))
        _ = self.classifier  # before several threads ask for it
        with Engine(self.options.patience) as engine:
            self.watch = engine.watch
            self.latencies.clear()
            turns = _Turns(at_once, len(sources))
            waiting, begun = deque(enumerate(sources)), deque[tuple[int, Ahead[ClipRequest]]]()
            while waiting or begun:
                while waiting and len(begun) < (1 if at_once == 1 else _BEGUN):
                    which, source = waiting.popleft()
                    begun.append((which, self._begin(which, source, engine, turns, on_progress)))
                which, requests = begun.popleft()
                try:
                    yield from self._labels(which, requests, engine, on_poses)
                except InputError as error:
                    if on_error is None:
                        raise
                    requests.stop()
                    on_error(which, error)

    @property
    def _kind(self) -> str:
        return kind_of(self.device)

    def _decodes_on(self) -> str:
        """The GPU, where the processor has too few cores to feed it."""
        return self.device if (os.cpu_count() or 1) < _CORES_THAT_FEED_A_GPU else "cpu"

    def _begin(
        self, which: int, source: str | Path, engine: Engine, turns: _Turns, on_progress: SourceProgress | None
    ) -> Ahead[ClipRequest]:
        progress = None if on_progress is None else partial(on_progress, which)
        if is_pose_file(source):
            requests = self._requests_of_poses(source, progress)
        else:
            requests = self._requests_of_video(source, engine, turns.is_for_one, progress)
        asked = self._asked(turns.take(requests), engine)
        return engine.ahead("people and clips", asked, _CLIPS_WAITING if turns.at_once == 1 else float("inf"))

    def _requests_of_video(
        self, source: str | Path, engine: Engine, is_alone: bool, on_progress: Progress | None
    ) -> Iterator[ClipRequest]:
        with open_video(source, realtime=self.options.realtime, device=self._decodes_on()) as video:
            if video.is_live and not is_alone:
                name = readable(video.path)
                raise UsageError(f"{name} is watched live, so it must be the only source; run poseact for each")
            lane = Lane(video, self.stages, self.window, self.classifier.info, self.options, engine)
            yield from lane.requests(on_progress)
            warn_of_damage(video)

    def _requests_of_poses(self, source: str | Path, on_progress: Progress | None) -> Iterator[ClipRequest]:
        """Sequences that cannot be labelled are left out and reported. Raises InputError if that is all of them."""
        annotations = list(load_poses(source).annotations.values())
        if self.options.follow and len(annotations) > 1:
            raise UsageError(f"{source} is of {len(annotations)} videos, so it cannot be told whom to follow")
        failed = 0
        for annotation in annotations:
            try:
                yield from self._requests(annotation.poses, annotation.source, on_progress)
            except InputError as error:
                if len(annotations) == 1:
                    raise
                failed += 1
                if failed == len(annotations):
                    raise InputError(f"{error}; nor can any of the others be labelled") from error
                log.warning("%s; it is left out", error)

    def _asked(self, requests: Iterator[ClipRequest], engine: Engine) -> Iterator[ClipRequest]:
        """The requests, once the classifier was asked."""
        for request in requests:
            if request.inputs:
                thread, run = NETWORKS, self.classifier.probabilities
                if self._kind == "cuda":
                    thread = _CLASSIFIER
                elif self._kind == "cpu" and self.stages.leaves_torch_alone:
                    thread, run = _CLASSIFIER, self._probabilities_on_half_of_the_cores
                most = _CLIPS_TOGETHER[self._kind]
                request.answer = engine.submit(thread, "classification", run, request.inputs, most)
                request.inputs = []
            yield request

    def _probabilities_on_half_of_the_cores(self, clips: Sequence[Clip]) -> np.ndarray:
        """Beside detection, a team of as many threads as there are cores would mostly wait for its last one."""
        before = torch.get_num_threads()
        torch.set_num_threads(max(1, before // 2))
        try:
            return self.classifier.probabilities(clips)
        finally:
            torch.set_num_threads(before)

    def _labels(
        self, which: int, requests: Iterable[ClipRequest], engine: Engine, on_poses: SourcePoses | None
    ) -> Iterator[ClipLabel]:
        for request in requests:
            if on_poses is not None:
                on_poses(which, request.poses)
            yield from self._labelled(request, engine.result(request.answer) if request.answer else [])
            if request.arrived is not None:
                self.latencies.append(time.monotonic() - request.arrived)

    def label_poses(self, poses: PoseSequence, source: str, on_progress: Progress | None = None) -> Iterator[ClipLabel]:
        """Label poses as the video that they are from would be. source: what the labels name.

        Raises InputError if none lie between the options' start and end.
        """
        for request in self._requests(poses, source, on_progress):
            yield from self._labelled(request, self.classifier.probabilities(request.inputs) if request.inputs else [])

    def _requests(self, poses: PoseSequence, source: str, on_progress: Progress | None = None) -> Iterator[ClipRequest]:
        start, options_end = self.options.start or 0.0, self.options.end
        end = float(poses.times[-1]) if poses.end is None else poses.end
        end = end if options_end is None else min(end, options_end)
        if not len(poses.between(start, end).times):
            raise InputError(
                f"{readable(source)} ends at {end:g} s and has no poses from {start:g} s to there; choose others"
            )
        poses = smooth(poses, self.stages.smoothing)
        if self.options.follow:
            poses = poses.select([self.options.follow.row_in(poses)])
        info = self.classifier.info
        for clip, span in enumerate(self.window.clips(start, end)):
            yield request_clip(poses.between(*span), info, self.options, source, clip, *span)
            if on_progress:
                on_progress(span[1] - start, end - start)

    def _labelled(self, request: ClipRequest, probabilities: Iterable[np.ndarray]) -> Iterator[ClipLabel]:
        if not request.people:
            yield request.label(None, None, None, ())
        for person, scores in zip(request.people, probabilities, strict=True):
            yield self._clip_label(request, person, scores)

    def _clip_label(self, request: ClipRequest, person: int | None, scores: np.ndarray) -> ClipLabel:
        info = self.classifier.info
        best = np.argsort(-scores, kind="stable")[: self.options.top_k]
        top = tuple(LabelScore(info.labels[i], float(scores[i])) for i in best)
        threshold = info.rejection_threshold if self.options.min_score is None else self.options.min_score
        return request.label(person, top[0].label if top[0].score >= threshold else None, top[0].score, top)


class _Turns:
    """Lets so many of the videos be worked on at a time, in their order."""

    def __init__(self, at_once: int, count: int):
        self.at_once = at_once
        self.is_for_one = count == 1
        self._free = threading.Semaphore(at_once)

    def take(self, requests: Iterator[ClipRequest]) -> Iterator[ClipRequest]:
        with doing("starved"):  # or else the watch would take a long wait for a stage that hangs
            self._free.acquire()
        try:
            yield from requests
        finally:
            self._free.release()
