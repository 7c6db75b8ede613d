"""Labels against the rate at which poses are estimated: real videos against themselves at every frame, and drawn ones
against their truth; of the nearest frames, as the product does it, or with keypoints interpolated between frames.

    python tests/benchmarks/pose_rates.py draw --poses ../shared/data/penn_action.pkl --split train \
        --fraction 0.12 --count 150 -o /tmp/rates/penn_val
    python tests/benchmarks/pose_rates.py real ../shared/videos/*.* --cache /tmp/rates
    python tests/benchmarks/pose_rates.py drawn /tmp/rates/penn_val --cache /tmp/rates
    python tests/benchmarks/pose_rates.py sparse ../shared/videos/*.* --cache /tmp/rates

`draw` makes the videos that `rendered.py` estimates poses in, one of each chosen sequence, with labels.json beside
them. The others print a table. What the networks find in every frame is kept in the cache; tracker, windows and
classifiers run anew at each rate, in the product's own pipeline. `sparse` compares the frames that clips sample with
all frames.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import rendered
from scipy.optimize import linear_sum_assignment

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

from draw_actions import write_video
from draw_poses import random_look, render_poses

from poseact.classifier import Clip, Ensemble
from poseact.clips import ClipLabel
from poseact.detect import Detections
from poseact.extract import PoseStages
from poseact.options import Options
from poseact.pipeline import Pipeline
from poseact.poses import PoseSequence
from poseact.sampling import nearest_frames, sample_times
from poseact.skeleton import COCO17
from poseact.video import Frame, Video

RATES = (30, 20, 15, 12, 10, 8, 6, 5)
# People of two runs are the same one if their boxes overlap so much.
LEAST_OVERLAP = 0.5
FAST_MOTIONS = ("golf_swing", "baseball_swing", "baseball_pitch", "tennis_forehand", "tennis_serve", "bowl")


# Between frames that are further apart, in seconds, nothing is known of how somebody moved.
LONGEST_BETWEEN = 0.3


def on_lines(poses: PoseSequence, times: np.ndarray) -> PoseSequence:
    """The same people at `times`, (N,) seconds: each keypoint on the line between the frames before and after, where
    both have it and are not too far apart; else the nearest frame's."""
    nearest = nearest_frames(poses.times, times)
    after = np.searchsorted(poses.times, times, side="right").clip(max=len(poses.times) - 1)
    before = (after - 1).clip(min=0)
    gap = poses.times[after] - poses.times[before]
    share = np.divide(times - poses.times[before], gap, out=np.zeros_like(gap), where=gap > 0).clip(0, 1)
    is_between = (gap > 0) & (gap <= LONGEST_BETWEEN + 1e-6)
    there = poses.scores > 0
    both = there[:, before] & there[:, after] & is_between[:, None]

    def along(values: np.ndarray) -> np.ndarray:
        weight = share.astype(np.float32)[:, None, None]
        line = values[:, before] * (1 - weight) + values[:, after] * weight
        return np.where(both[..., None], line, values[:, nearest])

    return replace(
        poses,
        keypoints=along(poses.keypoints),
        scores=along(poses.scores[..., None])[..., 0],
        boxes=poses.boxes[:, nearest],
        times=times,
    )


class Found:
    """What the networks found in each frame of a video, in place of them."""

    layout = COCO17

    def __init__(self, video: Path, folder: Path):
        kept = folder / f"{video.stem}-{zlib.crc32(str(video.resolve()).encode()):08x}.pkl"
        if not kept.exists():
            folder.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(pickle.dumps(found_in(video)))
        self._by_time: dict[int, Detections] = pickle.loads(kept.read_bytes())
        self.asked = 0

    def detect(self, frames: list[Frame]) -> list[Detections]:
        self.asked += len(frames)
        return [self._by_time[round(frame.time * 1e4)] for frame in frames]

    def __call__(self, frames: list[Frame], detections: list[Detections]) -> list[Detections]:
        return detections


@cache
def networks() -> PoseStages:
    return PoseStages(device="cpu")


def found_in(video: Path) -> dict[int, Detections]:
    """Everybody in each frame, by its time in tenths of a millisecond."""
    found = {}
    with Video(video) as opened:
        frames = opened.frames()
        while batch := list(islice(frames, 8)):
            for frame, people in zip(batch, networks().pose(batch, networks().detector(batch)), strict=True):
                found[round(frame.time * 1e4)] = people
    return found


@dataclass(frozen=True, eq=False)
class Said:
    """A label, the one of `--fast`, and whose it is. times: (T,), boxes: (T, 4) of the person."""

    clip: ClipLabel
    fast: tuple[str | None, float]
    best: tuple[str, str]
    times: np.ndarray
    boxes: np.ndarray


class Both:
    """The default's ensemble, whose first member is the fast classifier; remembers what it was shown and that one's
    answers. between: see METHODS."""

    def __init__(self, ensemble: Ensemble, between: str):
        self._ensemble, self._between = ensemble, METHODS[between]
        self.info = ensemble.info
        self.seen: list[tuple[PoseSequence, np.ndarray]] = []

    def probabilities(self, clips: Sequence[Clip]) -> np.ndarray:
        n = self.info.clip_len
        shown = [(self._between(poses, sample_times(start, end, n)), start, end) for poses, start, end in clips]
        alone = self._ensemble.classifiers[0].probabilities(shown)
        self.seen += [(poses, fast) for (poses, _, _), fast in zip(clips, alone, strict=True)]
        return self._ensemble.probabilities(shown)


METHODS: dict[str, Callable[[PoseSequence, np.ndarray], PoseSequence]] = {
    "nearest": lambda poses, times: poses,
    "line": on_lines,
}


@cache
def default_ensemble() -> Ensemble:
    return Pipeline(device="cpu").classifier  # type: ignore[return-value]


def said_of(video: Path, kept: Path, options: Options, between: str = "nearest") -> tuple[list[Said], int]:
    """All labels of a video, and how many frames were looked at. kept: the cache's folder."""
    with Video(video) as opened:
        if options.rate is not None and options.rate > opened.fps - 0.5:
            options = replace(options, rate=None)
    return _said(video, kept, options, between)


@cache
def _said(video: Path, kept: Path, options: Options, between: str) -> tuple[list[Said], int]:
    found, both = Found(video, kept), Both(default_ensemble(), between)
    pipeline = Pipeline(detector=found.detect, pose=found, device="cpu", options=options)
    pipeline.__dict__["classifier"] = both
    clips = [clip for clip in pipeline.stream(video) if clip.top]
    said = []
    for clip, (poses, fast) in zip(clips, both.seen, strict=True):
        name = both.info.labels[int(fast.argmax())]
        label = name if fast.max() >= both.info.rejection_threshold else None
        there = poses.present[0]
        said.append(
            Said(clip, (label, float(fast.max())), (clip.top[0].label, name), poses.times[there], poses.boxes[0, there])
        )
    return said, found.asked


def overlap(one: Said, other: Said) -> float:
    """The mean intersection over union at the times that both have, 0 if those are under a third of the fewer."""
    _, a, b = np.intersect1d((one.times * 1e4).round(), (other.times * 1e4).round(), return_indices=True)
    if 3 * len(a) < min(len(one.times), len(other.times)):
        return 0.0
    first, second = one.boxes[a], other.boxes[b]
    shared = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    inner = shared.clip(min=0).prod(axis=1)
    areas = (first[:, 2:] - first[:, :2]).prod(axis=1) + (second[:, 2:] - second[:, :2]).prod(axis=1)
    return float((inner / np.maximum(areas - inner, 1e-6)).mean())


def pairs(full: Sequence[Said], other: Sequence[Said]) -> Iterator[tuple[Said, Said | None]]:
    """Each of the first with that of the same clip and person in the second, None if there is none."""
    by_clip = {clip: list(own) for clip, own in groupby(other, lambda said: said.clip.clip)}
    for clip, own in groupby(full, lambda said: said.clip.clip):
        here, there = list(own), by_clip.get(clip, [])
        overlaps = np.array([[overlap(a, b) for b in there] for a in here]).reshape(len(here), len(there))
        match = {int(r): int(c) for r, c in zip(*linear_sum_assignment(-overlaps), strict=True)}
        for row, said in enumerate(here):
            column = match.get(row)
            ok = column is not None and overlaps[row, column] >= LEAST_OVERLAP
            yield said, there[column] if ok and column is not None else None


class Change:
    """Labels that stayed, were lost or are new, and how far scores moved, over videos."""

    def __init__(self) -> None:
        self.frames = self.labels = self.lost = self.extra = 0
        self.same = np.zeros(2, int)
        self.moved: list[tuple[float, float]] = []

    def add(self, full: Sequence[Said], other: Sequence[Said], frames: int) -> None:
        self.frames += frames
        kept = 0
        for one, same in pairs(full, other):
            self.labels += 1
            if same is None:
                self.lost += 1
                continue
            kept += 1
            self.same += [one.clip.label == same.clip.label, one.fast[0] == same.fast[0]]
            self.moved.append((abs(one.clip.score - same.clip.score), abs(one.fast[1] - same.fast[1])))
        self.extra += len(other) - kept

    def row(self) -> str:
        default, fast = self.same / max(self.labels, 1)
        moved, moved_fast = np.mean(self.moved, axis=0) if self.moved else (0, 0)
        return (
            f"{self.frames} | {default:.1%} | {moved:.3f} | {fast:.1%} | {moved_fast:.3f} | "
            f"{self.lost} and {self.extra} of {self.labels}"
        )


HEADER = "frames | same label | score moved | --fast: same | moved | people lost and new"


def dense(rate: float | None, **options: Any) -> Options:
    return Options(sampling="dense", rate=rate, **options)


def real(arguments: argparse.Namespace) -> None:
    """Each person's labels at lower rates against those at every frame."""
    changes: dict[tuple[str, str], Change] = defaultdict(Change)
    for video in arguments.videos:
        for method in arguments.methods:
            full, _ = said_of(video, arguments.cache, dense(None, per_person=True), method)
            for rate in (None, *RATES):
                other, frames = said_of(video, arguments.cache, dense(rate, per_person=True), method)
                changes[method, f"{rate or 'all'}"].add(full, other, frames)
                print(video.name, rate, method, len(full), len(other), frames, file=sys.stderr)
    print(f"| between | rate | {HEADER} |\n{'| --- ' * 8}|")
    for (method, rate), change in sorted(changes.items(), key=lambda item: item[0][0], reverse=True):
        print(f"| {method} | {rate} | {change.row()} |")


def sparse(arguments: argparse.Namespace) -> None:
    """Labels of the frames that clips sample against those of all frames."""
    print(f"| window | looked at | {HEADER} |\n{'| --- ' * 8}|")
    for window in (1.5, 3.0, 10.0, "whole"):
        ways = {"all": dense(None), "sparse": Options(sampling="sparse", rate=None)}
        ways |= {f"{way}, {rate}": Options(sampling=way, rate=rate) for rate in (15, 10) for way in ("dense", "sparse")}
        changes = {name: Change() for name in ways}
        for video in arguments.videos:
            options = {name: replace(way, window=window, per_person=True) for name, way in ways.items()}
            full, _ = said_of(video, arguments.cache, options["all"])
            for name, change in changes.items():
                change.add(full, *said_of(video, arguments.cache, options[name]))
        for name, change in changes.items():
            print(f"| {window} | {name} | {change.row()} |", flush=True)


def labels_of(folder: Path, count: int) -> list[tuple[str, str]]:
    """Name and label of the first videos of a folder, in which all classes take turns."""
    return list(json.loads((folder / "labels.json").read_text()).items())[:count]


def drawn(arguments: argparse.Namespace) -> None:
    """How often the label is the truth, of windows and of whole videos."""
    rates = arguments.rates or [None, *RATES]
    columns = "frames | right, whole clip | --fast | right, windows of 1.5 s | --fast | fast motions, whole | --fast"
    print(f"| between | rate | {columns} |\n{'| --- ' * 9}|")
    details = {}
    for method in arguments.methods:
        for rate in rates:
            right: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
            by_class: dict[str, list[bool]] = defaultdict(list)
            frames = 0
            for folder in arguments.folders:
                for name, label in labels_of(folder, arguments.count):
                    video = folder / f"{name}.mp4"
                    kept = arguments.cache / folder.name
                    said, asked = said_of(video, kept, dense(rate), method)
                    whole = said if len(said) == 1 else said_of(video, kept, dense(rate, window="whole"), method)[0]
                    hits, of_whole = (
                        [(s.best[0] == label, s.best[1] == label) for s in some] or [(False, False)]
                        for some in (said, whole)
                    )
                    frames += asked
                    right["window"] += hits
                    right["whole"] += of_whole
                    right["fast"] += of_whole if label in FAST_MOTIONS else []
                    by_class[label].append(of_whole[0][0])
            shares = [share for kind in ("whole", "window", "fast") for share in np.mean(right[kind], axis=0)]
            cells = " | ".join(f"{share:.1%}" for share in shares)
            print(f"| {method} | {rate or 'all'} | {frames} | {cells} |", flush=True)
            details[method, rate] = {label: f"{np.mean(hits):.0%}" for label, hits in by_class.items()}
    for (method, rate), shares in details.items():
        print(method, rate or "all", " ".join(f"{label} {share}" for label, share in sorted(shares.items())))


def draw(arguments: argparse.Namespace) -> None:
    """The videos of chosen sequences, 30 frames a second, hardly compressed, and their labels."""
    source: Path = arguments.poses[-1]
    names = rendered.labels_beside(source).read_text().split()
    labels: dict[str, str] = {}
    arguments.output.mkdir(parents=True, exist_ok=True)
    for annotation in rendered.chosen(
        arguments.poses, arguments.split, arguments.fraction, arguments.seed, arguments.count
    ):
        rng = np.random.default_rng([arguments.seed, zlib.crc32(annotation.name.encode())])
        poses = rendered.staged(annotation.poses, source.stem in rendered.EXCHANGED, rng)
        path = arguments.output / f"{annotation.name}.mp4"
        try:
            if not path.exists():
                images = render_poses(poses, random_look(rng, horizon=rendered._ground(poses)))
                write_video(path, images, rendered.FPS, options={"crf": "12"})
        except ValueError as error:
            path.unlink(missing_ok=True)
            print(f"{annotation.name}: {error}", file=sys.stderr)
            continue
        label = names[annotation.label]
        labels[annotation.name] = {"golf": "golf_swing"}.get(label, label)
    (arguments.output / "labels.json").write_text(json.dumps(labels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    drawing = commands.add_parser("draw")
    rendered.add_choice_of_poses(drawing)
    drawing.add_argument("-o", "--output", type=Path, required=True)
    drawing.set_defaults(run=draw)
    for name, run in (("real", real), ("sparse", sparse), ("drawn", drawn)):
        command = commands.add_parser(name)
        command.add_argument("folders" if run is drawn else "videos", type=Path, nargs="+")
        command.add_argument("--cache", type=Path, required=True)
        if run is not sparse:
            command.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
        command.set_defaults(run=run)
    # Of `drawn`, the last.
    command.add_argument("--rates", type=int, nargs="*", default=[])
    command.add_argument("--count", type=int, default=1000, help="only so many videos of each folder")
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
