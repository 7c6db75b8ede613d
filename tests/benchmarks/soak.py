"""Memory over a long video: it must not grow with the length.

    python tests/benchmarks/soak.py [--minutes 60] [--extract]

A small video of 5 frames a second with a recorded detector: three people whose poses never end. Labelled as `poseact
predict --per-person --fast` labels; with --extract, the poses of all are gathered as `extract-poses` does, which must
hold them (some 230 bytes for a person in a frame), and no more.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from itertools import repeat
from pathlib import Path

import numpy as np
import psutil
from long_videos import write_video

from poseact.detect import Detections
from poseact.extract import PoseStages, extract_poses
from poseact.pipeline import Options, Pipeline
from poseact.skeleton import COCO17
from poseact.zoo import FAST_CLASSIFIER

FPS, SIDE = 5, 64
PEOPLE = 3


class Recorded:
    """A detector and pose estimator that finds the same three people in each frame, swaying."""

    layout = COCO17

    def __call__(self, frames, detections=None):
        return [self._people(frame.time) for frame in frames]

    def _people(self, time: float) -> Detections:
        rng = np.random.default_rng(0)
        low = np.array([[2.0, 6.0], [23.0, 6.0], [44.0, 6.0]], np.float32)
        boxes = np.concatenate([low, np.add(low, [17, 52])], axis=1).astype(np.float32)
        places = rng.uniform(0, 1, (PEOPLE, len(COCO17), 2)) * [17, 52] + low[:, None]
        keypoints = (places + np.sin(3 * time)).astype(np.float32)
        scores = np.full((PEOPLE, len(COCO17)), 0.9, np.float32)
        return Detections(boxes, scores[:, 0], keypoints, scores, COCO17)


def write_long_video(path: Path, minutes: float) -> None:
    picture = np.random.default_rng(0).integers(60, 200, (SIDE, SIDE, 3), dtype=np.uint8)
    write_video(path, repeat(picture, round(minutes * 60 * FPS)), FPS, "mpeg4")


def megabytes() -> float:
    return psutil.Process().memory_info().rss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--extract", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    recorded = Recorded()
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "long.mp4"
        write_long_video(video, options.minutes)
        marks = [options.minutes * 60 * tenth / 10 for tenth in range(1, 11)]

        def tell(time: float, _total: float | None) -> None:
            if marks and time >= marks[0] - 1:
                print(f"{marks.pop(0) / 60:6.1f} min {megabytes():8.1f} MB", flush=True)

        if options.extract:
            poses = extract_poses(video, PoseStages(recorded, recorded, device="cpu"), subjects="all", on_progress=tell)
            print(poses)
        else:
            pipeline = Pipeline(
                FAST_CLASSIFIER, detector=recorded, pose=recorded, device="cpu", options=Options(per_person=True)
            )
            print(sum(1 for _ in pipeline.stream(video, tell)), "labels")


if __name__ == "__main__":
    main()
