"""From frames to tracked poses: the part of the chain that needs no classifier, and the poses of a whole video."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

from .boxes import BoxesDetector, boxes_of
from .cuts import MarkedFrame, mark_cuts
from .detect import Detections, Detector, YoloDetector
from .device import choose_device, kind_of
from .engine import Ahead, Engine, begun_ahead, in_threads
from .errors import InputError, UsageError
from .failure import Failure
from .follow import Follow
from .gaps import Tracked, fill_gaps
from .keyframes import KeyFrames, Search, frames_between_keys
from .network_thread import Run
from .pose import Crops, PoseEstimator, YoloPoseEstimator
from .poses import PoseSequence
from .rtm import OnnxBackend, RtmDetector, RtmPose
from .sampling import FrameThinner
from .smoothing import check_smoothing, smooth
from .track import Found, TrackedPoses, Tracker, follow
from .track_process import TrackerProcess, follow_elsewhere
from .video import Frame, IndexedPicture, Scale, Video, open_video
from .yolo import Backend, batch_size, scaled_size
from .zoo import DEFAULT_DETECTOR, DEFAULT_POSE, complete_mode, resolve, sha256

log = logging.getLogger(__name__)

# Pictures that wait between two stages, and that go through a network together, have at most so many bytes.
_MOST_WAITING = {"cpu": 64e6, "mps": 64e6, "cuda": 128e6}
_MOST_TOGETHER = {"cpu": 64e6, "mps": 128e6, "cuda": 256e6}
# Batches of one video that are with the networks at a time, so that these need not wait for the tracker.
_IN_FLIGHT = 2
# Somebody who is not found is put back in between sightings that are no further apart than this, in seconds.
_LONGEST_GAP = 0.25

# A chain on a GPU that has so many cores to itself is limited by Python, whose threads take turns: who waits for
# another to let go of the lock does nothing. So it has more threads than it has stages, and a process more.
_MANY_CORES = 8
# Threads that convert pictures then, and pictures that each takes at a time.
_CONVERTERS, _CONVERTED_TOGETHER = 3, 2

# The thread in which detector and pose estimator run, and on a CPU whatever else runs on torch's team of threads.
NETWORKS = "networks"
# What runs detector and pose estimator on a CPU: OpenVINO, or what their files are made for (PyTorch, ONNX Runtime);
# auto: OpenVINO where it is installed.
PoseBackend = Literal["auto", "native", "openvino"]
# Told how many seconds of the video are done, and of how many (None: not known).
Progress = Callable[[float, float | None], None]


class PoseStages:
    """Detector, pose estimator and tracker in a row.

    detector, pose: a name of the registry, a path (.onnx: rtmlib's networks, else Ultralytics'), or your own callables,
    see `detect.Detector` and `pose.PoseEstimator`. One of rtmlib's modes, given for one of them, also sets the other
    if that is left at its default. device: auto, cpu, cuda, cuda:N or mps. crops: see `pose.Crops`.
    boxes: a file of boxes, or a folder with one for each video, instead of the detector, see `boxes`. smoothing: of
    whole sequences and clips, in seconds, see `smoothing`; 0: none. backend: see `PoseBackend`.
    search: see `keyframes.Search`.
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
        backend: PoseBackend = "auto",
        search: Search = "auto",
    ):
        self.device = choose_device(device)
        if boxes is not None and search == "whole":
            raise UsageError("boxes come from a file, so nobody is searched for; leave one of boxes and search out")
        self.crops = crops
        self.backend = backend
        self.search = search
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
        search = ", key frames" if self._searches_by_keys else ""
        search += ", scaled" if self.scale else ""
        smoothing = f", smoothing {self.smoothing:g} s" if self.smoothing else ""
        return f"{boxes}, pose {names[1]}, crops {self.crops}{search}{smoothing}"

    @cached_property
    def detector(self) -> Detector:
        if not isinstance(self._detector, Path):
            return self._detector
        if _is_onnx(self._detector):
            return RtmDetector(self._detector, self.device, self._onnx_backend)
        return YoloDetector(self._detector, self.device, self._yolo_backend)

    @cached_property
    def pose(self) -> PoseEstimator:
        if not isinstance(self._pose, Path):
            return self._pose
        if self.crops == "never" and not self._is_one_network:
            raise UsageError("crops can only be left out where detector and pose model are the same network")
        if _is_onnx(self._pose):
            return RtmPose(self._pose, self.device, self._onnx_backend)
        return YoloPoseEstimator(self._pose, self.device, self.crops, self._is_one_network, self._yolo_backend)

    @property
    def _is_one_network(self) -> bool:
        """Whether the detector finds the keypoints too."""
        detector, pose = self._detector, self._pose
        return self.boxes is None and isinstance(detector, Path) and isinstance(pose, Path) and pose.samefile(detector)

    @property
    def scale(self) -> Scale | None:
        """What to scale frames to while they are converted. None where most are looked at as a whole: by top-down
        networks, by callables of one's own, and on Apple's GPUs, where Ultralytics' predictor scales them itself."""
        is_enough = self._is_one_network and self.crops != "always"
        return scaled_size if is_enough and kind_of(self.device) != "mps" else None

    @property
    def _searches_by_keys(self) -> bool:
        """Whether a part of a picture is less work than the whole; a GPU has done either at once."""
        is_yolo = self.boxes is None and isinstance(self._detector, Path) and not _is_onnx(self._detector)
        return self.search == "auto" and kind_of(self.device) == "cpu" and is_yolo

    @property
    def _yolo_backend(self) -> Backend:
        return "torch" if self.backend == "native" else self.backend

    @property
    def _onnx_backend(self) -> OnnxBackend:
        return "onnxruntime" if self.backend == "native" else self.backend

    @contextmanager
    def decoded(
        self,
        video: Video,
        engine: Engine,
        start: float | None = None,
        end: float | None = None,
        wanted: Callable[[float], bool] | None = None,
    ) -> Iterator[Ahead[Frame]]:
        """The frames of a video, see `Video.frames`, decoded in one thread, and converted or only scaled in others; of
        a live one, without a queue in which they would grow old."""
        import cv2

        # As Ultralytics does once one of our threads imports it; if OpenCV's own are at work then, it divides by zero.
        cv2.setNumThreads(0)
        room = 0 if video.is_live else _MOST_WAITING[kind_of(self.device)]
        # How long to wait for a camera or a pipe is not for us to say.
        pulse = (lambda: video.position) if isinstance(video.path, Path) else time.monotonic
        pictures = engine.ahead("decoding", video.pictures(start, end, wanted), room, _size_of, pulse)
        try:
            # The pictures of a camera may lie in memory of its driver's, which takes it back when the camera is lost.
            convert = partial(video.converted, scale=None if video.is_live else self.scale)
            if self._has_cores_to_spare and not video.is_live:
                frames = in_threads(convert, pictures, _CONVERTERS, _CONVERTED_TOGETHER)
            else:
                frames = convert(pictures)
            yield engine.ahead("conversion to RGB", frames, room, lambda frame: frame.nbytes)
        finally:
            # A file must not be closed while it is read; to wait for a live source ends only when that is closed.
            pictures.stop()
            if video.is_live:
                video.close()
            pictures.join()
            if not (pictures.is_over or video.is_live):
                video.leave_open()

    @property
    def leaves_torch_alone(self) -> bool:
        """Whether detector and pose estimator, as far as they are loaded, run on other threads than torch's."""
        loaded = [vars(self).get(name) for name in ("detector", "pose")]
        return all(getattr(network, "runs_on", "torch") == "openvino" for network in loaded)

    def track(
        self,
        frames: Iterable[Frame],
        rate: float,
        engine: Engine,
        *,
        video: str | Path = "",
        is_live: bool = False,
    ) -> Iterator[Tracked]:
        """Each frame with everybody found in it, and their ids as `Tracker.update` gives them; a few frames late.

        Frames are black by then, so that those that wait take no memory. Somebody who is missing for a moment is put
        back in (see `gaps`); after a cut or a gap everybody is new. rate: frames per second, about. engine: runs the
        networks. video: whose frames they are, from its start, where boxes come from a folder. is_live: do not
        wait for a full batch. What goes wrong on the way is raised after the last frame before it.
        """

        def find(marked: Iterable[MarkedFrame]) -> Iterator[Found]:
            return self._found(marked, *self.finder(rate, video, is_live), engine)

        return self.track_found(frames, find, rate, engine, is_live=is_live)

    def track_found(
        self,
        frames: Iterable[Frame],
        find: Callable[[Iterable[MarkedFrame]], Iterator[Found]],
        rate: float,
        engine: Engine,
        *,
        is_live: bool = False,
    ) -> Iterator[Tracked]:
        """What `track` gives, by whatever finds people in frames that are marked."""
        if self._follows_elsewhere and not is_live:
            # There cuts are looked for later: where whole pictures are searched anyway, only the tracker asks for them.
            found = ((frame, people) for frame, _, people in find((frame, False) for frame in frames))
            tracked = follow_elsewhere(found, rate, engine, self._tracker_process)
        else:
            tracked = follow(find(mark_cuts(frames)), Tracker(rate))
        return fill_gaps(tracked, _LONGEST_GAP)

    def finder(self, rate: float, video: str | Path, is_live: bool) -> tuple[Run, int, int]:
        """What finds the people in marked frames, called in their order; how many are worth a call; and of how many
        calls should be multiples, since what is found depends on where they end (1: it does not)."""
        most = 1 if is_live else batch_size(self.device)
        if self.boxes is not None:
            return partial(self._estimate, BoxesDetector(boxes_of(self.boxes, video))), most, 1
        every = frames_between_keys(rate)
        if is_live or every == 1 or not self._searches_by_keys:
            return self._find, most, 1
        return partial(self._find_by_keys, KeyFrames(every)), every * max(1, most // every), every

    def _found(
        self, marked: Iterable[MarkedFrame], find: Run, most: int, multiple: int, engine: Engine
    ) -> Iterator[Found]:
        """The same with the people in it; networks have a batch to do while the one before is looked at."""

        def submitted(batch: list[MarkedFrame]) -> Future:
            # Where it matters where a call ends, it must not depend on what happens to wait.
            together = most if multiple == 1 else len(batch)
            return engine.submit(NETWORKS, "detection and poses", find, batch, together)

        failure = Failure()
        batches = _batches(failure.after(marked), most, multiple, _MOST_TOGETHER[kind_of(self.device)])
        for batch, future in begun_ahead(((batch, submitted(batch)) for batch in batches), min(most, _IN_FLIGHT) - 1):
            for (frame, new_scene), found in zip(batch, engine.result(future), strict=True):
                yield frame, new_scene, found
        failure.check()

    def _find(self, marked: list[MarkedFrame]) -> list[Detections]:
        return self._estimate(self.detector, marked)

    def _find_by_keys(self, keys: KeyFrames, marked: list[MarkedFrame]) -> list[Detections]:
        if not isinstance(self.detector, YoloDetector) or not self.detector.yolo.has_windows:
            return self._find(marked)
        return self.pose([frame for frame, _ in marked], keys.detect(self.detector, marked))

    def _estimate(self, detector: Detector, marked: list[MarkedFrame]) -> list[Detections]:
        frames = [frame for frame, _ in marked]
        return self.pose(frames, detector(frames))

    @cached_property
    def _has_cores_to_spare(self) -> bool:
        """Whether this process has cores to spare while, feeding a GPU, it has no time to lose."""
        import torch

        return kind_of(self.device) == "cuda" and torch.get_num_threads() >= _MANY_CORES

    @property
    def _follows_elsewhere(self) -> bool:
        """Whether people are followed in a process of its own: where nobody can know their ids."""
        are_our_own = self.boxes is None and isinstance(self._detector, Path) and isinstance(self._pose, Path)
        # The program that a frozen application's Python runs is the application.
        return self._has_cores_to_spare and are_our_own and not getattr(sys, "frozen", False)

    @cached_property
    def _tracker_process(self) -> TrackerProcess:
        return TrackerProcess()


def _batches(marked: Iterable[MarkedFrame], most: int, multiple: int, most_bytes: float) -> Iterator[list[MarkedFrame]]:
    """Of `most` frames, or as many as fit into `most_bytes`: a multiple of so many, unless these are too many."""
    batch: list[MarkedFrame] = []
    for one in marked:
        batch.append(one)
        fitting = max(1, int(most_bytes // one[0].nbytes))
        if len(batch) >= min(most, fitting - fitting % multiple or fitting):
            yield batch
            batch = []
    if batch:
        yield batch


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
    with open_video(source) as video, Engine() as engine:
        thinner = FrameThinner(video.fps, rate)
        poses: TrackedPoses | None = None
        with stages.decoded(video, engine, wanted=thinner.wants) as frames:
            for frame, ids, found in stages.track(frames, thinner.rate, engine, video=source):
                if poses is None:
                    poses = TrackedPoses(stages.pose.layout, frame.size)
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


def _size_of(indexed: IndexedPicture) -> float:
    """Bytes, about."""
    picture = indexed[1].picture
    return 0 if picture is None else 1.5 * picture.width * picture.height


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
