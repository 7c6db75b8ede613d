"""Annotated pose sequences drawn as videos, and what the embedded estimator finds in them: a test bench for labels.

    python tests/benchmarks/rendered.py draw --poses ../shared/data/penn_action.pkl --split train \
        --fraction 0.12 --seed 0 --count 150 -o /tmp/rendered/penn_val.pkl
    python tests/benchmarks/rendered.py errors /tmp/rendered/penn_val.pkl

`draw` writes a pose file of estimated poses (one person each), the truth beside it as NAME_truth.pkl, and the class
names as NAME_labels.txt; run again, it goes on where it was. With --fraction only that part of the split is drawn
that `poseact train --val-split FRACTION --seed SEED` holds out; where several pose files are trained on, give them
all in their order, and the last is drawn. With --sheets FOLDER the first clips are kept as pictures.
`errors` tells how far the estimates are from the truth.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import warnings
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

from draw_actions import write_video
from draw_poses import random_look, render_poses

from poseact.engine import Engine
from poseact.extract import PoseStages
from poseact.poses import Annotation, PoseFile, PoseSequence, load_poses, save_poses
from poseact.sampling import uniform_indices
from poseact.skeleton import BODY13, conversion
from poseact.track import TrackedPoses, prominence
from poseact.training.data import hold_out
from poseact.training.dataset import placed
from poseact.training.labels import labels_beside
from poseact.video import Frame, Video

FPS = 30.0
# A clip is cut to so many frames, of which so many are looked at: a window and what the network samples of it.
LONGEST, SAMPLED = 90, 48
# The longer side of a picture, and the least size of the person, in pixels.
PICTURE, PERSON = 320, 110
# In these files left and right are exchanged against the body: three of four pitch and bowl with the "left" arm, and
# whoever faces the camera has the "left" shoulder on the picture's left.
EXCHANGED = ("penn_action",)
# Pictures whose people fill less of them than this are cut to the person's surroundings.
LEAST_SHARE = 0.25
# The score, in the truth, of a keypoint that the annotators placed though they did not see it.
HIDDEN = 0.5
# Bias and jitter are of keypoints at least so sure, and not further off than this share of the body.
LEAST_SCORE, OUTLIER = 0.3, 0.15
PARTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")


def chosen(paths: list[Path], splits: list[str], fraction: float | None, seed: int, count: int) -> list[Annotation]:
    """So many sequences of the last file, the classes in turn. fraction: of what training holds out; None: of all."""
    rng = np.random.default_rng(seed)
    for path, split in zip(paths, splits, strict=True):
        annotations = load_poses(path).split(split)
        if fraction is not None:
            _, held_out = hold_out([(a, a.label) for a in annotations], fraction, rng)
            annotations = [annotation for annotation, _ in held_out]
    order = np.random.default_rng(seed).permutation(len(annotations))
    by_class: dict[int, list[Annotation]] = defaultdict(list)
    for index in order:
        by_class[annotations[index].label].append(annotations[index])
    turns = sorted((turn, label, annotation) for label, own in by_class.items() for turn, annotation in enumerate(own))
    return [annotation for _, _, annotation in turns[:count]]


def staged(poses: PoseSequence, exchanged: bool, rng: np.random.Generator) -> PoseSequence:
    """The part of a sequence that is drawn, in pixels of the small picture; names as the body's.

    Scores: 1 where the annotators saw the keypoint, 0.5 where they placed it though it was hidden.
    """
    start = int(rng.integers(0, max(0, len(poses.times) - LONGEST) + 1))
    part = slice(start, start + LONGEST)
    order = list(poses.layout.mirrored_order if exchanged else range(len(poses.layout)))
    keypoints, there = poses.keypoints[:, part, order], placed(poses)[:, part, order]
    low, size = _view(keypoints[0], there[0], poses.image_size)
    scale = max(PICTURE / max(size), PERSON / _size(keypoints[0], there[0]))
    frames = keypoints.shape[1]
    return PoseSequence(
        keypoints=np.where(there[..., None], (keypoints - low) * scale, 0).astype(np.float32),
        scores=(there * np.where(poses.scores[:, part, order] > 0, 1.0, HIDDEN)).astype(np.float32),
        times=np.arange(frames) / FPS,
        image_size=(2 * round(size[1] * scale / 2), 2 * round(size[0] * scale / 2)),
        layout=poses.layout,
        track_ids=poses.track_ids,
        boxes=np.zeros((len(keypoints), frames, 4), np.float32),
    )


def _view(points: np.ndarray, there: np.ndarray, image_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Corner and size, (x, y) each, of what is shown: the picture, or the surroundings of a person far away."""
    whole = np.array(image_size[::-1], np.float32)
    person = _size(points, there)
    if person >= LEAST_SHARE * max(image_size):
        return np.zeros(2, np.float32), whole
    low, high = points[there].min(axis=0), points[there].max(axis=0)
    margin = 0.6 * person
    low, high = np.maximum(low - margin, 0), np.minimum(high + margin, whole)
    return low, high - low


def _size(points: np.ndarray, there: np.ndarray) -> float:
    """The longer side of the person's keypoints, (T, K, 2), in the middle frame by size."""
    return float(
        np.median([np.ptp(p[known], axis=0).max() for p, known in zip(points, there, strict=True) if known.any()])
    )


def estimated(images: Iterator[np.ndarray], n_frames: int, stages: PoseStages) -> tuple[PoseSequence, np.ndarray]:
    """Everybody whom the chain finds in the frames that a clip's samples are, and the indices of these frames."""
    wanted = np.unique(uniform_indices(n_frames, SAMPLED))
    frames = [Frame(image, i, i / FPS) for i, image in enumerate(images) if i in wanted]
    poses = TrackedPoses(stages.pose.layout, frames[0].image.shape[:2])
    with Engine() as engine:
        for frame, ids, found in stages.track(frames, FPS * len(wanted) / n_frames, engine):
            poses.add(frame.time, ids, found)
    return poses.sequence(0.0, n_frames / FPS), wanted


def compressed(images: list[np.ndarray], quality: str = "28") -> Iterator[np.ndarray]:
    """The pictures after H.264."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_video(path, images, FPS, options={"crf": quality})
        with Video(path) as video:
            yield from (frame.image for frame in video.frames())


def draw(arguments: argparse.Namespace) -> None:
    """Draw, estimate and save, a few clips at a time."""
    output: Path = arguments.output
    source: Path = arguments.poses[-1]
    wanted = chosen(arguments.poses, arguments.split, arguments.fraction, arguments.seed, arguments.count)
    truth_path = truth_beside(output)
    before = load_poses(output) if output.exists() else PoseFile(output, {})
    done, ids = dict(before.annotations), dict(before.notes)
    truth = dict(load_poses(truth_path).annotations) if truth_path.exists() else {}
    shutil.copyfile(labels_beside(source), labels_beside(output))
    stages = PoseStages(device="cpu", crops=arguments.crops)
    for number, annotation in enumerate(wanted, 1):
        if annotation.name in ids:
            continue
        rng = np.random.default_rng([arguments.seed, zlib.crc32(annotation.name.encode())])
        poses = staged(annotation.poses, source.stem in EXCHANGED, rng)
        try:
            images = list(render_poses(poses, random_look(rng, horizon=_ground(poses))))
        except ValueError as error:
            print(f"{annotation.name}: {error}", file=sys.stderr)
            continue
        shown = compressed(images) if arguments.h264 else iter(images)
        found, indices = estimated(shown, len(images), stages)
        people = len(found.track_ids)
        main = found.select(np.argsort(-prominence(found), kind="stable")[:1].tolist())
        ids[annotation.name] = str(people)
        if people:
            done[annotation.name] = replace(annotation, poses=main)
            truth[annotation.name] = replace(annotation, poses=_frames(poses, indices))
        print(f"{number} of {len(wanted)}: {annotation.name}, {len(images)} frames, {people} ids", file=sys.stderr)
        if arguments.sheets and number <= arguments.sheet_count:
            _write_sheet(arguments.sheets / f"{output.stem}_{annotation.name}.png", images, indices, main)
        if number % 10 == 0 or number == len(wanted):
            split = "test" if arguments.fraction is None else "val"
            save_poses(done.values(), {split: list(done)}, output, ids)
            save_poses(truth.values(), {split: list(truth)}, truth_path)


def _ground(poses: PoseSequence) -> float:
    """Where wall and floor meet, as a share of the picture's height: a little above the lowest keypoints."""
    lowest = np.percentile(poses.keypoints[poses.scores > 0][:, 1], 95)
    return float(np.clip(lowest / poses.image_size[0] - 0.08, 0.3, 0.9))


def _frames(poses: PoseSequence, indices: np.ndarray) -> PoseSequence:
    return replace(
        poses,
        keypoints=poses.keypoints[:, indices],
        scores=poses.scores[:, indices],
        times=poses.times[indices],
        boxes=poses.boxes[:, indices],
    )


def _write_sheet(path: Path, images: list[np.ndarray], indices: np.ndarray, found: PoseSequence) -> None:
    """Six frames, each above itself with the estimated limbs."""
    rows: list[list[np.ndarray]] = [[], []]
    for row in np.linspace(0, len(indices) - 1, 6).astype(int):
        image = images[indices[row]]
        marked = image.copy()
        for a, b in found.layout.limbs if len(found.track_ids) else ():
            if min(found.scores[0, row, [a, b]]) > 0.3:
                ends = [tuple(int(v) for v in found.keypoints[0, row, k]) for k in (a, b)]
                left = "left" in found.layout.keypoints[b]
                cv2.line(marked, ends[0], ends[1], (255, 40, 40) if left else (40, 255, 40), 1, cv2.LINE_AA)
        rows[0].append(image)
        rows[1].append(marked)
    sheet = np.vstack([np.hstack(row) for row in rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), sheet[..., ::-1])


@dataclass(frozen=True)
class Found:
    """A clip's truth and estimate as body13. truth, points: (T, 13, 2); seen: (T, 13), the truth's scores;
    scores: (T, 13); there: (T,) bool, whether the person was found; unit: pixels, the mean longer side of the truth.
    """

    truth: np.ndarray
    seen: np.ndarray
    points: np.ndarray
    scores: np.ndarray
    there: np.ndarray
    unit: float

    @classmethod
    def of(cls, truth: PoseSequence, found: PoseSequence) -> Found:
        to_body = conversion(found.layout, BODY13), conversion(truth.layout, BODY13)
        seen = truth.scores[0][:, to_body[1]]
        points = truth.keypoints[0][:, to_body[1]]
        spans = [np.ptp(p[known], axis=0).max() for p, known in zip(points, seen > 0, strict=True) if known.any()]
        estimate = found.keypoints[0][:, to_body[0]], found.scores[0][:, to_body[0]]
        return cls(points, seen, *estimate, found.present[0], float(np.mean(spans)))

    @property
    def offsets(self) -> np.ndarray:
        """(T, 13, 2) in units of the body, NaN where truth or estimate are missing."""
        known = (self.seen > 0) & self.there[:, None]
        return np.where(known[..., None], (self.points - self.truth) / self.unit, np.nan)

    def exchanged(self, parts: tuple[str, ...] = PARTS) -> np.ndarray:
        """(T,) bool: with left and right exchanged these parts fit more than twice as well."""
        order = np.array(BODY13.mirrored_order)
        pairs = [i for i, name in enumerate(BODY13.keypoints) if name.partition("_")[2] in parts]
        known = (self.seen[:, pairs] > 0) & (self.seen[:, order[pairs]] > 0)
        apart = np.linalg.norm(self.points[:, pairs] - self.truth[:, pairs], axis=2)
        across = np.linalg.norm(self.points[:, order[pairs]] - self.truth[:, pairs], axis=2)
        totals = [np.where(known, lengths, 0).sum(axis=1) for lengths in (across, apart)]
        return self.there & (2 * totals[0] < totals[1])


def errors(arguments: argparse.Namespace) -> None:
    """Print how the estimates differ from the truth."""
    file, truth = load_poses(arguments.poses), load_poses(truth_beside(arguments.poses))
    clips = [Found.of(truth.annotations[name].poses, a.poses) for name, a in file.annotations.items()]
    ids = np.array([int(n) for n in file.notes.values()])
    there = np.concatenate([clip.there for clip in clips])
    exchanged = np.concatenate([clip.exchanged() for clip in clips])
    offsets = [clip.offsets for clip in clips]
    length = np.linalg.norm(np.concatenate(offsets), axis=2)
    print(f"{len(clips)} clips, {len(there)} frames; found in {there.mean():.1%} of them, per clip from")
    shares = np.array([clip.there.mean() for clip in clips])
    print(f"  {np.percentile(shares, [0, 5, 10, 25, 50]).round(2).tolist()} (least, 5, 10, 25, 50 %)")
    print(
        f"clips with nobody / one id / more ids: {(ids == 0).mean():.1%} {(ids == 1).mean():.1%} {(ids > 1).mean():.1%}"
    )
    for name, parts in (("all", PARTS), ("arms", PARTS[1:3]), ("legs", PARTS[4:])):
        own = [clip.exchanged(parts)[clip.there] for clip in clips]
        starts = sum(int((np.diff(o.astype(int)) == 1).sum() + o[:1].sum()) for o in own)
        total = sum(int(o.sum()) for o in own)
        share, row = total / there.sum(), total / max(starts, 1)
        print(f"left and right exchanged, {name}: {share:.1%} of the frames, {row:.1f} in a row")
    right = np.where(exchanged[:, None], np.nan, length)
    print(
        f"error, share of the body's longer side: mean {np.nanmean(length):.4f}, median {np.nanmedian(length):.4f}; "
        f"without exchanged frames {np.nanmean(right):.4f}, {np.nanmedian(right):.4f}"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a keypoint that is in no frame of a clip has no mean
        _print_keypoints(clips)


def _print_keypoints(clips: list[Found]) -> None:
    print(
        "keypoint          median   p90  >.15   bias(x, y; sigma over clips)  slow  jitter | score: seen 10/50/90 %"
        "        hidden            not drawn"
    )
    for k, name in enumerate(BODY13.keypoints):
        own = [
            np.where((c.exchanged() | (c.scores[:, k] < LEAST_SCORE))[:, None], np.nan, c.offsets[:, k]) for c in clips
        ]
        own = [np.where(np.linalg.norm(o, axis=1, keepdims=True) > OUTLIER, np.nan, o) for o in own]
        every = np.concatenate([np.linalg.norm(c.offsets[:, k], axis=1)[~c.exchanged()] for c in clips])
        median, tenth, far = np.nanmedian(every), np.nanpercentile(every, 90), np.nanmean(every > OUTLIER)
        bias = np.array([np.nanmean(o, axis=0) for o in own])
        slow = np.sqrt(np.nanmean([np.nanvar(o, axis=0).mean() for o in own]))
        jitter = np.sqrt(np.nanmean([np.nanmean(np.diff(o, axis=0) ** 2) / 2 for o in own]))
        scores = np.concatenate([c.scores[c.there, k] for c in clips])
        seen = np.concatenate([c.seen[c.there, k] for c in clips])
        quantiles = [
            np.percentile(scores[seen == level], [10, 50, 90]) if (seen == level).any() else np.full(3, np.nan)
            for level in (1.0, HIDDEN, 0.0)
        ]
        columns = "   ".join(" ".join(f"{q:.2f}" for q in three) for three in quantiles)
        print(
            f"{name:16} {median:7.3f} {tenth:6.3f} {far:5.1%}"
            f"  {np.nanmean(bias[:, 0]):+.3f} {np.nanmean(bias[:, 1]):+.3f};"
            f" {np.nanstd(bias[:, 0]):.3f} {np.nanstd(bias[:, 1]):.3f}  {slow:.4f} {jitter:.4f} | {columns}"
        )


def truth_beside(poses: Path) -> Path:
    return poses.with_name(poses.stem + "_truth.pkl")


def add_choice_of_poses(drawing: argparse.ArgumentParser) -> None:
    """Which annotated poses are drawn."""
    drawing.add_argument("--poses", type=Path, nargs="+", required=True)
    drawing.add_argument("--split", nargs="+", required=True)
    drawing.add_argument("--fraction", type=float)
    drawing.add_argument("--seed", type=int, default=0)
    drawing.add_argument("--count", type=int, default=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    drawing = commands.add_parser("draw")
    add_choice_of_poses(drawing)
    drawing.add_argument("--h264", action="store_true", help="encode and decode the pictures in between, crf 28")
    drawing.add_argument("--crops", choices=("auto", "always", "never"), default="auto")
    drawing.add_argument("--sheets", type=Path, metavar="FOLDER")
    drawing.add_argument("--sheet-count", type=int, default=8)
    drawing.add_argument("-o", "--output", type=Path, required=True)
    drawing.set_defaults(run=draw)
    comparing = commands.add_parser("errors")
    comparing.add_argument("poses", type=Path, help="written by `draw`")
    comparing.set_defaults(run=errors)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
