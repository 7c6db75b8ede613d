"""Each stage of the chain alone, and all of them at work together, on the same frames in one warm process.

    python tests/benchmarks/stages.py VIDEO [--fast] [--every-frame] [--device cpu] [--rounds 3]

Prints one JSON object: for each stage the frames (of the classifier: clips) a second that it does alone, the wall and
processor seconds that it would need for the whole video, and `together`, what the chain really needs. What counts are
the frames that the chain looks at for people, however many more are decoded.

decoding: from the file to RGB pictures, in the chain's threads. poses: detection and keypoints of pictures in
memory, in batches as the chain makes them. tracking: cuts and tracks, on pictures and poses in memory. labels: volumes
and classifiers, on poses in memory.
"""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from poseact.cli import keep_freed_memory
from poseact.cuts import MarkedFrame
from poseact.detect import Detections
from poseact.engine import Engine
from poseact.extract import PoseStages
from poseact.gaps import Tracked
from poseact.options import Options
from poseact.pipeline import Pipeline
from poseact.poses import PoseSequence
from poseact.skeleton import COCO17
from poseact.track import Found, TrackedPoses
from poseact.video import Frame, Video
from poseact.zoo import DEFAULT_CLASSIFIER, FAST_CLASSIFIER

# Pictures that are kept in memory to measure on: 400 MB of Full HD.
_KEPT = 64


class Looked:
    """The chain's own detector and pose estimator, which remember what they were shown and what they found."""

    layout = COCO17

    def __init__(self, stages: PoseStages):
        self._stages = stages
        self.found: dict[float, Detections] = {}

    def detect(self, frames: list[Frame]) -> list[Detections]:
        return self._stages.detector(frames)

    def __call__(self, frames: list[Frame], detections: list[Detections]) -> list[Detections]:
        found = self._stages.pose(frames, detections)
        self.found.update((frame.time, each) for frame, each in zip(frames, found, strict=True))
        return found


class Chain:
    """A video, the chain that labels it, and each of its stages by itself."""

    def __init__(self, path: Path, classifier: str, device: str, options: Options):
        self.path = path
        self.pipeline = Pipeline(classifier, device=device, options=options)
        self._looked = Looked(self.pipeline.stages)
        looking = Pipeline(classifier, detector=self._looked.detect, pose=self._looked, device=device, options=options)
        self.labels = sum(1 for _ in looking.stream(path))
        self._times = self._looked.found.keys()
        self.frames = len(self._times)
        self._rate = self.frames / (max(self._times) - min(self._times) + 1e-6)
        self._kept = [frame for frame, _ in zip(self._wanted(), range(_KEPT), strict=False)]
        self._poses = self._whole_sequence()

    def _wanted(self) -> Iterator[Frame]:
        decoded, wanted = self.pipeline.stages.decoded, self._times.__contains__
        with Video(self.path) as video, Engine() as engine, decoded(video, engine, wanted=wanted) as frames:
            yield from frames

    def _tracking(self, frames: Iterable[Frame], engine: Engine) -> Iterator[Tracked]:
        def find(marked: Iterable[MarkedFrame]) -> Iterator[Found]:
            return ((frame, new_scene, self._looked.found[frame.time]) for frame, new_scene in marked)

        return self.pipeline.stages.track_found(frames, find, self._rate, engine)

    def _whole_sequence(self) -> PoseSequence:
        poses = TrackedPoses(COCO17, self._kept[0].size)
        nothing = self._kept[0].blank().image
        frames = (Frame(nothing, index, at) for index, at in enumerate(self._times))
        with Engine() as engine:
            for frame, ids, found in self._tracking(frames, engine):
                poses.add(frame.time, ids, found)
        with Video(self.path) as video:
            return poses.sequence(0.0, video.announced_end or max(self._times))

    def together(self) -> int:
        return sum(1 for _ in self.pipeline.stream(self.path)) and self.frames

    def decoding(self) -> int:
        return sum(1 for _ in self._wanted())

    def poses(self) -> int:
        find, most, _ = self.pipeline.stages.finder(self._rate, self.path, is_live=False)
        marked = [(frame, False) for frame in self._kept]
        for first in range(0, len(marked), most):
            find(marked[first : first + most])
        return len(self._kept)

    def tracking(self) -> int:
        with Engine() as engine:
            return sum(1 for _ in self._tracking(self._kept, engine))

    def labelling(self) -> int:
        return sum(1 for _ in self.pipeline.label_poses(self._poses, "poses"))


def measure(chain: Chain, rounds: int) -> dict[str, Any]:
    """Rates of the stages, see the head of this file."""
    parts: dict[str, Callable[[], int]] = {
        "together": chain.together,
        "decoding": chain.decoding,
        "poses": chain.poses,
        "tracking": chain.tracking,
        "labels": chain.labelling,
    }
    found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in parts}
    # The first time is slower.
    chain.poses()
    chain.labelling()
    for _ in range(rounds):
        for name, part in parts.items():
            wall, cpu = time.perf_counter(), time.process_time()
            count = part()
            found[name].append((time.perf_counter() - wall, time.process_time() - cpu, count))
    told: dict[str, Any] = {"frames": chain.frames, "labels": chain.labels}
    for name, runs in found.items():
        in_all = chain.labels if name == "labels" else chain.frames
        wall, cpu = (median(run[column] / run[2] for run in runs) for column in (0, 1))
        told[name] = {"rate": 1 / wall, "seconds": wall * in_all, "cpu": cpu * in_all}
    return told


def main(
    video: Path,
    fast: Annotated[bool, typer.Option("--fast", help="As of poseact predict.")] = False,
    device: str = "cpu",
    rounds: int = 3,
    every_frame: Annotated[bool, typer.Option("--every-frame", help="Look for people in each.")] = False,
) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    keep_freed_memory()
    classifier = FAST_CLASSIFIER if fast else DEFAULT_CLASSIFIER
    options = Options(sampling="dense", rate=None) if every_frame else Options()
    chain = Chain(video, classifier, device, options)
    typer.echo(json.dumps(measure(chain, rounds)))


if __name__ == "__main__":
    typer.run(main)
