"""The ways that others go from a video to its labels or poses, as processes that print JSON lines.

    python tests/benchmarks/rivals.py serial VIDEO [--classifier NAME,NAME] [--device cpu]
    python tests/benchmarks/rivals.py ultralytics VIDEO [--device cpu]
    python tests/benchmarks/rivals.py decode VIDEO

serial is the way of PYSKL's demo, on our weights and windows: people and keypoints by Ultralytics' own predictor, each
frame by itself; all of them at once linked by the overlap of their boxes; then clip by clip each keypoint drawn by
itself with numpy, and the networks as 3D convolutions in float32. No frames are written to the disk, as the demo does.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from processes import CORES

if TYPE_CHECKING:
    from poseact.bundle import BundleInfo
    from poseact.poses import PoseSequence
    from poseact.track import TrackedPoses

# Beyond so many sigmas from its keypoint a gaussian is not drawn, nor a limb so far from the box of its ends.
_MARGIN = 3
# Boxes of one person in consecutive frames overlap at least so much.
_LEAST_OVERLAP = 0.3
_FOUND = {"conf": 0.1, "classes": [0], "save": False, "verbose": False}

app = typer.Typer(help=__doc__, rich_markup_mode=None, pretty_exceptions_enable=False)
VideoPath = Annotated[Path, typer.Argument(metavar="VIDEO")]
Classifier = Annotated[str, typer.Option(help="Of several the geometric mean.", show_default="as poseact predict")]
Device = Annotated[str, typer.Option()]


def draw_joints(points: np.ndarray, scores: np.ndarray, size: tuple[int, int], sigma: float) -> np.ndarray:
    """Equation 1 of the paper. points: (M, T, K, 2), (x, y) in pixels of the volume; scores: (M, T, K), 0 draws
    nothing; size: (H, W). Returns (K, T, H, W) float32."""
    people, frames, count = scores.shape
    volume = np.zeros((count, frames, *size), np.float32)
    for t, k, m in np.ndindex(frames, count, people):
        _draw_joint(volume[k, t], points[m, t, k], scores[m, t, k], sigma)
    return volume


def draw_limbs(
    points: np.ndarray, scores: np.ndarray, limbs: Sequence[tuple[int, int]], size: tuple[int, int], sigma: float
) -> np.ndarray:
    """Equation 2 of the paper, for pairs of keypoints. As `draw_joints`; returns (L, T, H, W) float32."""
    people, frames, _ = scores.shape
    volume = np.zeros((len(limbs), frames, *size), np.float32)
    for t, channel, m in np.ndindex(frames, len(limbs), people):
        ends = list(limbs[channel])
        _draw_limb(volume[channel, t], points[m, t, ends], scores[m, t, ends], sigma)
    return volume


def _draw_joint(picture: np.ndarray, point: np.ndarray, height: float, sigma: float) -> None:
    if height > 0:
        part, x, y = _around(picture, point, point, sigma)
        _merge(part, (x - point[0]) ** 2 + (y - point[1]) ** 2, height, sigma)


def _draw_limb(picture: np.ndarray, ends: np.ndarray, heights: np.ndarray, sigma: float) -> None:
    start, run = ends[0], ends[1] - ends[0]
    length = (run**2).sum()
    if min(heights) <= 0:
        return
    if length < 1:
        _draw_joint(picture, start, heights[0], sigma)
        return
    part, x, y = _around(picture, ends.min(axis=0), ends.max(axis=0), sigma)
    x, y = x - start[0], y - start[1]
    share = ((x * run[0] + y * run[1]) / length).clip(0, 1)
    _merge(part, (x - share * run[0]) ** 2 + (y - share * run[1]) ** 2, min(heights), sigma)


def _around(
    picture: np.ndarray, low: np.ndarray, high: np.ndarray, sigma: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The part of a picture round the box of two points, and the x (W,) and y (H, 1) of its pixels."""
    height, width = picture.shape
    left, top = (low - _MARGIN * sigma).astype(int).clip(min=0)
    right, bottom = ((high + _MARGIN * sigma).astype(int) + 1).clip(0, (width, height))
    return picture[top:bottom, left:right], np.arange(left, right), np.arange(top, bottom)[:, None]


def _merge(part: np.ndarray, squared_distance: np.ndarray, height: float, sigma: float) -> None:
    np.maximum(part, np.exp(-squared_distance / (2 * sigma**2)) * height, out=part)


class SerialClassifier:
    """A bundle run plainly: `draw_joints` or `draw_limbs`, 3D convolutions, eager, float32, one clip at a time."""

    def __init__(self, path: Path, device: str):
        import torch

        from poseact.bundle import load_weights
        from poseact.nets import find_net
        from poseact.nets.conv import plain_form

        weights, self.info = load_weights(path)
        net = find_net(self.info.net).build(self.info.channels, len(self.info.labels))
        net.load_state_dict(weights)
        self._net = plain_form(net).eval().to(torch.device(device))
        self._device = device

    def probabilities(self, poses: PoseSequence, start: float, end: float) -> np.ndarray:
        """Of each label, (n_labels,) float32, for the people of a clip."""
        import torch

        volume = torch.from_numpy(_volume(poses, start, end, self.info))[None].to(self._device)
        with torch.inference_mode():
            return (self._net(volume)[0] / self.info.temperature).softmax(dim=0).cpu().numpy()


def _volume(poses: PoseSequence, start: float, end: float, info: BundleInfo) -> np.ndarray:
    """The heatmaps (K, T, H, W) of a clip, cropped as the bundle says."""
    import torch

    from poseact.heatmaps import crop_boxes, to_volume_pixels
    from poseact.sampling import nearest_frames, sample_times
    from poseact.skeleton import LAYOUTS, conversion

    rule, frames = info.volume, nearest_frames(poses.times, sample_times(start, end, info.clip_len))
    order = conversion(poses.layout, LAYOUTS[info.layout])
    keypoints = torch.from_numpy(poses.keypoints[:, frames][:, :, order])[None]
    scores = torch.from_numpy(poses.scores[:, frames][:, :, order])[None]
    boxes = crop_boxes(keypoints, scores, torch.tensor([poses.image_size], dtype=torch.float32), rule)
    points = to_volume_pixels(keypoints, boxes, rule.size)[0].numpy()
    heights = np.where(scores[0] < rule.least_score, 0, scores[0] if rule.use_scores else 1)
    if info.limbs:
        return draw_limbs(points, heights, info.limbs, rule.size, rule.sigma)
    return draw_joints(points, heights, rule.size, rule.sigma)


@app.command()
def serial(video: VideoPath, classifier: Classifier = "", device: Device = "cpu") -> None:
    """Labels, as PYSKL's demo would find them."""
    from poseact.sampling import Window
    from poseact.zoo import DEFAULT_CLASSIFIER, resolve_all

    warnings.simplefilter("ignore")
    paths = resolve_all(classifier or DEFAULT_CLASSIFIER, "classifier")
    classifiers = [SerialClassifier(path, device) for path in paths]
    poses, end = _all_poses(video, device)
    info = classifiers[0].info
    for start, stop in Window(info.window, info.stride).clips(0.0, end):
        clip = _main_subject(poses.sequence(start, stop).confident(info.volume.least_score))
        if clip is None:
            _tell(start=round(start, 3), end=round(stop, 3), label=None, score=None)
            continue
        likely = [each.probabilities(clip, start, stop).clip(min=1e-30) for each in classifiers]
        scores = np.exp(np.mean(np.log(likely), axis=0))
        scores /= scores.sum()
        label = info.labels[scores.argmax()] if scores.max() >= info.rejection_threshold else None
        _tell(start=round(start, 3), end=round(stop, 3), label=label, score=round(float(scores.max()), 4))
    _tell(event="end")


@app.command()
def ultralytics(video: VideoPath, device: Device = "cpu") -> None:
    """Poses only, as `yolo predict save=False` finds them."""
    model = _yolo(device)
    for count, _ in enumerate(model.predict(str(video), stream=True, device=device, **_FOUND), 1):
        if count == 1:
            _tell(event="start")
    _tell(event="end", frames=count)


@app.command()
def decode(video: VideoPath) -> None:
    """Each frame of a video as an RGB picture, by `poseact.video` alone."""
    from poseact.video import Video

    with Video(video) as opened:
        for count, _ in enumerate(opened.frames(), 1):
            if count == 1:
                _tell(event="start")
    _tell(event="end", frames=count)


def _all_poses(video: Path, device: str) -> tuple[TrackedPoses, float]:
    """The poses of everybody in a video, and its end in seconds."""
    import cv2

    from poseact.detect import Detections
    from poseact.skeleton import COCO17
    from poseact.track import TrackedPoses
    from poseact.video import Video

    model, poses, before = _yolo(device), None, Before()
    with Video(video) as opened:
        for frame in opened.frames():
            if poses is None:
                _tell(event="start")
                poses = TrackedPoses(COCO17, frame.image.shape[:2])
            people = model.predict(cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR), device=device, **_FOUND)[0]
            boxes, points = people.boxes.xyxy.cpu().numpy(), people.keypoints.data.cpu().numpy()
            found = Detections(boxes, people.boxes.conf.cpu().numpy(), points[..., :2], points[..., 2], COCO17)
            poses.add(frame.time, before.ids(boxes), found)
    return poses, opened.end


def _yolo(device: str) -> Any:
    """Ultralytics' model, ready. It takes a core less than there are, which we give back to it."""
    import torch
    from ultralytics import YOLO

    from poseact.zoo import DEFAULT_POSE, resolve

    model = YOLO(str(resolve(DEFAULT_POSE, "pose")))
    model.predict(np.zeros((64, 64, 3), np.uint8), device=device, **_FOUND)
    torch.set_num_threads(CORES)
    return model


class Before:
    """The boxes of the frame before, with the ids of their people."""

    def __init__(self) -> None:
        self._boxes, self._ids, self._next = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), 1

    def ids(self, boxes: np.ndarray) -> np.ndarray:
        """(P,) int64: the id of the box before that each of (P, 4) overlaps most, best first; else a new one."""
        from poseact.detect import iou

        found = np.full(len(boxes), -1, np.int64)
        overlaps = np.array([iou(self._boxes, box) for box in boxes]).reshape(len(boxes), len(self._boxes))
        while overlaps.size and overlaps.max() >= _LEAST_OVERLAP:
            now, then = np.unravel_index(overlaps.argmax(), overlaps.shape)
            found[now] = self._ids[then]
            overlaps[now], overlaps[:, then] = 0, 0
        for new in np.flatnonzero(found < 0):
            found[new], self._next = self._next, self._next + 1
        self._boxes, self._ids = boxes, found
        return found


def _main_subject(poses: PoseSequence) -> PoseSequence | None:
    """The person that the clip is about, chosen as `poseact predict` does; None if nobody is there for long."""
    from poseact.track import presence, prominence

    there = np.flatnonzero(presence(poses) >= 0.25)
    return poses.select([int(there[prominence(poses)[there].argmax()])]) if len(there) else None


def _tell(**row: Any) -> None:
    typer.echo(json.dumps(row))


if __name__ == "__main__":
    app()
