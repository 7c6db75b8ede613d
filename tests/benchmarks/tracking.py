"""People who cross, drawn with known boxes: how often the product's tracker exchanges their ids.

    python tests/benchmarks/tracking.py draw -o /tmp/tracking            # videos, truth, and what the detector finds
    python tests/benchmarks/tracking.py score /tmp/tracking              # ID switches, IDF1
    python tests/benchmarks/tracking.py score /tmp/tracking --every 3    # as if at a third of the frame rate

Needs TrackEval (pip install trackeval), the evaluation of MOTChallenge. Boxes are true if they hold what can be seen of
a person; who is less than a quarter visible does not count. `draw` skips what is there already; --first 6 gives other
clips of the same kinds, --uniforms dresses all alike.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torchvision.ops import box_iou

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

from draw_actions import FPS, SIZE, Actor, Colours, Scene, draw_person, project, render, times_of, write_video
from motions import MOTIONS, Posture, walk

from poseact.detect import Detections
from poseact.engine import Engine
from poseact.extract import PoseStages
from poseact.poses import PoseSequence
from poseact.skeleton import COCO17
from poseact.track import TrackedPoses
from poseact.video import Frame, Video

SECONDS = 5.0
KINDS = ("two", "five")
# Somebody of whom less than this can be seen, inside of the picture and not behind others, does not count.
LEAST_SEEN = 0.25
# Pixels to the left and right of the picture in which people are drawn too.
MARGIN = 200


def strides(speed: float, time: float) -> Posture:
    """A walk at another speed. speed: 1 is a metre and a bit in a second."""
    return walk(speed * time)


def walker(rng: np.random.Generator, rightwards: bool, late: float = 0.0) -> Actor:
    """Somebody who crosses the picture. late: by how much of the width they begin outside of it."""
    speed = float(rng.uniform(0.8, 1.35))
    x = rng.uniform(-0.02, 0.12) - late
    angle = float(rng.uniform(70, 110))
    return Actor(
        partial(strides, speed),
        x=x if rightwards else 1 - x,
        y=float(rng.uniform(0.82, 0.97)),
        height=float(rng.uniform(0.5, 0.68)),
        facing=angle if rightwards else -angle,
        colours=clothes(rng),
    )


def stander(rng: np.random.Generator, x: float) -> Actor:
    motion = MOTIONS[str(rng.choice(["jumping_jacks", "wave", "stand", "squat"]))]
    y, height = float(rng.uniform(0.82, 0.97)), float(rng.uniform(0.5, 0.65))
    return Actor(motion, x=x, y=y, height=height, facing=float(rng.uniform(-50, 50)), colours=clothes(rng))


def clothes(rng: np.random.Generator) -> Colours:
    """Two of five wear the same team's dress."""
    if rng.random() < 0.4:
        return Colours()
    shirt, trousers = (tuple(int(v) for v in rng.integers(25, 235, 3)) for _ in range(2))
    skin, hair = [((214, 164, 134), (62, 44, 34)), ((141, 94, 66), (28, 24, 22)), ((236, 196, 170), (150, 112, 60))][
        int(rng.integers(3))
    ]
    return Colours(skin, hair, shirt, trousers)


def two(rng: np.random.Generator, number: int) -> tuple[Actor, ...]:
    """Who cross: one way and the other; by somebody who stays; one who overtakes the other."""
    rightwards = bool(rng.integers(2))
    first = walker(rng, rightwards)
    kind = number % 3
    if kind == 0:
        return first, walker(rng, not rightwards)
    if kind == 1:
        return first, stander(rng, float(rng.uniform(0.4, 0.6)))
    slow = replace(walker(rng, rightwards), motion=partial(strides, 0.55))
    return slow, replace(walker(rng, rightwards, late=0.1), motion=partial(strides, 1.5))


def five(rng: np.random.Generator, number: int) -> tuple[Actor, ...]:
    """Three who walk, two who stay; or five who walk."""
    if number % 3 == 2:
        return tuple(walker(rng, bool(i % 2), late=0.14 * (i // 2)) for i in range(5))
    walkers = tuple(walker(rng, bool(i % 2), late=0.2 * (i // 2)) for i in range(3))
    return *walkers, stander(rng, float(rng.uniform(0.25, 0.4))), stander(rng, float(rng.uniform(0.6, 0.75)))


def scene_of(kind: str, number: int, uniforms: bool) -> Scene:
    rng = np.random.default_rng([KINDS.index(kind), number])
    actors = {"two": two, "five": five}[kind](rng, number)
    return Scene(tuple(replace(actor, colours=Colours()) for actor in actors) if uniforms else actors, seed=number)


def true_boxes(scene: Scene) -> np.ndarray:
    """(M, T, 4) float32 xyxy round what can be seen of each person; all 0 while that is too little."""
    times = times_of(SECONDS, FPS)
    boxes = np.zeros((len(scene.actors), len(times), 4), np.float32)
    nearest_first = sorted(range(len(scene.actors)), key=lambda person: -scene.actors[person].y)
    for frame, time in enumerate(times):
        covered = np.zeros(SIZE, bool)
        for person in nearest_first:
            whole = silhouette(scene.actors[person], time)
            seen = whole[:, MARGIN:-MARGIN] & ~covered
            covered |= whole[:, MARGIN:-MARGIN]
            if seen.any() and seen.sum() >= LEAST_SEEN * whole.sum():
                rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
                boxes[person, frame] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes


def silhouette(actor: Actor, time: float) -> np.ndarray:
    """Where the person would be seen if alone, (H, MARGIN + W + MARGIN) bool."""
    alone = np.zeros((SIZE[0], SIZE[1] + 2 * MARGIN, 3), np.uint8)
    joints = {name: at + np.array([MARGIN, 0, 0]) for name, at in project(actor, time, SIZE).items()}
    draw_person(alone, joints, actor.height * SIZE[0], actor.colours)  # a shadow leaves black black
    return alone.any(axis=2)


class Recorded:
    """The detector and the pose estimator of a clip that was looked at before. path: NAME.npz."""

    layout = COCO17

    def __init__(self, path: Path):
        kept = np.load(path)
        ends = np.cumsum(kept["counts"])[:-1]
        rows = zip(*(np.split(kept[name], ends) for name in ("boxes", "scores", "points", "sure")), strict=True)
        self.found = [Detections(*row, COCO17) for row in rows]

    def detect(self, frames: list[Frame]) -> list[Detections]:
        return [self.found[frame.index] for frame in frames]

    def __call__(self, frames: list[Frame], detections: list[Detections]) -> list[Detections]:
        return detections


def draw(arguments: argparse.Namespace) -> None:
    arguments.output.mkdir(parents=True, exist_ok=True)
    stages = PoseStages(device="cpu")
    for kind in KINDS:
        for number in range(arguments.first, arguments.first + arguments.count):
            path = arguments.output / f"{kind}{number:02}.mp4"
            if path.with_suffix(".npz").exists():
                continue
            scene = scene_of(kind, number, arguments.uniforms)
            write_video(path, render(scene, SECONDS), FPS)
            record(path, scene, stages)
            print(path, file=sys.stderr)


def record(path: Path, scene: Scene, stages: PoseStages) -> None:
    """Keep what the network finds, and the truth, beside the video."""
    found: list[Detections] = []
    with Video(path) as video:
        for frame in video.frames():
            found += stages.pose([frame], stages.detector([frame]))
    np.savez_compressed(
        path.with_suffix(".npz"),
        truth=true_boxes(scene),
        counts=[len(one) for one in found],
        boxes=np.concatenate([one.boxes for one in found]),
        scores=np.concatenate([one.scores for one in found]),
        points=np.concatenate([one.keypoints for one in found]),
        sure=np.concatenate([one.keypoint_scores for one in found]),
    )


def tracked(path: Path, every: int) -> PoseSequence:
    """What the product's chain makes of a clip at every so-manieth frame."""
    recorded = Recorded(path.with_suffix(".npz"))
    stages = PoseStages(recorded.detect, recorded, device="cpu")
    with Video(path) as video, Engine() as engine:
        frames: Iterator[Frame] = (frame for frame in video.frames() if frame.index % every == 0)
        poses = TrackedPoses(COCO17, SIZE)
        for frame, ids, found in stages.track(frames, FPS / every, engine):
            poses.add(frame.time, ids, found)
    return poses.sequence(0.0, SECONDS)


@dataclass(frozen=True)
class Score:
    name: str
    idf1: float
    switches: int
    mota: float
    ids: int
    people: int


def overlaps(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Intersection over union of each with each, float64."""
    return box_iou(torch.from_numpy(ours), torch.from_numpy(theirs)).numpy().astype(np.float64)


def score(path: Path, every: int) -> Score:
    from trackeval.metrics import CLEAR, Identity

    truth = np.load(path.with_suffix(".npz"))["truth"][:, ::every]
    poses = tracked(path, every)
    there = truth.any(axis=2)
    people, ids = [[np.flatnonzero(column) for column in rows.T] for rows in (there, poses.present)]
    frames = range(len(poses.times))
    data = {
        "num_timesteps": len(frames),
        "num_gt_ids": len(truth),
        "num_tracker_ids": len(poses.track_ids),
        "num_gt_dets": int(there.sum()),
        "num_tracker_dets": int(poses.present.sum()),
        "gt_ids": people,
        "tracker_ids": ids,
        "similarity_scores": [overlaps(truth[people[t], t], poses.boxes[ids[t], t]) for t in frames],
    }
    quiet = {"PRINT_CONFIG": False}
    identity, clear = Identity(quiet).eval_sequence(data), CLEAR(quiet).eval_sequence(data)
    return Score(
        path.stem, float(identity["IDF1"]), int(clear["IDSW"]), float(clear["MOTA"]), len(poses.track_ids), len(truth)
    )


def score_all(arguments: argparse.Namespace) -> None:
    for kind in KINDS:
        scores = [score(path, arguments.every) for path in sorted(arguments.folder.glob(f"{kind}*.mp4"))]
        for one in scores:
            print(
                f"{one.name}: IDF1 {one.idf1:.3f}, {one.switches} switches, MOTA {one.mota:.3f}, "
                f"{one.ids} ids of {one.people} people"
            )
        mean = np.mean([one.idf1 for one in scores])
        print(
            f"{kind} people, {len(scores)} clips: mean IDF1 {mean:.3f}, least {min(one.idf1 for one in scores):.3f}, "
            f"{sum(one.switches for one in scores)} switches"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    drawing = commands.add_parser("draw")
    drawing.add_argument("-o", "--output", type=Path, required=True)
    drawing.add_argument("--first", type=int, default=0)
    drawing.add_argument("--count", type=int, default=6, help="clips of each kind (default: %(default)s)")
    drawing.add_argument("--uniforms", action="store_true", help="all wear the same")
    drawing.set_defaults(run=draw)
    scoring = commands.add_parser("score")
    scoring.add_argument("folder", type=Path)
    scoring.add_argument("--every", type=int, default=1, help="only every so-manieth frame (default: %(default)s)")
    scoring.set_defaults(run=score_all)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
